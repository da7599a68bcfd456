"""A fake bundle, a drawn portrait and a voice: real files, made in milliseconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_bundle import write_fake_bundle
from samples import drawn_face, tones, write_sound


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the fake bundle; do not write into it."""
    return write_fake_bundle(tmp_path_factory.mktemp("models") / "fake")


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "portrait.png"
    drawn_face().save(path)
    return path


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.01 s of mono sound: 26 frames, no multiple of the clip length."""
    return write_sound(tmp_path_factory.mktemp("sounds") / "voice.wav", tones(1.01), 16000)
