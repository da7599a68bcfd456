"""An output is the file of its name: never an address, never what a link was, and refused early if it cannot be."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from samples import read_video
from test_run import command

from emo_rt import run
from emo_rt.cascade.cascade import Cascade
from emo_rt.media import video

QUICK = ("--steps", "1")


@pytest.fixture
def make(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:  # fmt: skip
    """Runs the command line in a directory of its own, with an output that is named from there."""
    monkeypatch.chdir(tmp_path)
    return lambda out, *more: run.main(command(bundle, portrait, voice, Path(out), *QUICK, *more))


@pytest.mark.parametrize("options", [(), ("--fragmented",)])
@pytest.mark.parametrize("name", ["12:30.mp4", "file:a.mp4", "pipe:1.mp4", "-a b?%20'\".mp4", "concat:x|y.mp4"])
def test_a_name_is_a_name(make: Any, tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    assert make(f"./{name}", *options) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(read_video(tmp_path / name)["frames"]) == 26


def test_no_name_is_an_address(make: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        name = f"tcp:127.0.0.1:{server.getsockname()[1]}?x=.mp4"
        assert make(name, "--fragmented") == 0
        with pytest.raises(TimeoutError):
            server.accept()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("options", [(), ("--fragmented",), ("--provenance",)])
def test_a_link_stays_one_and_what_it_points_to_is_new(make: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "real.mp4").write_bytes(b"old")
    (tmp_path / "link.mp4").symlink_to(Path("videos") / "real.mp4")
    (tmp_path / "link.mp4.json").symlink_to(Path("videos") / "real.json")
    assert make("link.mp4", *options) == 0
    assert (tmp_path / "link.mp4").is_symlink()
    assert (tmp_path / "link.mp4.json").is_symlink()
    assert len(read_video(tmp_path / "videos" / "real.mp4")["frames"]) == 26
    names = {"real.mp4", "real.json"} if options == ("--provenance",) else {"real.mp4"}
    assert {path.name for path in (tmp_path / "videos").iterdir()} == names


@pytest.fixture
def refuses(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs, and checks that an output is refused in one line before any engine is loaded; nothing is left."""

    def loaded(*_: object, **__: object) -> None:
        pytest.fail("the engines were loaded before the output was checked")

    def check(out: str, *options: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert make(out, *options) == 2
        error = capsys.readouterr().err
        assert error.startswith("emo_rt: error: output ")
        assert error.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return error

    monkeypatch.setattr(Cascade, "load", loaded)
    return check


@pytest.mark.parametrize("options", [(), ("--fragmented",)])
def test_what_cannot_be_written_is_refused_early(
    refuses: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "file").write_bytes(b"")
    assert "symbolic links" in refuses("loop.mp4", *options)
    assert "null byte" in refuses("a\0.mp4", *options)
    assert "too long" in refuses("x" * 300 + ".mp4", *options)
    assert "too long" in refuses("new/" + "x" * 300 + "/out.mp4", *options)
    refuses("file/new/out.mp4", *options)
    monkeypatch.setattr(video.os, "access", lambda path, mode: False)  # also for root, who may write everywhere
    assert f"nothing can be written in {tmp_path}" in refuses("new/out.mp4", *options)


def test_a_file_that_cannot_be_written_is_not_streamed_into(
    refuses: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.mp4").write_bytes(b"old")
    monkeypatch.setattr(video.os, "access", lambda path, mode: False)
    assert "Permission denied" in refuses("out.mp4", "--fragmented")


def test_what_is_no_file_is_not_replaced(refuses: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is no file; give another output, or write into it with --fragmented" in refuses("pipe.mp4")


def test_a_record_that_cannot_be_written_is_refused_early(refuses: Any, tmp_path: Path) -> None:
    (tmp_path / "out.mp4.json").mkdir()
    assert "out.mp4.json is a directory" in refuses("out.mp4", "--provenance")
    assert "too long" in refuses("x" * 245 + ".mp4", "--provenance")


def test_another_name_of_an_input_is_refused(
    refuses: Any, tmp_path: Path, voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.link(voice, tmp_path / "voice.mp4")
    assert "is one of the inputs" in refuses("voice.mp4")
