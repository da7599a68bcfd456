"""The test size's model, and one thread: small tensors lose more to a busy machine's threads than they gain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tiny_models import emo_model

from training.config import EmoConfig
from training.model import EmoModel


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def config() -> EmoConfig:
    return EmoConfig.from_name("emo-test")


@pytest.fixture(scope="session")
def model() -> EmoModel:
    """No parameter of it is constant. Do not change it; ``tiny_models.emo_model`` makes others."""
    return emo_model()
