"""A file is there with all of its new content, or as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import emo_rt
from emo_rt import atomic
from emo_rt.atomic import atomic_write

CHECKOUT = Path(emo_rt.__path__[0]).parent


@pytest.mark.parametrize("before", [None, b"old and longer than what follows"])
def test_the_content_is_there_when_the_block_ends(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file.bin"
    if before is not None:
        path.write_bytes(before)
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert (path.read_bytes() if path.exists() else None) == before
        file.write(b" content")
    assert path.read_bytes() == b"new content"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path, error: type[BaseException]) -> None:
    with atomic_write(path) as file:
        file.write(b"half of the new")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_file_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    path, other = tmp_path / "file.bin", tmp_path / "other.bin"
    path.write_bytes(b"old")
    for target in (path, other):
        with pytest.raises(error):
            write_half(target, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_that_does_not_reach_the_disk_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic.os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "one.engine") as file:
        file.write(b"engine")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    program = """
import os, signal, sys
from pathlib import Path
from emo_rt.atomic import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"half of the new" * 100_000)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    process = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False, timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_directory_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "nowhere" / "file.bin"):
        pass
