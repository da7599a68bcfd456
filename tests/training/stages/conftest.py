"""Clips that the stages train on."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.speakers.speaker import make_clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, a second each, at the test size's resolution."""
    directory = tmp_path_factory.mktemp("clips")
    for seed in (1, 2):
        make_clip(seed, seconds=1.0, resolution=32).save(directory / f"{seed}.npz")
    return directory
