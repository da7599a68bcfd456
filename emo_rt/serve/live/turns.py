"""One engine runs at a time, the most urgent first: live faces before videos, and among them whose frames run out."""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping

from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.engine import Engine, Tensor


class Turns:
    """A lock that goes to whoever needs it first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def turn(self, due: float) -> Iterator[None]:
        """Runs its block when nobody else runs one, and nobody waits who is due earlier.

        Args:
            due: when the result is needed, seconds on the clock of `time.monotonic`
        """
        with self._lock:
            mine = None
            if self._taken:
                mine = threading.Event()
                heapq.heappush(self._waiting, (due, next(self._numbers), mine))
            self._taken = True
        if mine is not None:
            mine.wait()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    heapq.heappop(self._waiting)[2].set()
                else:
                    self._taken = False

    def shared(self, cascade: Cascade, due: Callable[[], float] = lambda: math.inf) -> Cascade:
        """The same engines, each run of which waits for its turn.

        Args:
            cascade: loaded engines
            due: gives when the result of a run is needed, when it is asked for
        """
        engine = functools.cache(lambda name: _InTurn(cascade.engine(name), self, due))
        return Cascade(cascade.config, cascade.noise_schedule, engine, cascade.directory)


class _InTurn:
    """An engine that waits for its turn."""

    def __init__(self, engine: Engine, turns: Turns, due: Callable[[], float]) -> None:
        self.name, self._engine, self._turns, self._due = engine.name, engine, turns, due

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`."""
        with self._turns.turn(self._due()):
            return self._engine.run(inputs)
