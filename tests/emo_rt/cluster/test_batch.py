"""A batch on a real Ray cluster of this machine: the same files as without it, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import processes_of

from emo_rt import run
from emo_rt.bundle import Bundle
from emo_rt.cluster.connection import LOCAL, connected
from emo_rt.cluster.rows import RowSetup, make_rows
from emo_rt.errors import InputError
from emo_rt.jobs.batch import Row, read_jobs
from emo_rt.jobs.request import GenerationOptions, Request
from emo_rt.jobs.session import Session

ROWS = 4
OPTIONS = ["--backend", "onnxruntime", "--steps", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of two workers."""
    with connected(LOCAL) as ray:
        yield ray


@pytest.fixture
def batch(tmp_path: Path, portrait: Path, voice: Path) -> Path:
    """Rows that differ by their seed, and one without a picture."""
    rows = [f"{portrait},{voice},{tmp_path}/{number}.mp4,{number}" for number in range(ROWS)]
    rows.insert(2, f"{tmp_path}/nobody.png,{voice},{tmp_path}/nobody.mp4,0")
    path = tmp_path / "jobs.csv"
    path.write_text("\n".join(["portrait,voice,output,seed", *rows]))
    return path


def made(folder: Path) -> list[bytes]:
    return [(folder / f"{number}.mp4").read_bytes() for number in range(ROWS)]


def setup_of(bundle: Path, threads: int = 1) -> RowSetup:
    options = GenerationOptions(backend="onnxruntime", steps=2, threads=threads)
    return RowSetup.of(Session(Bundle.load(bundle), options), validated=True)


def rows_of(ray: Any, setup: RowSetup, batch: Path) -> list[Row]:
    jobs = read_jobs(batch, Request(Path("p"), Path("v"), Path("o")))
    return list(make_rows(ray, setup, jobs, resume=None, progress=False))


def test_a_cluster_makes_the_bytes_of_one_machine(
    bundle: Path, batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray: Any
) -> None:
    words = ["--batch", str(batch), "--bundle", str(bundle), *OPTIONS]
    assert run.main(words) == 2
    expected = made(tmp_path)
    for number in range(ROWS):
        (tmp_path / f"{number}.mp4").unlink()
    capsys.readouterr()
    rows = rows_of(ray, setup_of(bundle), batch)
    assert sorted((row.line, row.made) for row in rows) == [(2, True), (3, True), (4, False), (5, True), (6, True)]
    assert made(tmp_path) == expected
    (failed,) = (row for row in rows if not row.made)
    assert "nobody.png: no such file" in failed.words
    assert not (tmp_path / "nobody.mp4").exists()


def test_a_row_whose_worker_dies_is_made_all_the_same(bundle: Path, batch: Path, tmp_path: Path, ray: Any) -> None:
    rows_of(ray, setup_of(bundle), batch)
    expected = made(tmp_path)
    for number in range(ROWS):
        (tmp_path / f"{number}.mp4").unlink()
    killed: list[int] = []

    def kill() -> None:
        while not killed:
            for _ in tmp_path.glob("*.mp4.job"):  # somebody makes it
                for worker in processes_of(b"ray::RowMaker"):
                    os.kill(worker, signal.SIGKILL)
                    killed.append(worker)
                    return
            time.sleep(0.001)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    rows = rows_of(ray, setup_of(bundle), batch)
    killer.join(10)
    assert killed
    assert [row.line for row in rows if not row.made] == [4]
    assert made(tmp_path) == expected


def test_a_worker_that_is_not_alike_is_named(bundle: Path, batch: Path, ray: Any) -> None:
    setup = setup_of(bundle)
    for changed, words in (
        (replace(setup, bundle=replace(setup.bundle, sha256="0" * 64)), f"the worker has another bundle in {bundle}"),
        (replace(setup, bundle=replace(setup.bundle, version="0.0.1")), "and 0.0.1 is needed"),
        (replace(setup, folder=Path("/no/such/folder")), "the worker does not see /no/such/folder"),
    ):
        rows = rows_of(ray, changed, batch)
        assert not any(row.made for row in rows)
        assert all(words in row.words for row in rows)


def test_workers_that_no_machine_has_room_for(
    bundle: Path, batch: Path, ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, "memory": 1e9})
    with pytest.raises(InputError, match="no machine of the cluster has 3 CPUs"):
        rows_of(ray, setup_of(bundle, threads=3), batch)


def test_what_is_missing_is_named_in_one_line(
    bundle: Path, batch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--bundle", str(bundle), *OPTIONS]
    assert run.main([*words, "--ray", "local"]) == 2
    assert "--ray local: a cluster makes the rows of a --batch; give one" in capsys.readouterr().err
    for address, complaint in (
        ("127.0.0.1:1", "no Ray cluster answers at '127.0.0.1:1' (Connection refused); start one with"),
        ("nowhere", "--ray 'nowhere': give HOST:PORT of a cluster's head, auto or local"),
    ):
        assert run.main([*words, "--batch", str(batch), "--ray", address]) == 2
        assert complaint in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run.main([*words, "--batch", str(batch), "--ray", "local"]) == 2
    assert 'Ray is not installed: pip install "emo-rt[ray]"' in capsys.readouterr().err
