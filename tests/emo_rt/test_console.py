"""What becomes of a video does not depend on whether anybody can read what the command says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from samples import tones, write_sound

import emo_rt
from emo_rt import run
from emo_rt.errors import printable

CHECKOUT = Path(emo_rt.__path__[0]).parent


@pytest.fixture
def options(bundle: Path, portrait: Path, tmp_path: Path) -> list[str]:
    short = write_sound(tmp_path / "short.wav", tones(0.1), 16000)
    files = ["--bundle", bundle, "--image", portrait, "--audio", short, "--out", tmp_path / "out.mp4"]
    return [*map(str, files), "--threads", "1", "--backend", "onnxruntime", "--steps", "1"]


def shell(redirections: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the command line through a shell that redirects its streams."""
    line = f'"$0" -m emo_rt.run "$@" {redirections}'
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = ["sh", "-c", line, sys.executable, *words]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("redirections", "said_on"),
    [
        (">/dev/full", "stderr"),
        (">&-", "stderr"),
        ("2>/dev/full", "stdout"),
        ("2>&-", "stdout"),
        ("<&- >&- 2>&-", ""),
        (">/dev/full 2>/dev/full", ""),
    ],
)
def test_a_video_is_made_whatever_became_of_the_streams(
    options: list[str], tmp_path: Path, redirections: str, said_on: str
) -> None:
    result = shell(redirections, *options)
    assert result.returncode == 0
    assert b"Traceback" not in result.stderr
    assert b"Exception" not in result.stderr
    for stream in ("stdout", "stderr"):
        assert (b"3 frames, 0.12 s of video" in getattr(result, stream)) == (stream == said_on)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "short.wav"]
    shell("", *options, "--out", str(tmp_path / "other.mp4"))
    assert (tmp_path / "other.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()


@pytest.mark.parametrize("redirections", ["2>/dev/full", "2>&-"])
def test_a_mistake_is_one_wherever_it_can_be_said(options: list[str], redirections: str) -> None:
    result = shell(redirections, *options, "--out", "out.txt")
    assert (result.returncode, result.stdout) == (2, b"")


@pytest.mark.parametrize(
    ("redirections", "changed", "words"),
    [
        ("<&-", ("--audio", "-"), b"audio -: standard input is closed; give it a pipe, or name a file"),
        (">&-", ("--out", "-"), b"output -: standard output is closed; give it a pipe, or name a file"),
    ],
)
def test_a_pipe_that_is_closed_is_refused(
    options: list[str], tmp_path: Path, redirections: str, changed: tuple[str, str], words: bytes
) -> None:
    result = shell(redirections, *options, *changed)
    assert result.returncode == 2
    assert result.stderr == b"emo_rt: error: " + words + b"\n"
    assert [path.name for path in tmp_path.iterdir()] == ["short.wav"]


def test_a_text_is_shown_as_one_line_without_control_characters() -> None:
    assert printable("a plain é line") == "a plain é line"
    assert printable("\x1b[31m\r\n\x00\u202e\udcff\\") == r"\x1b[31m\r\n\x00\u202e\udcff" + "\\"


@pytest.mark.parametrize("name", ["--image", "--audio", "--bundle", "--batch", "--out", "--framing", "--seed"])
def test_control_characters_of_a_value_do_not_reach_the_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([name, "no\x1b[2J\r\nthing"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "\x1b" not in error
    assert "\r" not in error
    assert r"no\x1b[2J\r\nthing" in error


def test_names_that_are_no_text_are_worked_with(
    options: list[str], portrait: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also in the title of the video, which FFmpeg wants in UTF-8."""
    image, out = (tmp_path / os.fsdecode(name) for name in (b"p\xff\x1b.png", b"o\xff\x1b.mp4"))
    image.write_bytes(portrait.read_bytes())
    assert run.main([*options, "--image", str(image), "--out", str(out), "--provenance"]) == 0
    assert out.stat().st_size > 0
    said = capfd.readouterr()
    assert r"o\udcff\x1b.mp4: 3 frames" in said.out
    assert "\x1b.mp4" not in said.err


def test_quiet_says_nothing_but_errors(options: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run.main([*options, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert run.main([*options, "--quiet", "--image", "nowhere.png"]) == 2
    assert capfd.readouterr().err == "emo_rt: error: image nowhere.png: no such file\n"


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def greedy(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(run, "Session", greedy)
    assert run.main([]) == 2
    assert capsys.readouterr().err.startswith("emo_rt: error: there is not enough memory; ")
