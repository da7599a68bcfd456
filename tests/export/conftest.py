"""A checkpoint of the test size and its bundles, made once."""

from pathlib import Path

import pytest
import torch

from export.bundle import build
from export.plan import Options, read_sources
from training.config import EmoConfig
from training.model import EmoModel

TINY = Path(__file__).parents[2] / "models" / "emo-tiny"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the test size; no layer of it is silent."""
    torch.manual_seed(0)
    model = EmoModel(EmoConfig.from_name("emo-test"))
    for parameter in model.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
    directory = tmp_path_factory.mktemp("checkpoint")
    model.save(directory)
    return directory


@pytest.fixture
def model(checkpoint: Path) -> EmoModel:
    """As it is read back."""
    return EmoModel.load(checkpoint)


def _bundle(checkpoint: Path, directory: Path, precision: str) -> Path:
    options = Options(precision)
    build(checkpoint, directory, options, read_sources(checkpoint, options))
    return directory


@pytest.fixture(scope="session")
def fp32(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _bundle(checkpoint, tmp_path_factory.mktemp("fp32") / "bundle", "fp32")


@pytest.fixture(scope="session")
def fp16(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _bundle(checkpoint, tmp_path_factory.mktemp("fp16") / "bundle", "fp16")


@pytest.fixture(scope="session")
def tiny_int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the bundled model: random weights say little of what 8 bits do to trained ones."""
    return _bundle(TINY, tmp_path_factory.mktemp("int8") / "bundle", "int8")
