"""The test size's model."""

from __future__ import annotations

import pytest
from tiny_models import emo_model

from training.model.config import EmoConfig
from training.model.model import EmoModel


@pytest.fixture(scope="session")
def config() -> EmoConfig:
    return EmoConfig.from_name("emo-test")


@pytest.fixture(scope="session")
def model() -> EmoModel:
    """No parameter of it is constant. Do not change it; ``tiny_models.emo_model`` makes others."""
    return emo_model()
