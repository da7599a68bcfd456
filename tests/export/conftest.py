"""The model of the test size."""

from pathlib import Path

import pytest

from training.model.model import EmoModel


@pytest.fixture
def model(checkpoint: Path) -> EmoModel:
    """As it is read back."""
    return EmoModel.load(checkpoint)
