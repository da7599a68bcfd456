"""Gestures: how far the head is turned and the eyes are shut in each frame, for models that take them.

They follow from a seed alone, frame by frame, so that a clip can be made again at any time and on any machine.
"""

from __future__ import annotations

import numpy as np

from emo_rt.cascade.clips import seeded

_AXES = np.array([1.0, 0.55, 0.4])  # how much of yaw, pitch and roll is in a movement
_WAVES = 3  # that make the movement about each axis
_SLOWEST, _FASTER = 0.12, 0.6  # Hz of a head that hardly moves; more Hz for each degree per frame
_BEGINS = 1.0  # seconds in which a head that is as in the portrait begins to move
_MEASURED = 60.0  # seconds over which the speed is the mean
_BLINK_EVERY = 4.0  # seconds, and one blink at a random time within
_BLINKS = ((0.6, 1.0, 0.8, 0.3), (0.5, 1.0, 1.0, 0.6, 0.2))
_NUMBER = 2**64 - 1  # of the head's random numbers; those of blinks are below, those of clips begin at 0


class Gestures:
    """The gestures of a video: a head that sways smoothly, and eyes that blink fifteen times a minute.

    A video begins with the head as in the portrait.

    Args:
        seed: seed of the video, 0 to 2**64 - 1
        speed: mean speed of the head, degrees per frame; with 0 it keeps still
        frames_per_second: frame rate

    Raises:
        InputError: if the seed is out of its range.
    """

    def __init__(self, seed: int, speed: float, frames_per_second: int) -> None:
        self._seed, self._rate = seed, frames_per_second
        rng = seeded(seed, _NUMBER)
        shape = (len(_AXES), _WAVES)
        self._frequencies = (_SLOWEST + _FASTER * speed) * rng.uniform(0.5, 1.5, shape)
        self._phases = rng.uniform(0, 2 * np.pi, shape)
        self._sizes = _AXES[:, None] * rng.uniform(0.4, 1, shape)
        moving = np.diff(self._swaying(np.arange(int(_MEASURED * frames_per_second))), axis=0)
        self._sizes *= speed / np.linalg.norm(moving, axis=1).mean()

    def at(self, frames: np.ndarray) -> np.ndarray:
        """The gestures of some frames of the video.

        Args:
            frames: numbers of the frames, from 0 (k,)

        Returns:
            float32 (k, 4): degrees of yaw, to the right of the picture, of pitch, down, and of roll,
            clockwise; and closing of the eyes from 0, open, to 1, shut
        """
        begun = (frames / (_BEGINS * self._rate)).clip(0, 1)
        turned = self._swaying(frames) * (begun**2 * (3 - 2 * begun))[:, None]
        shut = [self._closing(int(frame)) for frame in frames]
        return np.column_stack([turned, shut]).astype(np.float32)

    def _swaying(self, frames: np.ndarray) -> np.ndarray:
        """Degrees of yaw, pitch and roll (k, 3) once the head moves."""
        cycles = self._frequencies * (frames / self._rate)[:, None, None]
        curves: np.ndarray = (self._sizes * np.sin(2 * np.pi * cycles + self._phases)).sum(-1)
        return curves

    def _closing(self, frame: int) -> float:
        """How far the eyes are shut in a frame."""
        length = int(_BLINK_EVERY * self._rate)
        number, place = divmod(frame, length)
        rng = seeded(self._seed, _NUMBER - 1 - number)
        shape = _BLINKS[rng.integers(len(_BLINKS))]
        since = place - int(rng.integers(length - len(shape)))
        return shape[since] if 0 <= since < len(shape) else 0.0
