"""How a voice is cut into video frames and clips, in training and in the runtime.

Frame i of the video covers the voice samples [i * samples_per_frame, (i + 1) * samples_per_frame). A clip of f frames
needs m frames of audio features on each side (`audio_margin`), and the encoder that computes them sees `audio_context`
more frames on each side. Outside of the voice there is silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade.clips import Clip


@dataclass(frozen=True)
class ClipAudio:
    """A clip and the voice that it is generated from.

    Attributes:
        clip: place of the clip in the video
        waveform: voice around the clip, float32 (window_samples,)
    """

    clip: Clip
    waveform: np.ndarray


def samples_per_frame(sample_rate: int, frames_per_second: int) -> int:
    """Samples of voice per video frame.

    Args:
        sample_rate: sample rate of the voice, Hz
        frames_per_second: frame rate of the video

    Raises:
        ValueError: if the result is no whole number.
    """
    if sample_rate % frames_per_second:
        raise ValueError(f"{sample_rate} Hz is no multiple of {frames_per_second} frames per second")
    return sample_rate // frames_per_second


def frame_count(samples: int, samples_per_frame: int) -> int:
    """The number of video frames that a voice of `samples` samples lasts: rounded up, at least 1."""
    return max(1, -(-samples // samples_per_frame))


def clip_window(
    first_frame: int, *, clip_frames: int, audio_margin: int, audio_context: int, samples_per_frame: int
) -> tuple[int, int]:
    """The part of the voice that a clip needs; it may reach beyond both ends of the voice.

    Args:
        first_frame: number of the clip's first frame in the video
        clip_frames: frames per clip, f
        audio_margin: frames of audio features on each side of the clip, m
        audio_context: further frames of voice on each side that the encoder sees
        samples_per_frame: samples of voice per video frame

    Returns:
        (start, stop) in samples of the voice
    """
    around = audio_margin + audio_context
    return (first_frame - around) * samples_per_frame, (first_frame + clip_frames + around) * samples_per_frame


def window(waveform: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Samples [start, stop) of a float32 `waveform` (samples,), with zeros before its start and after its end."""
    result = np.zeros(stop - start, dtype=np.float32)
    inside = waveform[max(start, 0) : max(stop, 0)]
    offset = max(-start, 0)
    result[offset : offset + len(inside)] = inside
    return result


def clip_audio(voice: Iterable[np.ndarray], config: RuntimeConfig, first_clip: int = 0) -> Iterator[ClipAudio]:
    """Cuts a streamed voice into clips; only the window of one clip is in memory.

    Args:
        voice: chunks of any length, float32 (samples,)
        config: facts of the model
        first_clip: number of the first clip to yield; the clips before it are left out

    Yields:
        the clips in order; one clip of one frame of silence for a voice without any sample
    """
    chunks = iter(voice)
    buffer = np.zeros(0, dtype=np.float32)
    origin = 0  # position of buffer[0] in the voice
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
                else:  # it belongs to a clip that is left out
                    origin = received
        buffer = np.concatenate(parts)
        frames = min(frame_count(received, config.samples_per_frame) - first_frame, config.clip_frames)
        if frames < 1:
            return
        yield ClipAudio(Clip(index, first_frame, frames), window(buffer, start - origin, stop - origin))
        index += 1
