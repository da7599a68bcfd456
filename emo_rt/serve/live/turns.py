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
    """

    def __init__(self, places: int = 1) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def turn(self, due: float) -> Iterator[None]:
        """Runs its block when a place is free, and nobody waits who is due earlier.

        Args:
            due: when the result is needed, seconds on the clock of `time.monotonic`
        """
        with self._lock:
            mine = None
            if self._free:
                self._free -= 1
            else:
                mine = threading.Event()
                heapq.heappush(self._waiting, (due, next(self._numbers), mine))
        if mine is not None:
            mine.wait()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    heapq.heappop(self._waiting)[2].set()
                else:
                    self._free += 1

    def shared(self, cascade: Cascade, due: Callable[[], float] = lambda: math.inf) -> Cascade:
        """The same cascade, whose work waits for its turn.

        Args:
            cascade: loaded engines, or a cluster's
            due: gives when the result of some work is needed, when it is asked for
        """
        return cascade.in_turns(lambda: self.turn(due()))
