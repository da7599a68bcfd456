"""How a voice is cut into video frames and clips; the same for training and for the runtime.

Frame i of the video is voice samples [i * samples_per_frame, (i + 1) * samples_per_frame). A clip of f frames needs m
frames of audio features on each side (`audio_margin`), and the encoder that computes those sees `audio_context` frames
more on each side. Outside of the voice there is silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade.clips import Clip


@dataclass(frozen=True)
class ClipAudio:
    """A clip and the voice that it is generated from: `waveform` float32 (window_samples,)."""

    clip: Clip
    waveform: np.ndarray


def samples_per_frame(sample_rate: int, frames_per_second: int) -> int:
    """Voice samples of one video frame.

    Raises:
        ValueError: if that is not a whole number.
    """
    if sample_rate % frames_per_second:
        raise ValueError(f"{sample_rate} Hz is no multiple of {frames_per_second} frames per second")
    return sample_rate // frames_per_second


def frame_count(samples: int, samples_per_frame: int) -> int:
    """Video frames that a voice of `samples` samples lasts: rounded up, at least 1."""
    return max(1, -(-samples // samples_per_frame))


def clip_window(
    first_frame: int, *, clip_frames: int, audio_margin: int, audio_context: int, samples_per_frame: int
) -> tuple[int, int]:
    """(start, stop) in samples of the voice that a clip needs; may reach over both ends of the voice."""
    around = audio_margin + audio_context
    return (first_frame - around) * samples_per_frame, (first_frame + clip_frames + around) * samples_per_frame


def window(waveform: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Samples [start, stop) of a float32 `waveform` (samples,), with zeros wherever it has none."""
    result = np.zeros(stop - start, dtype=np.float32)
    inside = waveform[max(start, 0) : max(stop, 0)]
    offset = max(-start, 0)
    result[offset : offset + len(inside)] = inside
    return result


def clip_audio(voice: Iterable[np.ndarray], config: RuntimeConfig, first_clip: int = 0) -> Iterator[ClipAudio]:
    """Cuts a streamed voice, float32 chunks (samples,) of any length, into clips; keeps one window in memory.

    A voice without any sample gives one clip of one frame of silence. Clips before `first_clip` are left out.
    """
    chunks = iter(voice)
    buffer = np.zeros(0, dtype=np.float32)
    origin = 0  # absolute position of buffer[0]
    ended = False
    index = first_clip
    while True:
        first_frame = index * config.clip_frames
        start, stop = clip_window(
            first_frame,
            clip_frames=config.clip_frames,
            audio_margin=config.audio_margin,
            audio_context=config.audio_context,
            samples_per_frame=config.samples_per_frame,
        )
        dropped = min(max(start - origin, 0), len(buffer))
        parts, received = [buffer[dropped:]], origin + len(buffer)
        origin += dropped
        while received < stop and not ended:
            chunk = next(chunks, None)
            if chunk is None:
                ended = True
            else:
                received += len(chunk)
                if received > start:
                    parts.append(chunk)
                else:  # of a clip that is left out
                    origin = received
        buffer = np.concatenate(parts)
        frames = min(frame_count(received, config.samples_per_frame) - first_frame, config.clip_frames)
        if frames < 1:
            return
        yield ClipAudio(Clip(index, first_frame, frames), window(buffer, start - origin, stop - origin))
        index += 1
