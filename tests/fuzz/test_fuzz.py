"""A few hundred damaged inputs of every kind, and whether the fuzzer tells a fault when there is one."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import watching
from kinds import KINDS, problem

from emo_rt.errors import InputError

ROOT = Path(__file__).parents[2]
#: Number of mutations of each kind, as many as a second or two allows.
COUNTS = {"pictures": 150, "sounds": 100, "pipes": 100, "tables": 400, "bundles": 40, "jobs": 10, "bits": 10}


@pytest.mark.parametrize("name", KINDS)
def test_damaged_inputs_are_read_or_refused(name: str, tmp_path: Path) -> None:
    kind = KINDS[name](tmp_path)
    wrong = {}
    for number in range(COUNTS[name]):
        began = time.monotonic()
        found = problem(kind, number)
        if found or time.monotonic() - began > 10:
            wrong[number] = found
    assert not wrong


@pytest.mark.parametrize("name", KINDS)
def test_a_number_is_always_the_same_mutation(name: str, tmp_path: Path) -> None:
    def digests() -> Iterator[str]:
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
        one, two = KINDS[name](tmp_path / "one"), KINDS[name](tmp_path / "two")
        for number in range(5):
            if name not in ("jobs", "bits"):  # what a job holds of times and versions differs
                assert one.mutation(number) == two.mutation(number)
            assert one.mutation(number) == one.mutation(number)
            yield hashlib.sha256(repr(one.mutation(number)).encode()).hexdigest()

    assert len(set(digests())) > 1


def test_a_fault_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["tables"](tmp_path)

    def fails(error: Exception) -> str | None:
        def read(path: Path) -> None:
            raise error

        monkeypatch.setattr(kind, "read", read)
        return problem(kind, 0)

    assert fails(KeyError("seed")) == "KeyError: 'seed'"
    assert fails(RecursionError("deep")) == "RecursionError: deep"
    assert fails(InputError("one line")) is None
    assert fails(InputError("two\nlines")) is not None


#: A process in which mutation 2 fails, 3 hangs, 4 takes memory and 5 kills.
FAULTY = """
import os, sys, time
sys.path[:0] = ["tests/fuzz", "tests/emo_rt"]
import kinds, watching

class Faulty:
    def __init__(self, folder): pass
    def use(self, number):
        if number == 2: raise KeyError("seed")
        if number == 3: time.sleep(60)
        if number == 4: bytearray(b"x") * (3 << 27)
        if number == 5: os.abort()

kinds.KINDS["tables"], watching.LARGEST = Faulty, 1 << 28
watching.work("tables", int(sys.argv[4]), int(sys.argv[6]))
"""


def test_what_hangs_takes_memory_or_dies_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "COMMAND", [sys.executable, "-c", FAULTY])
    monkeypatch.setattr(watching, "LONGEST", 2.0)
    assert watching.watch("tables", 0, 8) == 4
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines()] == [*(f"tables {n}" for n in (2, 3, 4, 5)), "tables"]
    assert "tables 2: KeyError: 'seed'" in out
    assert "tables 3: over 2 s" in out
    assert "MiB of memory" in out
    assert "tables 5: the process died" in out


def test_mutations_that_were_not_tried_are_not_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "COMMAND", [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(watching, "START", 0.2)
    assert watching.watch("tables", 0, 8) == 1
    assert capsys.readouterr().out.startswith("tables None: over 0.2 s\ntables: 0 mutations, 1 failed")


def test_the_command_repeats_a_mutation(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--kind", "tables", "--first", "7", "--count", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("tables: 1 mutations, 0 failed")
    assert ran.returncode == 0
    subprocess.run([*command, "--keep", str(tmp_path / "kept")], cwd=ROOT, check=True, timeout=60)
    content = KINDS["tables"](tmp_path).mutation(7)[0][1]
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [content]
