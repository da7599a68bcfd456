"""The command `emo-rt`, and `python -m emo_rt`, which is the same."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from samples import read_video

from emo_rt import __main__, run

CHECKOUT = Path(run.__file__).parents[1]


def module(*words: str, name: str = "emo_rt") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", name, *words], cwd=CHECKOUT, capture_output=True, text=True)


def test_the_script_is_this_command() -> None:
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"emo-rt": f"{__main__.__name__}:{__main__.main.__name__}"}


def test_run_makes_a_video(bundle: Path, portrait: Path, voice: Path, tmp_path: Path) -> None:
    files = ["--bundle", bundle, "--image", portrait, "--audio", voice, "--out", tmp_path / "out.mp4"]
    assert __main__.main(["run", *map(str, files), "--threads", "1", "--backend", "onnxruntime"]) == 0
    assert len(read_video(tmp_path / "out.mp4")["frames"]) == 26


@pytest.mark.parametrize("name", ["emo_rt", "emo_rt.run"])
def test_it_says_its_version(name: str) -> None:
    result = module("--version", name=name)
    assert (result.returncode, result.stdout) == (0, f"emo-rt {version('emo-rt')}\n")


def test_help_teaches_and_names_the_command_as_it_was_called(capsys: pytest.CaptureFixture[str]) -> None:
    for words, start in ((["--help"], "usage: emo-rt [-h]"), (["run", "--help"], "usage: emo-rt run [-h]")):
        with pytest.raises(SystemExit) as stopped:
            __main__.main(words)
        assert stopped.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith(start)
        assert "  emo-rt run --image me.jpg --audio hello.wav --out " in text
    assert module("--help").stdout.startswith("usage: python -m emo_rt [-h]")
    assert module("run", "--help").stdout.startswith("usage: python -m emo_rt run [-h]")
    assert module("--help", name="emo_rt.run").stdout.startswith("usage: python -m emo_rt.run [-h]")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["walk"], "emo_rt: error: unknown command 'walk'; see emo-rt --help\n"),
        (["--loud"], "emo_rt: error: unknown command '--loud'; see emo-rt --help\n"),
        (["run", "--loud"], "emo_rt: error: unrecognized arguments: --loud; see emo-rt run --help\n"),
        (["run", "--seed", "x"], f"emo_rt: error: --seed 'x' is no whole number: choose 0 to {2**64 - 1}\n"),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(words) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message)


def test_without_a_word_it_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([]) == 2
    assert "commands:\n  run" in capsys.readouterr().err
