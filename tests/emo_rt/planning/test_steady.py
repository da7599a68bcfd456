"""A measurement counts when a second one agrees with it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from emo_rt.planning.steady import AGREEMENT, LONGEST, NOTHING_MUCH, measure_steadily

#: A measurement that takes no time to speak of agrees with any other.
SECONDS = 100.0


def played(totals: Iterable[float], took: float) -> tuple[float, bool, int]:
    """The total that counts, whether it is steady, and how many were measured, each in so many seconds."""
    now, count, rest = 0.0, 0, iter(totals)

    def measure() -> np.ndarray:
        nonlocal now, count
        now, count = now + took, count + 1
        return SECONDS * np.array([[count, 0.75 * (total := next(rest))], [-count, 0.25 * total]])

    times, steady = measure_steadily(measure, clock=lambda: now)
    return float(times[:, -1].sum()) / SECONDS, steady, count


@pytest.mark.parametrize(
    ("totals", "fastest", "count"),
    [
        ([1.0, 1.05], 1.0, 2),
        ([1.05, 1.0], 1.0, 2),
        ([1.0, 1.2, 1.05], 1.0, 3),  # the second one was disturbed
        ([3.0, 2.0, 1.0, 1.09], 1.0, 4),
        ([5.0, 1.0, 5.1, 1.0], 1.0, 4),  # two that were disturbed alike do not count against a faster one
    ],
)
def test_it_is_repeated_until_the_two_fastest_agree(totals: list[float], fastest: float, count: int) -> None:
    assert played(totals, took=1.0) == (pytest.approx(fastest), True, count)


def test_one_that_never_gets_steady_ends_and_is_told() -> None:
    slower = [AGREEMENT ** (-1.2 * number) for number in range(100)]
    assert played(slower, took=LONGEST / 4) == (pytest.approx(slower[3]), False, 4)
    assert played([1.0, 2.0], took=10 * LONGEST) == (1.0, False, 2)
    assert played([1.0, 1.0], took=10 * LONGEST) == (1.0, True, 2)


def test_times_that_matter_to_nobody_need_not_agree() -> None:
    assert played([NOTHING_MUCH / SECONDS, 1e-9], took=1.0)[1:] == (True, 2)
