"""What all tests have in common: a thread each, a cache of their own, and what is made once for all workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

# PyTorch reads it when it is imported: its threads wait by spinning, beside other workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what tests have in common."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("own_cache")))
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps what tests measure, on a busy machine, out of the user's cache, and out of each other's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Gives the directory of a name: the first worker that wants it makes it, the others wait for that."""
    own = tmp_path_factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def give(name: str, make: Callable[[Path], object]) -> Path:
        directory, unfinished = common / name, common / f"{name}.unfinished"
        with FileLock(common / f"{name}.lock"):
            if not directory.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                make(unfinished)
                unfinished.rename(directory)
        return directory

    return give


# The runtime's tests need no PyTorch: what does imports it where it is made.


@pytest.fixture(scope="session")
def checkpoint(made_once: MadeOnce) -> Path:
    """Of the test size; no layer of it is silent."""

    def make(directory: Path) -> None:
        import torch

        from training.model.config import EmoConfig
        from training.model.model import EmoModel

        torch.manual_seed(0)
        model = EmoModel(EmoConfig.from_name("emo-test"))
        for parameter in model.parameters():
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter, std=0.05)
        model.save(directory)

    return made_once("emo-test", make)


@pytest.fixture(scope="session")
def fp32(checkpoint: Path, made_once: MadeOnce) -> Path:
    """Its bundle in float32; ``fp16`` is the one in float16."""
    return _bundle(checkpoint, "fp32", made_once)


@pytest.fixture(scope="session")
def fp16(checkpoint: Path, made_once: MadeOnce) -> Path:
    return _bundle(checkpoint, "fp16", made_once)


@pytest.fixture(scope="session")
def tiny_int8(made_once: MadeOnce) -> Path:
    """Of the bundled model: random weights say little of what 8 bits do to trained ones."""
    return _bundle(Path(__file__).parents[1] / "models" / "emo-tiny", "int8", made_once)


def _bundle(checkpoint: Path, precision: str, made_once: MadeOnce) -> Path:
    def make(directory: Path) -> None:
        from export.bundle import build
        from export.sources import Options, read_sources

        options = Options(precision)
        build(checkpoint, directory, options, read_sources(checkpoint, options))

    return made_once(f"{checkpoint.name}-{precision}", make)
