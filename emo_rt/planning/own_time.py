"""How long work would have taken without other programs: for measurements on a busy machine."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

#: Where Linux counts what processors and the threads of this process do, and where it limits a container.
_PROCESSORS, _THREADS, _LIMITS = Path("/proc/stat"), Path("/proc/self/task"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Usage:
    """What the processors that this process may use did until now.

    Attributes:
        wall: time, seconds
        own: seconds of processors that this process has used
        used: seconds of processors that all processes have used
        processors: number of processors, or what a container may use of them
        threads: for each thread of this process the seconds that it ran, and that it waited for a processor
    """

    wall: float
    own: float
    used: float
    processors: float
    threads: dict[str, tuple[float, float]]

    @classmethod
    def now(cls) -> Usage:
        """Reads the counters; where the system has none, nobody waits."""
        wall, own = time.perf_counter(), time.process_time()
        try:
            return cls(wall, own, *_used(), _waiting())
        except (OSError, ValueError, AttributeError):
            return cls(wall, own, own, 1, {})

    def alone_since(self, before: Usage) -> float:
        """The seconds that what happened since `before` would have taken if no other program had run.

        Then threads that were ready would have run at once, as many as there are processors. What others did not use,
        they did not take: where they used little, it is the time that has passed.
        """
        ran = waited = 0.0
        for name, counts in self.threads.items():
            ran_before, waited_before = before.threads.get(name, (0.0, 0.0))
            ran, waited = ran + counts[0] - ran_before, waited + counts[1] - waited_before
        passed = self.wall - before.wall
        others = max(self.used - before.used - (self.own - before.own), 0.0)
        if ran <= 0.0:
            return passed
        ready = min((ran + waited) / passed, self.processors)
        return min(max(ran / ready, passed - others), passed)


def _used() -> tuple[float, float]:
    """Seconds in which processors of this process were used, by whomever, and how many it may use at a time."""
    names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    rows = [line.split() for line in _PROCESSORS.read_text().splitlines()]
    # user, nice, system, idle, iowait, irq, softirq, steal, and what is in others already
    ticks = [sum(map(int, (*row[1:4], *row[6:9]))) for row in rows if row[0] in names]
    return sum(ticks) / os.sysconf("SC_CLK_TCK"), min(len(ticks), _quota())


def _quota() -> float:
    """The processors that a container may use at a time: threads that it holds back wait for nobody else."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # control groups 2 and 1
        with contextlib.suppress(OSError, ValueError):  # another version, or no limit
            quota, period = map(int, " ".join((_LIMITS / name).read_text() for name in names).split())
            if quota > 0:
                return quota / period
    return math.inf


def _waiting() -> dict[str, tuple[float, float]]:
    threads = {}
    for thread in _THREADS.iterdir():
        with contextlib.suppress(OSError):  # it has ended
            ran, waited, _ = map(int, (thread / "schedstat").read_text().split())
            threads[thread.name] = ran / 1e9, waited / 1e9
    return threads
