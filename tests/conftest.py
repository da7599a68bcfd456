"""What all tests share: one thread each, caches of their own, and checkpoints and bundles made once for all workers."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

# PyTorch reads it when it is imported: its threads wait by spinning, beside other workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")


#: The files that workers begin with, in this order: those that make what other files share, then the longest ones.
FIRST = (
    "export/test_quantize.py",
    "export/test_build.py",
    "export/test_tensorrt.py",
    "export/test_validate.py",
    "benchmarks/test_benchmarks.py",
    "test_bundled.py",
    "training/stages/test_all_stages.py",
    "training/stages/test_trainer.py",
    "training/stages/test_training_checkpoint.py",
    "emo_rt/test_stopping.py",
    "emo_rt/serve/test_kill.py",
    "emo_rt/serve/test_command.py",
    "benchmarks/test_gpu.py",
    "emo_rt/test_run.py",
    "training/stages/test_performance.py",
    "training/samples/test_clip_folder.py",
    "training/speakers/test_corpus.py",
    "training/footage/test_preparation.py",
    "training/stages/test_published.py",
    "training/stages/test_stage.py",
    "training/stages/test_losses.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nobody waits for what another worker makes, and the workers end with short files, so that they end together."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(FIRST)))


def pytest_collection_finish() -> None:
    """What is there by now stays: the garbage collector need not look through all of it again and again."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for what the tests of a session share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("own_cache")))
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache for each test: what it measures on a busy machine reaches neither the user's cache nor other tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """A function that gives the directory of a name: the first worker that asks makes it, the others wait for it."""
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


# The runtime's tests need no PyTorch, so fixtures that need it import it themselves.


@pytest.fixture(scope="session")
def checkpoint(made_once: MadeOnce) -> Path:
    """A checkpoint of the test size, in which no layer is silent."""

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
    """The bundle of that checkpoint in float32."""
    return _bundle(checkpoint, "fp32", made_once)


@pytest.fixture(scope="session")
def fp16(checkpoint: Path, made_once: MadeOnce) -> Path:
    """The bundle of that checkpoint in float16."""
    return _bundle(checkpoint, "fp16", made_once)


@pytest.fixture(scope="session")
def bundled_int8(made_once: MadeOnce) -> Path:
    """A bundle of emo-photo in INT8: random weights say little of what 8 bits do to trained ones.

    On processors only steps are of 8 bits: all else is of float32, as in the bundle that is in the repository.
    """
    checkpoint = Path(__file__).parents[1] / "models" / "emo-photo"
    return _bundle(checkpoint, "int8", made_once, checkpoint / "bundle")


def _bundle(checkpoint: Path, precision: str, made_once: MadeOnce, float32: Path | None = None) -> Path:
    def make(directory: Path) -> None:
        from emo_rt.bundle import STEP_GRAPHS
        from export.bundle import build_bundle
        from export.graphs.options import BuildOptions
        from export.sources import read_record, read_sources, write_record

        options = BuildOptions(precision)
        sources = read_sources(checkpoint, options)
        if float32:  # as if a build had been killed after these graphs
            begun = shutil.copytree(float32, f"{directory}.partial", dirs_exist_ok=True)
            graphs = read_record(float32)["graphs"]
            write_record(Path(begun), sources, {name: graphs[name] for name in graphs if name not in STEP_GRAPHS})
        build_bundle(checkpoint, directory, options, sources)

    return made_once(f"{checkpoint.name}-{precision}", make)
