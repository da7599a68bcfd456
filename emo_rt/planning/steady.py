"""Measures until two measurements agree: what disturbs one of them seldom disturbs both alike."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

#: Factor within which two measurements agree, and seconds that make no difference.
AGREEMENT, NOTHING_MUCH = 1.1, 0.05
#: Seconds after which there is no third measurement, or a further one.
LONGEST = 20.0


def measure_steadily(
    measure: Callable[[], np.ndarray], clock: Callable[[], float] = time.monotonic
) -> tuple[np.ndarray, bool]:
    """Repeats a measurement until the two fastest agree, or for `LONGEST` seconds.

    Args:
        measure: function that measures times, seconds (rows, columns); those of the last column must agree in sum
        clock: function that returns the time in seconds

    Returns:
        The times of the fastest measurement, and whether two agreed.
    """
    began, measured = clock(), [measure()]
    while True:
        measured.append(measure())
        fastest, second = sorted(measured, key=_seconds)[:2]
        steady = _seconds(second) <= AGREEMENT * _seconds(fastest) + NOTHING_MUCH
        if steady or clock() - began >= LONGEST:
            return fastest, steady


def _seconds(times: np.ndarray) -> float:
    return float(times[:, -1].sum())
