"""Timings that can be compared: what is timed takes turns within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

#: Calls of a turn. The first is not timed: caches and threads are still those of what ran before.
CALLS_OF_A_TURN = 4


def median_milliseconds(calls: Sequence[Callable[[], object]], turns: int) -> list[float]:
    """The median milliseconds of each call over so many turns."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in tqdm(range(turns), desc="timing", unit="turn"):
        for taken, call in zip(seconds, calls, strict=True):
            call()
            for _ in range(CALLS_OF_A_TURN - 1):
                started = time.perf_counter()
                call()
                taken.append(time.perf_counter() - started)
    return [round(1e3 * statistics.median(taken), 2) for taken in seconds]
