"""Rows in processes of their own: one that fails, hangs or runs out of time stops no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import CHECKOUT

#: The seconds that a row needs at least: with fewer left, it is not started.
_LEAST_SECONDS = 10.0
_POLL_SECONDS = 0.1


def append_answer(path: Path, row: str, figures: dict[str, Any], *, finished: bool) -> None:
    """Tell the process that waits for the rows what one of them has measured so far.

    Args:
        path: file of the answers
        row: name of the row
        figures: all figures of the row up to now
        finished: whether no more of them follow
    """
    with path.open("a") as file:
        file.write(json.dumps({"row": row, "figures": figures, "finished": finished}) + "\n")


def is_done(figures: dict[str, Any] | None) -> bool:
    """Whether a row need not be timed again: it was measured to its end, or it cannot run here."""
    return figures is not None and not {"left_out", "stopped"} & figures.keys()


@dataclass(frozen=True)
class RowProcesses:
    """How rows are run.

    Attributes:
        command: command that times the rows whose names follow it, and calls `append_answer` for each
        answers: file that it appends the answers to
        row_seconds: seconds after which a row is stopped
        deadline: moment of `time.monotonic` at which everything stops
    """

    command: Sequence[str]
    answers: Path
    row_seconds: float
    deadline: float

    def run(self, rows: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Run rows one after the other. They share a process until one of them fails.

        Yields:
            the name of a row and all its figures so far, at every answer. A row that failed has an `error` among them,
            one that was stopped says so in `stopped`, one that was not started has `left_out` alone.
        """
        waiting = list(rows)
        while waiting and self.deadline - time.monotonic() > _LEAST_SECONDS:
            yield from self._one_process(waiting)
        for row in waiting:
            yield row, {"left_out": "no time was left: give more --minutes, or call again"}

    def _one_process(self, waiting: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Run rows in one process. What is finished, failed or stopped leaves `waiting`."""
        self.answers.unlink(missing_ok=True)
        log = self.answers.with_suffix(".log")
        figures: dict[str, Any] = {}
        read, begun = 0, time.monotonic()
        with log.open("w") as output:
            process = subprocess.Popen(
                [*self.command, *waiting], cwd=CHECKOUT, stdout=output, stderr=output, start_new_session=True
            )
        try:
            while waiting:
                ended = process.poll() is not None
                lines = self.answers.read_text().splitlines(keepends=True) if self.answers.exists() else []
                for line in (line for line in lines[read:] if line.endswith("\n")):
                    read += 1
                    answer = json.loads(line)
                    figures = answer["figures"]
                    yield answer["row"], figures
                    if answer["finished"]:
                        waiting.remove(answer["row"])
                        figures, begun = {}, time.monotonic()
                if waiting and ended:
                    last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
                    yield waiting.pop(0), {**figures, "error": f"exit code {process.returncode}: {last}"}
                    return
                now = time.monotonic()
                if waiting and now > min(begun + self.row_seconds, self.deadline):
                    name = "stopped" if figures else "left_out"
                    yield waiting.pop(0), {**figures, name: f"stopped after {now - begun:.0f} s"}
                    return
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                self._end(process)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        """Wait a little for a process that has given all its answers, then end it and what it has started."""
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
