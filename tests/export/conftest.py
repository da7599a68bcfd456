"""A model of the test size and its bundles, made once."""

from pathlib import Path

import pytest
import torch

from export.build import build
from training.config import EmoConfig
from training.model import EmoModel


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> EmoModel:
    """A test-size checkpoint, read back as it was saved; no layer of it is silent."""
    torch.manual_seed(0)
    model = EmoModel(EmoConfig.from_name("emo-test"))
    for parameter in model.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
    directory = tmp_path_factory.mktemp("checkpoint")
    model.save(directory)
    return EmoModel.load(directory)


@pytest.fixture(scope="session")
def fp32(model: EmoModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fp32") / "bundle"
    build(model, "fp32", directory)
    return directory


@pytest.fixture(scope="session")
def fp16(model: EmoModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fp16") / "bundle"
    build(model, "fp16", directory)
    return directory
