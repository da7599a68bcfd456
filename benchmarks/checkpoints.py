"""The checkpoints and bundles that are timed: bundled ones, and others that are made when they are missing."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gpu_rows.weights import random_model
from benchmarks.machine import CHECKOUT, WORK
from emo_rt.bundle import Bundle
from export.bundle import build_bundle
from export.graphs.options import BuildOptions
from export.sources import outdated_graphs, read_sources
from training.model.config import EmoConfig


def named_checkpoint(name: str) -> Path:
    """The bundled checkpoint of a name, or one of that size with random weights, in which no layer is silent.

    Args:
        name: folder in `models`, or name of a config, as `emo-sd15`

    Raises:
        ValueError: if there is neither.
    """
    bundled = CHECKOUT / "models" / name
    if bundled.exists():
        return bundled
    directory = WORK / name
    if not (directory / "model.safetensors").exists():  # written last
        random_model(EmoConfig.from_name(name)).save(directory)
    return directory


def up_to_date_bundle(checkpoint: Path, options: BuildOptions, *, check: bool = True) -> Bundle:
    """The bundle of a checkpoint in `WORK`, built unless it is up to date.

    Args:
        checkpoint: directory of the model
        options: options of the build
        check: whether a build compares the bundle with PyTorch
    """
    sources = read_sources(checkpoint, options)
    directory = WORK / f"{checkpoint.name}-{options.precision}-{options.backend}"
    if outdated_graphs(directory, sources):
        directory.parent.mkdir(parents=True, exist_ok=True)
        build_bundle(checkpoint, directory, options, sources, check=check)
    return Bundle.load(directory, validated=False)
