"""Rate control: holds a video's frame rate while it is made, with a faster preset where the machine slows down."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

from emo_rt.cascade.sampling import Sampling
from emo_rt.planning.planner import MARGIN, Plan

#: Number of last clips whose median speed counts as the machine's speed now.
WINDOW = 4


class RateControl:
    """Chooses before each clip how it is denoised.

    It changes to the next faster preset when the last clips took longer than they play, and back when the machine
    would hold the frame rate with the slower one again. It reports each change.

    Args:
        plan: plan to begin with; its `faster` plans are the ones to fall back to
        target_fps: frames per second to hold
        say: function that is called with one line for each change
        clock: function that returns the time in seconds

    Attributes:
        plans: the plan and its faster ones, each with the frames per second that it promises
        changed: whether the preset has changed since the start
    """

    def __init__(
        self, plan: Plan, target_fps: float, say: Callable[[str], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.plans = (plan, *plan.faster)
        self.target_fps, self.say, self.clock = target_fps, say, clock
        self.changed = False
        self._current = 0  # index in `plans`
        self._rates: deque[float] = deque(maxlen=WINDOW)  # frames per second of the last clips
        self._last: float | None = None  # time at which the last clip was written, seconds

    def __call__(self) -> Sampling:
        """How the next clip is denoised."""
        return self.plans[self._current].sampling

    def wrote(self, frames: int) -> None:
        """Takes note that a clip of `frames` frames has just been written."""
        now = self.clock()
        if self._last is not None:
            self._rates.append(frames / max(now - self._last, 1e-9))
        self._last = now
        if len(self._rates) < WINDOW:
            return
        rate = statistics.median(self._rates)
        if rate < self.target_fps and self._current + 1 < len(self.plans):
            self._change(self._current + 1, rate)
        elif self._current and self._rate_with(self._current - 1, rate) > MARGIN * self.target_fps:
            self._change(self._current - 1, rate)

    def _rate_with(self, index: int, rate: float) -> float:
        """The frames per second that another plan would reach now, where the current one reaches `rate`."""
        return rate / self.plans[self._current].frames_per_second * self.plans[index].frames_per_second

    def _change(self, index: int, rate: float) -> None:
        verdict = "slower" if index > self._current else "fast enough again"
        self._current, self.changed = index, True
        self._rates.clear()
        self._last = None
        self.say(f"{rate:.1f} frames per second, {verdict}: on with {self()}")
