"""What a live face does while nobody speaks: a stretch of generated silence, played to and fro without end.

At its ends the same pictures come in the other order, so there is no seam, and nothing adds up however long it plays.
After the stretch is generated, idling costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from emo_rt.live.frame import LivePose

#: Side of the small pictures by which the idle frame that is most like another one is found, pixels.
_SIDE = 32


class IdleLoop:
    """The poses of a silent face, in a line that is walked to and fro."""

    def __init__(self) -> None:
        self._poses: list[LivePose] = []
        self._small: list[np.ndarray] = []
        self._position, self._direction = -1, 1

    def __len__(self) -> int:
        return len(self._poses)

    def add(self, poses: Sequence[LivePose]) -> None:
        """Appends poses that follow each other, and those before them, smoothly."""
        self._poses += poses
        self._small += [_small(pose.picture) for pose in poses]

    def last(self, count: int) -> list[LivePose]:
        """The poses at the end of the line, at which it may be continued."""
        return self._poses[-count:]

    def next(self) -> LivePose:
        """The next pose."""
        self._position, self._direction = self._after(self._position, self._direction)
        return self._poses[self._position]

    def coming(self, count: int) -> list[LivePose]:
        """The next poses, without taking them."""
        position, direction, poses = self._position, self._direction, []
        for _ in range(count):
            position, direction = self._after(position, direction)
            poses.append(self._poses[position])
        return poses

    def _after(self, position: int, direction: int) -> tuple[int, int]:
        if len(self._poses) == 1:
            return 0, 1
        if not 0 <= position + direction < len(self._poses):
            direction = -direction
        return position + direction, direction

    def go_near(self, picture: np.ndarray) -> None:
        """Goes on from the pose that is most like a picture, RGB uint8 (R, R, 3)."""
        small = _small(picture)
        self._position = int(np.argmin([np.square(each - small).mean() for each in self._small]))

    def fade_from(self, pose: LivePose, count: int) -> Iterator[LivePose]:
        """The next `count` poses, blended with a pose that fades away."""
        for index in range(count):
            yield pose.blended(self.next(), (index + 1) / (count + 1))


def _small(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
