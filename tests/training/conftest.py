"""Config, model and clips of the test size."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import emo_model

from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.speakers.speaker import make_clip


@pytest.fixture(scope="session")
def config() -> EmoConfig:
    """Config of the test size."""
    return EmoConfig.from_name("emo-test")


@pytest.fixture(scope="session")
def model() -> EmoModel:
    """Model without constant parameters. Tests do not change it; `tiny_models.emo_model` makes others."""
    return emo_model()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, a second each, at the test size's resolution."""
    directory = tmp_path_factory.mktemp("clips")
    for seed in (1, 2):
        make_clip(seed, seconds=1.0, resolution=32).save(directory / f"{seed}.npz")
    return directory
