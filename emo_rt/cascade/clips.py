"""The clips that a video consists of, and the noise that each starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emo_rt.errors import InputError

MAX_SEED = 2**64 - 1


@dataclass(frozen=True)
class Clip:
    """A clip of the video. Every clip is generated at full length; the video keeps its first frames.

    Attributes:
        index: number of the clip, from 0
        first_frame: number of its first frame in the video, from 0
        frames: number of frames that the video keeps; fewer than f for the last clip only
    """

    index: int
    first_frame: int
    frames: int


def clip_noise(seed: int, clip_index: int, shape: Sequence[int]) -> np.ndarray:
    """The noise that a clip starts from.

    It comes from Philox keyed by (seed, clip index): the same on every backend, whichever clips came before.

    Args:
        seed: seed of the video, 0 to 2**64 - 1
        clip_index: number of the clip, from 0
        shape: shape of the clip's latents, (f, c, s, s)

    Returns:
        standard normal noise, float32 of that shape

    Raises:
        InputError: if the seed is out of its range.
    """
    return seeded(seed, clip_index).standard_normal(tuple(shape), dtype=np.float32)


def seeded(seed: int, number: int) -> np.random.Generator:
    """The random numbers of a video's seed that have this number, 0 to 2**64 - 1.

    Raises:
        InputError: if the seed is out of its range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed is {seed}: choose 0 to {MAX_SEED}")
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
