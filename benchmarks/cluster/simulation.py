"""What many machines would hold: a simulation of live faces, videos, slow clips and deaths, fed with measured costs.

Measured is what a clip costs, and how much one differs from the other. The rest is supposed: see the constants.

Live faces come at random, speak about half of the time, and need a clip whenever the one before begins to play. Videos
take what is left. A machine dies now and then: its clips are made again, and it is back when its engines are loaded.

example:
  python -m benchmarks.cluster.simulation --machines 10 100 1000
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import simpy

from benchmarks.machine import machine_facts, results_file, write_results

#: Who is served first.
LIVE, VIDEO = 0, 1
#: Seconds of a visit, and of a stretch of speech or of silence, on average.
VISIT, STRETCH = 120.0, 5.0
#: Seconds for which a machine lives on average, and until its replicas are back.
LIFE, RETURN = 6 * 3600.0, 20.0
#: Share of late clips that is borne.
BORNE = 0.001


@dataclass(frozen=True)
class ClipCosts:
    """Seconds that a clip takes.

    Attributes:
        replica: on a replica
        overhead: on its way there and back
        encoding: at the server, to encode its frames
        spread: how long other clips take on a replica, in medians
    """

    replica: float
    overhead: float
    encoding: float
    spread: Sequence[float] = (1.0,)


@dataclass
class Outcome:
    """What happened in a simulation.

    Attributes:
        clips: number of live clips
        late: number of those that were not there when they should have been shown
        videos: number of clips of videos
        busy: seconds for which replicas worked
        encoded: seconds for which servers encoded
        answers: seconds from the start of each speech to its first clip
    """

    clips: int = 0
    late: int = 0
    videos: int = 0
    busy: float = 0.0
    encoded: float = 0.0
    answers: list[float] = field(default_factory=list)


class Cluster:
    """Replicas on machines, and servers that encode.

    Args:
        costs: of a clip
        replicas: number of replicas
        cores: cores that replicas and servers share; None if each has its own
        servers: cores of the servers
        seed: of what is random; None if nothing is, slow clips and deaths included
    """

    def __init__(
        self, costs: ClipCosts, replicas: int, *, cores: int | None = None, servers: int = 1, seed: int | None = 0
    ) -> None:
        self.costs, self.world, self.outcome = costs, simpy.Environment(), Outcome()
        self.replicas = simpy.PriorityResource(self.world, replicas)
        self.cores = simpy.Resource(self.world, cores or replicas + servers)
        self.servers = simpy.Resource(self.world, servers)
        self.random = None if seed is None else random.Random(seed)

    def clip(self, priority: int) -> Generator[Any, Any, None]:
        """Makes a clip and encodes it."""
        yield from self._made(priority)
        with self.servers.request() as server, self.cores.request() as core:
            yield server & core
            yield self.world.timeout(self.costs.encoding)
        self.outcome.encoded += self.costs.encoding

    def _made(self, priority: int) -> Generator[Any, Any, None]:
        yield self.world.timeout(self.costs.overhead)
        while True:
            replica = self.replicas.request(priority)
            yield replica
            seconds = self.costs.replica * (self.random.choice(self.costs.spread) if self.random else 1.0)
            lives = self.random.expovariate(1 / LIFE) if self.random else math.inf
            with self.cores.request() as core:
                yield core
                yield self.world.timeout(min(seconds, lives))
            self.outcome.busy += min(seconds, lives)
            if lives >= seconds:
                self.replicas.release(replica)
                return
            self.world.process(self._back(replica))

    def _back(self, replica: Any) -> Generator[Any, Any, None]:
        yield self.world.timeout(RETURN)
        self.replicas.release(replica)

    def video(self) -> Generator[Any, Any, None]:
        """Makes videos without end, clip after clip."""
        while True:
            yield from self.clip(VIDEO)
            self.outcome.videos += 1

    def faces(self, at_once: float, clip_seconds: float) -> Generator[Any, Any, None]:
        """Lets live faces come: so many are there on average, whose clips play for so long."""
        assert self.random
        for _ in range(round(at_once)):
            self.world.process(self._face(clip_seconds))
        while True:
            yield self.world.timeout(self.random.expovariate(at_once / VISIT))
            self.world.process(self._face(clip_seconds))

    def _face(self, clip_seconds: float) -> Generator[Any, Any, None]:
        assert self.random
        leaves = self.world.now + self.random.expovariate(1 / VISIT)
        yield self.world.timeout(self.random.expovariate(1 / STRETCH))
        while self.world.now < leaves:
            began, silent = self.world.now, self.world.now + self.random.expovariate(1 / STRETCH)
            yield from self.clip(LIVE)
            self.outcome.answers.append(self.world.now - began)
            shown = self.world.now  # when the clip that was made last begins to play
            while shown < silent:
                yield from self.clip(LIVE)
                self.outcome.clips += 1
                due = shown + clip_seconds
                self.outcome.late += self.world.now > due
                shown = max(due, self.world.now)
                yield self.world.timeout(max(shown - self.world.now, 0))
            yield self.world.timeout(self.random.expovariate(1 / STRETCH))


def videos_per_second(costs: ClipCosts, replicas: int, *, cores: int, seconds: float = 200.0) -> float:
    """Clips per second of one more video than there are replicas, on one machine where nothing is slow or dies."""
    cluster = Cluster(costs, replicas, cores=cores, servers=replicas + 1, seed=None)
    for _ in range(replicas + 1):
        cluster.world.process(cluster.video())
    cluster.world.run(seconds)
    return cluster.outcome.videos / seconds


def with_faces(
    costs: ClipCosts, replicas: int, faces: float, clip_seconds: float, servers: int, seconds: float
) -> Outcome:
    """What happens where so many faces are there on average, and videos take what is left."""
    cluster = Cluster(costs, replicas, servers=servers)
    cluster.world.process(cluster.faces(faces, clip_seconds))
    for _ in range(max(replicas // 10, 1)):
        cluster.world.process(cluster.video())
    cluster.world.run(seconds)
    return cluster.outcome


def most_faces(
    costs: ClipCosts, replicas: int, clip_seconds: float, servers: int, seconds: float
) -> tuple[int, Outcome]:
    """The most faces of which no more than a share of BORNE of the clips is late, and what happens then."""
    fewest, most = 0, math.ceil(4 * replicas * clip_seconds / costs.replica)
    outcome = Outcome()
    while most - fewest > max(fewest // 50, 1):
        faces = (fewest + most) // 2
        tried = with_faces(costs, replicas, faces, clip_seconds, servers, seconds)
        if tried.late <= BORNE * tried.clips:
            fewest, outcome = faces, tried
        else:
            most = faces
    return fewest, outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the simulation; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--machines", type=int, nargs="+", default=[10, 100, 1000], help="(default: 10 100 1000)")
    parser.add_argument("--replicas", type=int, default=2, help="of one thread on each machine (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="that are simulated (default: %(default)s)")
    cost = "results of `python -m benchmarks.cluster` (default: %(default)s)"
    parser.add_argument("--costs", type=Path, default=results_file("cluster"), help=cost)
    options = parser.parse_args(arguments)
    measured = json.loads(options.costs.read_bytes())
    costs = ClipCosts(
        **{name: value / 1e3 for name, value in measured["milliseconds"].items()}, spread=measured["spread"]
    )
    clip_seconds = measured["clip_seconds"]
    rows = []
    for machines in options.machines:
        replicas = machines * options.replicas
        # An encoder's core serves so many clips; with 4 of 5 cores at work, none waits for long.
        servers = math.ceil(replicas * costs.encoding / costs.replica / 0.8)
        faces, outcome = most_faces(costs, replicas, clip_seconds, servers, options.seconds)
        shown = (outcome.clips + len(outcome.answers) + outcome.videos) * clip_seconds
        used = (machines + servers / options.replicas) * options.seconds
        row = {
            "machines": machines,
            "encoder_cores": servers,
            "faces": faces,
            "late_share": outcome.late / max(outcome.clips, 1),
            "answer_p95_ms": round(1e3 * float(np.quantile(outcome.answers or [0.0], 0.95))),
            "replicas_busy": round(outcome.busy / replicas / options.seconds, 2),
            "encoders_busy": round(outcome.encoded / servers / options.seconds, 2),
            "machine_seconds_per_second_of_video": round(used / shown, 3),
        }
        rows.append(row)
        print(row)
    write_results(results_file("cluster-simulated"), {"machine": machine_facts(), "rows": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
