"""Who may use the engines, the most urgent first: live faces before videos, and among them whose frames run out."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import threading
from collections.abc import Callable, Iterator

from emo_rt.cascade.cascade import Cascade


class Turns:
    """A number of places that go to whoever needs one first.

    Args:
        places: how many are there at once
        kept: gives how many of them are kept for what is due at some time
    """

    def __init__(self, places: int = 1, kept: Callable[[], int] = lambda: 0) -> None:
        self._lock = threading.Lock()
        self._free, self._kept = places, kept
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def turn(self, due: float) -> Iterator[None]:
        """Runs its block when a place is free, and nobody waits who is due earlier.

        Args:
            due: when the result is needed, seconds on the clock of `time.monotonic`; infinite if at any time
        """
        mine = threading.Event()
        with self._lock:
            heapq.heappush(self._waiting, (due, next(self._numbers), mine))
            self._admit()
        mine.wait()
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
                self._admit()

    def _admit(self) -> None:
        """Lets those in for whom there is a place."""
        while self._waiting and self._free > (self._kept() if math.isinf(self._waiting[0][0]) else 0):
            self._free -= 1
            heapq.heappop(self._waiting)[2].set()

    def shared(self, cascade: Cascade, due: Callable[[], float] = lambda: math.inf) -> Cascade:
        """The same cascade, whose work waits for its turn.

        Args:
            cascade: loaded engines, or a cluster's
            due: gives when the result of some work is needed, when it is asked for
        """
        return cascade.in_turns(lambda: self.turn(due()))
