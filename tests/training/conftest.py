"""Config and model of the test size."""

from __future__ import annotations

import pytest
from tiny_models import emo_model

from training.model.config import EmoConfig
from training.model.model import EmoModel


@pytest.fixture(scope="session")
def config() -> EmoConfig:
    """Config of the test size."""
    return EmoConfig.from_name("emo-test")


@pytest.fixture(scope="session")
def model() -> EmoModel:
    """Model without constant parameters. Tests do not change it; `tiny_models.emo_model` makes others."""
    return emo_model()
