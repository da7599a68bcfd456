"""Work that several processes share: on this machine, or on a Ray cluster."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from emo_rt.cluster.connection import connected
from emo_rt.errors import InputError

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Workers:
    """Processes with one thread each.

    Attributes:
        count: number of processes on this machine.
        cluster: address of a Ray cluster, as `emo_rt.cluster.connection.connected` takes it, all of whose CPUs work
            instead. They see the same files at the same paths.

    Raises:
        ValueError: if there are no workers.
    """

    count: int = 1
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"--workers is at least 1, not {self.count}")

    def results(self, function: Callable[[_Job], _Result], jobs: Sequence[_Job], unit: str) -> Iterator[_Result]:
        """What a function returns for each job, in the order of the jobs, under a progress bar.

        Args:
            function: a function of a module; it runs in other processes, unless there is one worker.
            jobs: what it is called with.
            unit: what a job is called in the progress bar.

        Raises:
            ValueError: if the cluster does not answer.
        """
        run = self._on_cluster if self.cluster else self._here
        yield from tqdm(run(function, jobs) if jobs else (), total=len(jobs), unit=unit)

    def _here(self, function: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
        if self.count == 1:
            yield from map(function, jobs)
            return
        # An interrupt reaches all processes; only this one answers to it.
        ignore_interrupts = (signal.SIGINT, signal.SIG_IGN)
        with multiprocessing.get_context("spawn").Pool(self.count, signal.signal, ignore_interrupts) as pool:
            yield from pool.imap(function, jobs)

    def _on_cluster(self, function: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
        assert self.cluster is not None
        try:
            with connected(self.cluster) as ray:
                remote = ray.remote(num_cpus=1)(_in_folder)
                for running in [remote.remote(Path.cwd(), function, job) for job in jobs]:
                    try:
                        yield ray.get(running)
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause from None
        except InputError as error:
            raise ValueError(str(error)) from None


def _in_folder(folder: Path, function: Callable[[_Job], _Result], job: _Job) -> _Result:
    """What a function returns in a working directory, from which its paths lead."""
    os.chdir(folder)
    return function(job)


def add_worker_options(parser: argparse.ArgumentParser, default: int) -> None:
    """Adds `--workers` and `--ray` to a command; `Workers(args.workers, args.ray)` are the workers."""
    help_of_workers = "processes, one thread each (default: %(default)s)"
    parser.add_argument("--workers", type=int, default=default, help=help_of_workers)
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="work on all CPUs of the Ray cluster at HOST:PORT instead, which sees the same files; auto finds it "
        "(needs the package ray)",
    )
