"""Keeps a video at its frame rate while it is made: denoises with less effort where the machine slows down."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

from emo_rt.cascade.sampling import Sampling
from emo_rt.planning.planner import Plan

#: Clips that tell how fast the machine is now.
WINDOW = 4


class RateControl:
    """Says before each clip how it is denoised.

    It goes to the next faster way when the last clips took longer than they play, and back when the machine would
    hold the slower one again. Both are said, and `changed` is true from then on.

    Args:
        plan: begins with its sampling, and falls back to its `faster` ones.
        target_fps: to hold.
        say: gets one line for each change.
        clock: seconds.
    """

    def __init__(
        self, plan: Plan, target_fps: float, say: Callable[[str], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.ways = [(plan.offer.sampling, plan.frames_per_second), *plan.faster]
        self.target_fps, self.say, self.clock = target_fps, say, clock
        self.way = 0
        self.changed = False
        self._rates: deque[float] = deque(maxlen=WINDOW)
        self._last: float | None = None

    def __call__(self) -> Sampling:
        """How the next clip is denoised."""
        return self.ways[self.way][0]

    def wrote(self, frames: int) -> None:
        """Tells that a clip of so many frames is written."""
        now = self.clock()
        if self._last is not None:
            self._rates.append(frames / max(now - self._last, 1e-9))
        self._last = now
        if len(self._rates) < WINDOW:
            return
        rate = statistics.median(self._rates)
        promised = self.ways[self.way][1]
        if rate < self.target_fps and self.way + 1 < len(self.ways):
            self._change(self.way + 1, rate)
        elif self.way and rate / promised * self.ways[self.way - 1][1] > 1.1 * self.target_fps:
            self._change(self.way - 1, rate)

    def _change(self, way: int, rate: float) -> None:
        word = "slower" if way > self.way else "fast enough again"
        self.way, self.changed = way, True
        self._rates.clear()
        self._last = None
        self.say(f"{rate:.1f} frames per second, {word}: on with {self()}")
