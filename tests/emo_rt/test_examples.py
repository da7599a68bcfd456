"""The examples run as they are, from any directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import read_video, tones, write_sound

CHECKOUT = Path(__file__).resolve().parents[2]
#: Those that need other people's frameworks are tested where these are: `make frameworks`.
FRAMEWORKS = CHECKOUT / "tests" / "frameworks"
EXAMPLES = [
    path for path in sorted((CHECKOUT / "examples").glob("*.py")) if not (FRAMEWORKS / f"test_{path.name}").exists()
]


def run(name: str, directory: Path, *options: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, str(CHECKOUT / "examples" / name), *map(str, options)]
    result = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_animate(bundle: Path, voice: Path, tmp_path: Path) -> None:
    assert run("animate.py", tmp_path, "--audio", voice, "--bundle", bundle) == "animate.mp4: 26 frames, 1.04 s\n"
    assert len(read_video(tmp_path / "animate.mp4")["frames"]) == 26


def test_frames(bundle: Path, voice: Path, tmp_path: Path) -> None:
    printed = run("frames.py", tmp_path, "--audio", voice, "--bundle", bundle)
    assert printed == "frames: 26 frames at 25 per second\n"
    assert len(list((tmp_path / "frames").glob("*.png"))) == 26


def test_frames_of_the_bundled_portrait_with_the_bundled_model(tmp_path: Path) -> None:
    voice = write_sound(tmp_path / "short.wav", tones(0.4), 16000)
    assert run("frames.py", tmp_path, "--audio", voice, "--steps", 1).startswith("frames: 10 frames")


def test_live(bundle: Path, voice: Path, tmp_path: Path) -> None:
    lines = run("live.py", tmp_path, "--audio", voice, "--bundle", bundle).splitlines()
    assert lines[0].startswith("answered after 0.")
    assert lines[1].endswith("s: it speaks")
    assert lines[2].endswith("s: it idles")
    assert float(lines[2].split()[0]) > 1.0  # after the voice, which lasts a second


def test_batch(bundle: Path, voice: Path, tmp_path: Path) -> None:
    printed = run("batch.py", tmp_path, "missing.wav", voice, "--bundle", bundle)
    assert "missing.wav: audio missing.wav: no such file" in printed
    assert "voice.mp4: 26 frames" in printed
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["voice.mp4"]


@pytest.mark.parametrize("name", ["animated.webp", "animated.gif"])
def test_animated_picture(name: str, bundle: Path, voice: Path, tmp_path: Path) -> None:
    run("animated_picture.py", tmp_path, "--audio", voice, "--bundle", bundle, "--out", name)
    with Image.open(tmp_path / name) as picture:
        assert getattr(picture, "n_frames", 1) == 13  # of 26
        assert picture.size == (32, 32)


def test_filmstrip(bundle: Path, voice: Path, tmp_path: Path) -> None:
    run("filmstrip.py", tmp_path, "--audio", voice, "--bundle", bundle)
    with Image.open(tmp_path / "filmstrip.png") as picture:
        strip = np.asarray(picture.convert("RGB"))
    assert strip.shape == (64 + 32, 32 + 32 + 9 * 32, 3)
    assert (strip[:64, 64:] != 255).any(axis=(0, 2)).mean() > 0.9  # the waveform
    assert (strip[:, 32:64] == 255).all()  # between portrait and frames
    assert (strip[64:, 64:] != 255).any(axis=2).mean() > 0.9


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_tested_and_uses_the_public_names_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert f'run("{path.name}"' in Path(__file__).read_text(encoding="utf-8")
    assert "emo_rt." in text
    assert "from emo_rt" not in text
    assert "import emo_rt." not in text
