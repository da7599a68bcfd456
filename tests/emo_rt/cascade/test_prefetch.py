"""Work in a thread gives what it gives without, and ends when nobody wants more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from emo_rt.cascade.prefetch import prefetch


def test_everything_comes_in_order() -> None:
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch(iter([None, None]))) == [None, None]


def test_it_runs_while_its_results_are_used_but_not_far_ahead() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    items = prefetch(numbers(), size=2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]  # one used, two ready, one waits
    assert list(items) == list(range(1, 10))


def test_an_error_comes_where_the_next_item_would_have() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    items = prefetch(broken())
    assert next(items) == 1
    with pytest.raises(KeyError, match="broken"):
        next(items)


def test_closing_closes_what_is_inside_and_leaves_no_thread() -> None:
    closed: list[str] = []

    def endless(name: str, inner: Iterator[int]) -> Iterator[int]:
        try:
            for item in inner:
                yield item + 1
        finally:
            closed.append(name)

    before = threading.active_count()
    inner = prefetch(endless("inner", iter(range(10**9))))
    outer = prefetch(endless("outer", inner))
    assert [next(outer), next(outer)] == [2, 3]
    outer.close()
    inner.close()
    assert closed == ["outer", "inner"]
    assert threading.active_count() == before
