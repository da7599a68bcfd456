"""Timings that can be compared: the calls alternate within one run, so that all of them see the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

#: Number of repetitions of a call in each round. The first is not timed: caches and threads are still the last call's.
REPETITIONS = 4


def median_milliseconds(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Time calls that alternate.

    Args:
        calls: functions to time
        rounds: number of rounds, in each of which every call is timed three times

    Returns:
        The median time of each call in milliseconds.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in tqdm(range(rounds), desc="timing", unit="round"):
        for taken, call in zip(seconds, calls, strict=True):
            call()
            for _ in range(REPETITIONS - 1):
                started = time.perf_counter()
                call()
                taken.append(time.perf_counter() - started)
    return [round(1e3 * statistics.median(taken), 2) for taken in seconds]
