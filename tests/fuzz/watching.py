"""Tries mutations in a process that is watched: how long each takes, how much memory, and whether it ends alive."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from kinds import KINDS, problem
from tqdm import tqdm

ROOT = Path(__file__).parents[2]
#: Command of the process that tries them.
COMMAND = [sys.executable, "-m", "tests.fuzz", "--work"]
#: Seconds that a mutation may take, and memory in use at a time, bytes.
LONGEST, LARGEST = 10.0, 1 << 30
#: Seconds until the first mutation of a process, which makes the seeds.
START = 120.0


def work(name: str, first: int, count: int) -> None:
    """Tries mutations, and prints the number of each when it begins, with what was wrong with the one before."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.environ["XDG_CACHE_HOME"] = tempfile.gettempdir()
    kind = KINDS[name](Path(tempfile.gettempdir()))
    for number in range(first, first + count):
        print(f"begin {number}", file=answers)
        _forget_peak()
        wrong = problem(kind, number)
        if wrong is None and (peak := _peak()) > LARGEST:
            wrong = f"{peak >> 20} MiB of memory"
        if wrong:
            print(f"wrong {' '.join(wrong.split())}", file=answers)
    print("end", file=answers)


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most memory that this process had since the last `_forget_peak`, bytes; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def watch(name: str, first: int, count: int) -> int:
    """Runs mutations in processes of their own, and returns how many failed."""
    end, failed, tried, slowest = first + count, 0, 0, (0.0, first)
    with tqdm(total=count, desc=name, unit="mutation", mininterval=1) as bar:
        while first < end:
            with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, _Worker(name, first, end, folder) as worker:
                number, began = None, time.monotonic()
                while (line := worker.answer(START if number is None else LONGEST)) is not None:
                    word, _, rest = line.partition(" ")
                    if word == "wrong":
                        failed += 1
                        tqdm.write(f"{name} {number}: {rest}")
                        continue
                    if number is not None:
                        slowest = max(slowest, (time.monotonic() - began, number))
                        bar.update()
                    if word == "end":
                        break
                    number, began, tried = int(rest), time.monotonic(), tried + 1
                if line is None:
                    failed += 1
                    took = (
                        f"over {LONGEST if number is not None else START:g} s"
                        if worker.runs()
                        else f"the process died: {worker.last_words()}"
                    )
                    tqdm.write(f"{name} {number}: {took}")
                    bar.update()
                first = end if line == "end" or number is None else number + 1
    print(f"{name}: {tried} mutations, {failed} failed, the slowest took {slowest[0]:.2f} s ({slowest[1]})")
    return failed


class _Worker:
    """A process that tries mutations; a context manager that ends it."""

    def __init__(self, name: str, first: int, end: int, folder: str) -> None:
        command = [*COMMAND, "--kind", name, "--first", str(first), "--count", str(end - first)]
        self._errors = open(os.path.join(folder, "stderr"), "w+b")  # noqa: SIM115
        environment = {**os.environ, "TMPDIR": folder, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line.rstrip("\n"))
        self._process.wait()
        self._answers.put(None)

    def answer(self, seconds: float) -> str | None:
        """The next line; None if there is none in time, or the process has ended."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            return None

    def runs(self) -> bool:
        return self._process.poll() is None

    def last_words(self) -> str:
        self._errors.seek(0)
        return " | ".join(self._errors.read().decode(errors="replace").split("\n")[-8:])[-600:]

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()
