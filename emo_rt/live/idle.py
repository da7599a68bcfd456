"""What a live face does while nobody speaks: a stretch of generated silence, played to and fro without end.

At its ends the same pictures come in the other order, so there is no seam, and nothing adds up however long it plays.
After the stretch is generated, idling costs nothing. Speech walks to and fro along the same stretch of gestures. So a
face that falls silent has its head where the idle frame at its place has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from emo_rt.live.frame import BEFORE_ALL, LivePose, Place


class IdleLoop:
    """The poses of a silent face, in a line that is walked to and fro."""

    def __init__(self) -> None:
        self._poses: list[LivePose] = []
        self._place = BEFORE_ALL

    def __len__(self) -> int:
        return len(self._poses)

    def add(self, poses: Sequence[LivePose]) -> None:
        """Appends poses that follow each other, and those before them, smoothly."""
        self._poses += poses

    def last(self, count: int) -> list[LivePose]:
        """The poses at the end of the line, at which it may be continued."""
        return self._poses[-count:]

    def next(self) -> LivePose:
        """The next pose."""
        self._place = self._place.next(len(self))
        return self._at(self._place)

    def coming(self, count: int) -> list[LivePose]:
        """The next poses, without taking them."""
        place, poses = self._place, []
        for _ in range(count):
            place = place.next(len(self))
            poses.append(self._at(place))
        return poses

    def go_to(self, place: Place) -> None:
        """Goes on from a place, or from the end of a line that is not yet so long."""
        self._place = Place(min(place.frame, len(self) - 1), place.heading)

    def fade_from(self, pose: LivePose, count: int) -> Iterator[LivePose]:
        """The next `count` poses, blended with a pose that fades away."""
        for index in range(count):
            yield pose.blended(self.next(), (index + 1) / (count + 1))

    def _at(self, place: Place) -> LivePose:
        """The pose at a place, with the heading with which it is passed."""
        return replace(self._poses[place.frame], place=place)
