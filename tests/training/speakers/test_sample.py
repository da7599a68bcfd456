"""The voice in `assets` is what the code makes."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from training.speakers.sample import write_sample

ASSETS = Path(__file__).parents[3] / "assets"


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int)


def test_the_voice_of_the_repository_follows_from_the_code(tmp_path: Path) -> None:
    write_sample(tmp_path / "made")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["voice.wav"]
    np.testing.assert_allclose(samples(tmp_path / "made" / "voice.wav"), samples(ASSETS / "voice.wav"), atol=2)
