"""The model that the tests of the export share."""

from pathlib import Path

import pytest

from training.model.model import EmoModel


@pytest.fixture
def model(checkpoint: Path) -> EmoModel:
    """The model of the test size, read from its checkpoint."""
    return EmoModel.load(checkpoint)
