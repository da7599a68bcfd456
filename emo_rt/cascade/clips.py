"""The clips that a video is made of, and the noise that each starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emo_rt.errors import InputError

MAX_SEED = 2**64 - 1


@dataclass(frozen=True)
class Clip:
    """One clip: every clip is generated at full length, and its first `frames` frames are kept."""

    index: int
    first_frame: int
    frames: int


def clips_of(frame_count: int, clip_frames: int) -> list[Clip]:
    """The clips of a video of `frame_count` frames; only the last may keep fewer than `clip_frames`."""
    return [
        Clip(index, first, min(clip_frames, frame_count - first))
        for index, first in enumerate(range(0, frame_count, clip_frames))
    ]


def clip_noise(seed: int, clip_index: int, shape: Sequence[int]) -> np.ndarray:
    """Standard normal float32 noise of one clip, shape `(f, c, s, s)`.

    Philox keyed by (seed, clip index): the same everywhere, whichever clips came before.

    Raises:
        InputError: if the seed is outside of 0 .. 2**64 - 1.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed is {seed}: choose 0 to {MAX_SEED}")
    key = np.array([seed, clip_index], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    return generator.standard_normal(tuple(shape), dtype=np.float32)
