"""A video's frames at 25 Hz and its sound at 16 kHz, both by their timestamps, so that they stay together.

Any frame rate works, also a variable one, and so do late sound and gaps in either. Frames are read one by one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from emo_rt.errors import reason
from emo_rt.media.sound_file import FILE_OPTIONS
from training.clips.rates import FRAMES_PER_SECOND, SAMPLE_RATE

#: Longest time in seconds from a frame at 25 Hz to the video's nearest; beyond, the picture has stopped.
LONGEST_DELAY = 0.1
# Seconds. Smaller differences of a clock are rounding (to milliseconds in Matroska), larger ones are gaps.
_CLOCK_TOLERANCE = 0.04


class UnreadableVideo(ValueError):
    """A file that is damaged or no video; the message is one line."""


@dataclass(frozen=True)
class TimedFrame:
    """One of the frames at 25 Hz.

    Attributes:
        pixels: RGB uint8 (height, width, 3).
        stale: whether the video has no frame near this time.
    """

    pixels: np.ndarray
    stale: bool


def read_frames(path: Path, start: float = 0.0, end: float | None = None) -> Iterator[TimedFrame]:
    """Frames at 25 Hz, each the video's nearest in time, upright.

    Args:
        path: the video.
        start: beginning in seconds.
        end: end in seconds; None is the end of the video.

    Raises:
        UnreadableVideo: while iterating; without an `end`, also if the file is shorter than it declares.
    """
    limit = math.inf if end is None else math.ceil((end - start) * FRAMES_PER_SECOND - 1e-6)
    with _opened(path) as container:
        stream = _video_stream(container)
        if start > 0:
            container.seek(round((_origin(stream) + start) * av.time_base), backward=True)
        count, until = 0, -math.inf
        for frame, time, until in _spans(container, stream):
            pixels = None
            while count / FRAMES_PER_SECOND < until - start - 1e-6 and count < limit:
                if pixels is None:
                    pixels = _upright(frame)
                yield TimedFrame(pixels, abs(start + count / FRAMES_PER_SECOND - time) > LONGEST_DELAY)
                count += 1
            if count >= limit:
                return
        if until == -math.inf:
            raise UnreadableVideo("it has no picture")
        declared = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if end is None and until < 0.98 * declared - 0.2:
            raise UnreadableVideo(f"cut short after {until:.1f} of {declared:.1f} s")


def read_sound(path: Path) -> np.ndarray | None:
    """The whole sound of a video from the beginning of the picture, float32 (samples,) at 16 kHz; None if it has none.

    Gaps in its clock become silence.

    Raises:
        UnreadableVideo: if the sound cannot be decoded.
    """
    with _opened(path) as container:
        if not container.streams.audio or container.streams.audio[0].codec_context is None:
            return None
        stretches, clock = _stretches(container, _origin(_video_stream(container)))
    if not stretches:
        return None
    sound = np.zeros(max(round(clock * SAMPLE_RATE), 0), np.float32)
    for begin, frames in stretches:
        samples = np.concatenate([np.zeros(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])
        first = round(begin * SAMPLE_RATE)
        samples = samples[max(-first, 0) :]
        place = sound[max(first, 0) : max(first, 0) + len(samples)]
        place[:] = samples[: len(place)]
    if not np.isfinite(sound).all():
        raise UnreadableVideo("its sound holds samples that are no finite numbers")
    return sound


def _stretches(
    container: av.container.InputContainer, origin: float
) -> tuple[list[tuple[float, list[av.AudioFrame]]], float]:
    """Stretches of sound without a gap, each with the time when it begins; and the time when the last ends.

    Times are in seconds after `origin`, the beginning of the picture.
    """
    stretches: list[tuple[float, list[av.AudioFrame]]] = []
    resampler = _resampler()
    clock = math.inf
    for frame in container.decode(container.streams.audio[0]):
        time = clock if frame.time is None else frame.time - origin
        if not abs(time - clock) <= _CLOCK_TOLERANCE:
            if stretches:
                stretches[-1][1].extend(resampler.resample(None))
            resampler, clock = _resampler(), 0.0 if math.isinf(time) else time
            stretches.append((clock, []))
        clock += frame.samples / frame.sample_rate
        frame.pts = None
        stretches[-1][1].extend(resampler.resample(frame))
    if stretches:
        stretches[-1][1].extend(resampler.resample(None))
    return stretches, clock


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with av.open(str(path.absolute()), options=FILE_OPTIONS, metadata_errors="ignore") as container:
            yield container
    except UnreadableVideo:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnreadableVideo(reason(error)) from error


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    if not container.streams.video or container.streams.video[0].codec_context is None:
        raise UnreadableVideo("it has no picture")
    return container.streams.video[0]


def _origin(stream: av.VideoStream) -> float:
    """The time when the picture begins, in seconds of the container's clock."""
    return float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0


def _spans(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[av.VideoFrame, float, float]]:
    """Each frame with its time, and the time until which it is the nearest, in seconds from the picture's beginning."""
    origin, usual = _origin(stream), 1 / float(stream.average_rate or FRAMES_PER_SECOND)
    before: tuple[av.VideoFrame, float] | None = None
    for frame in container.decode(stream):
        following = before[1] + usual if before else 0.0
        time = following if frame.time is None else frame.time - origin
        if before:
            if time <= before[1]:
                continue  # a clock that stops or runs back
            yield *before, (before[1] + time) / 2
        before = frame, time
    if before:
        yield *before, before[1] + usual


def _upright(frame: av.VideoFrame) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
