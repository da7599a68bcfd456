"""The rows of a batch on a Ray cluster: each worker keeps its engines, and makes one video after another.

A row is done again where its worker died: its video appears whole or not at all, and what the job's folder has of it is
gone on from. So workers and whoever starts the batch see the same files, at the same paths.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emo_rt.cluster.connection import RETRIES
from emo_rt.cluster.shared_bundle import SharedBundle
from emo_rt.errors import EmoError, InputError, in_one_line, reason
from emo_rt.jobs.batch import Row, one_by_one
from emo_rt.jobs.request import GenerationOptions, Request
from emo_rt.jobs.session import Session
from emo_rt.media.credentials import Signature
from emo_rt.planning.planner import Plan


@dataclass(frozen=True)
class RowSetup:
    """What every worker makes its rows with.

    Attributes:
        folder: working directory, from which the paths of rows lead
        bundle: the bundle
        plan: plan of all videos, so that every worker makes the same pixels
        options: how the videos are generated
        signature: signer of the videos, or None
        provenance: whether to write a JSON beside each video
    """

    folder: Path
    bundle: SharedBundle
    plan: Plan
    options: GenerationOptions
    signature: Signature | None
    provenance: bool

    @classmethod
    def of(cls, session: Session, *, validated: bool) -> RowSetup:
        """The setup of a session, with the plan that is chosen on this machine."""
        return cls(
            Path.cwd(),
            SharedBundle.of(session.bundle, validated=validated),
            session.plan(predicted=False),
            session.options,
            session.signature,
            session.provenance,
        )

    def session(self) -> Session:
        """A session of this setup on a worker.

        Raises:
            EmoError: if the worker has another version, another bundle or other files, or lacks a backend.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise InputError(f"the worker does not see {self.folder} ({reason(error)}); share it") from None
        bundle = self.bundle.load()
        return Session(bundle, self.options, self.signature, provenance=self.provenance, plan=self.plan)


class RowMaker:
    """A worker: an actor of Ray with a session of its own."""

    def __init__(self, setup: RowSetup) -> None:
        self._setup = setup
        self._session: Session | None = None

    def make(self, line: int, request: Request, resume: bool | None) -> Row:
        """Makes a row's video."""
        try:
            self._session = self._session or self._setup.session()
        except EmoError as error:
            return Row(line, False, in_one_line(error))
        (row,) = one_by_one(self._session, [(line, request)], resume=resume)
        return row


def make_rows(
    ray: Any,
    setup: RowSetup,
    jobs: Sequence[tuple[int, Request | InputError]],
    *,
    resume: bool | None,
    progress: bool,
) -> Iterator[Row]:
    """Makes the rows of a batch on all CPUs of a cluster.

    Args:
        ray: the package, connected
        setup: what the rows are made with; a worker takes as many CPUs as it has threads, one unless told otherwise
        jobs: rows as `read_jobs` returns them
        resume: as of `Session.make`
        progress: whether to show a progress bar on stderr

    Yields:
        each row as soon as it is done, in any order

    Raises:
        InputError: if the cluster has no room for a worker.
    """
    threads = setup.options.threads or 1
    setup = replace(setup, options=replace(setup.options, threads=threads))
    waiting = deque((line, request) for line, request in jobs if isinstance(request, Request))
    workers = min(int(ray.cluster_resources().get("CPU", 0)) // threads, len(waiting))
    if waiting and not workers:
        raise InputError(f"no machine of the cluster has {threads} CPUs for a worker; give fewer --threads")
    actor = ray.remote(RowMaker).options(num_cpus=threads, max_restarts=-1, max_task_retries=RETRIES)
    makers = [actor.remote(setup) for _ in range(workers)]
    running: dict[Any, tuple[int, Any]] = {}
    yield from (Row(line, False, in_one_line(error)) for line, error in jobs if isinstance(error, InputError))
    with tqdm(total=len(waiting), unit="video", disable=not progress, file=sys.stderr) as bar:
        while waiting or running:
            while makers and waiting:
                maker, (line, request) = makers.pop(), waiting.popleft()
                running[maker.make.remote(line, request, resume)] = line, maker
            (finished, *_), _ = ray.wait(list(running))
            line, maker = running.pop(finished)
            makers.append(maker)
            try:
                row = ray.get(finished)
            except ray.exceptions.RayError as error:
                row = Row(line, False, f"its worker died {RETRIES + 1} times ({reason(error)})")
            bar.update()
            bar.clear()  # whoever takes the row writes a line
            yield row
