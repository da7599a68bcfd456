"""A video's frames at 25 Hz and its sound at 16 kHz, both by their timestamps: so they stay together.

Variable and other frame rates, sound that starts late and gaps in either come out right. Frames are read one by one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from training.clips.rates import FRAMES_PER_SECOND, SAMPLE_RATE

#: Seconds between a frame at 25 Hz and the video's nearest, above which the picture has stopped.
LONGEST_DELAY = 0.1
# Seconds. Clocks that differ by less are rounded (to milliseconds in Matroska); more is a gap.
_CLOCK_TOLERANCE = 0.04


class UnreadableVideo(ValueError):
    """A file that is no video, or damaged; the message is one line."""


@dataclass(frozen=True)
class TimedFrame:
    """One of the frames at 25 Hz."""

    pixels: np.ndarray  # RGB uint8 (height, width, 3)
    stale: bool  # the video has no frame near this time


def read_frames(path: Path, start: float = 0.0, end: float | None = None) -> Iterator[TimedFrame]:
    """Frames at 25 Hz from ``start`` to ``end`` (seconds from the video's beginning; None: to its end).

    Each is the video's frame nearest in time, upright.

    Raises:
        UnreadableVideo: while iterating; with no ``end``, also if the file holds less than it says.
    """
    limit = math.inf if end is None else math.ceil((end - start) * FRAMES_PER_SECOND - 1e-6)
    with _opened(path) as container:
        stream = _video_stream(container, path)
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
    """All of a video's sound, mono at 16 kHz, from the picture's beginning: float32 (samples,); None if it has none.

    Where its clock has a gap, there is silence.

    Raises:
        UnreadableVideo: if it cannot be decoded.
    """
    with _opened(path) as container:
        if not container.streams.audio or container.streams.audio[0].codec_context is None:
            return None
        origin = _origin(_video_stream(container, path))
        runs: list[tuple[float, list[av.AudioFrame]]] = []  # without a gap, and the time in seconds when it starts
        resampler = _resampler()
        clock = math.inf
        for frame in container.decode(container.streams.audio[0]):
            time = clock if frame.time is None else frame.time - origin
            if not abs(time - clock) <= _CLOCK_TOLERANCE:
                if runs:
                    runs[-1][1].extend(resampler.resample(None))
                resampler, clock = _resampler(), 0.0 if math.isinf(time) else time
                runs.append((clock, []))
            clock += frame.samples / frame.sample_rate
            frame.pts = None
            runs[-1][1].extend(resampler.resample(frame))
        if not runs:
            return None
        runs[-1][1].extend(resampler.resample(None))
    sound = np.zeros(max(round(clock * SAMPLE_RATE), 0), np.float32)
    for begin, frames in runs:
        samples = np.concatenate([np.zeros(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])
        first = round(begin * SAMPLE_RATE)
        samples = samples[max(-first, 0) :]
        place = sound[max(first, 0) : max(first, 0) + len(samples)]
        place[:] = samples[: len(place)]
    if not np.isfinite(sound).all():
        raise UnreadableVideo("its sound holds samples that are no finite numbers")
    return sound


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        # Nothing but local files: a playlist must not make us fetch what it names.
        with av.open(str(path.resolve()), options={"protocol_whitelist": "file"}) as container:
            yield container
    except UnreadableVideo:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableVideo(" ".join(str(reason).split())) from error


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    if not container.streams.video or container.streams.video[0].codec_context is None:
        raise UnreadableVideo("it has no picture")
    return container.streams.video[0]


def _origin(stream: av.VideoStream) -> float:
    """When the picture begins, in seconds of the container's clock."""
    return float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0


def _spans(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[av.VideoFrame, float, float]]:
    """Frames with their time and until when they are the nearest, in seconds from the picture's beginning."""
    origin, usual = _origin(stream), 1 / float(stream.average_rate or FRAMES_PER_SECOND)
    before: tuple[av.VideoFrame, float] | None = None
    for frame in container.decode(stream):
        following = before[1] + usual if before else 0.0
        time = following if frame.time is None else frame.time - origin
        if before:
            if time <= before[1]:
                continue  # a clock that stands or runs back
            yield *before, (before[1] + time) / 2
        before = frame, time
    if before:
        yield *before, before[1] + usual


def _upright(frame: av.VideoFrame) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
