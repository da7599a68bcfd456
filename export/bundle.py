"""A checkpoint's bundle: its graphs exported, described and compared with PyTorch; it appears whole or not at all."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emo_rt.atomic import atomic_write
from emo_rt.bundle import MANIFEST_NAME, Manifest
from emo_rt.engines.registry import check_runs_here
from emo_rt.engines.tensorrt_build import ENGINES
from emo_rt.errors import InputError
from emo_rt.planning.presets import PRESETS_NAME
from export.graphs.exporter import export_parts
from export.graphs.onnx_file import graph_spec
from export.graphs.options import GRAPH_PARTS, BuildOptions
from export.manifest import noise_schedule, runtime_config
from export.sources import RECORD_NAME, BuildSources, outdated_graphs, read_record, record_entry, write_record
from export.validate import validate, write_validation
from training.model.config import EmoConfig
from training.model.model import EmoModel


def build_bundle(
    checkpoint: Path,
    directory: Path,
    options: BuildOptions,
    sources: BuildSources,
    *,
    force: bool = False,
    check: bool = True,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Make or renew the bundle in `directory`. What is up to date, or was made before a kill, is kept.

    Args:
        checkpoint: directory of the model
        directory: directory of the bundle
        options: options of the build
        sources: sources of the build, from `read_sources` for the same checkpoint and options
        force: whether to make everything again
        check: whether to compare the bundle with PyTorch

    Returns:
        The validation, empty without `check`, and the seconds that each exported graph took, by name.
    """
    config = replace(EmoConfig.load(checkpoint / "config.json"), **options.config_changes)
    partial = directory.with_name(directory.name + ".partial")
    if force:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    record = _keep(partial, directory, sources, force)
    missing = [part for part in GRAPH_PARTS if any(name not in record for name in part)]
    seconds: dict[str, float] = {}
    if missing:
        exported_parts = export_parts(checkpoint, options, missing, partial)
        for exported in tqdm(exported_parts, desc="exporting", unit="part", total=len(missing)):
            weights = sources.weights if exported.weights is None else exported.weights
            for name in exported.names:
                record[name] = record_entry(graph_spec(partial / f"{name}.onnx").files, weights, sources)
                seconds[name] = exported.seconds
            write_record(partial, sources, record)
    write_record(partial, sources, record)
    _write_manifest(partial, config, options.precision, record)
    validation: dict[str, Any] = {}
    if check:
        model = EmoModel.load(checkpoint, **options.config_changes)
        validation = validate(model, partial, backend=_runnable(options.backend))
        write_validation(partial, validation)
    _keep_presets(partial, directory)
    _swap(partial, directory)
    return validation, seconds


def _runnable(backend: str) -> str:
    """The backend, or ONNX Runtime where it cannot run: the graphs are the same."""
    try:
        check_runs_here(backend)
    except InputError:
        return "onnxruntime"
    return backend


def recover_bundle(directory: Path) -> None:
    """Finish the exchange of two bundles that a kill between its two renames left undone."""
    old = directory.with_name(directory.name + ".old")
    if old.exists() and not directory.exists():
        old.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def _keep(partial: Path, directory: Path, sources: BuildSources, force: bool) -> dict[str, Any]:
    """Gather in `partial` the graphs that need not be made again, and nothing else. Returns their record."""
    kept: dict[str, Any] = {}
    for place in (partial, directory):
        record, stale = read_record(place)["graphs"], outdated_graphs(place, sources)
        for part in GRAPH_PARTS:
            if not force and not any(name in stale or name in kept for name in part):
                kept |= {name: record[name] for name in part}
                for file in {file for name in part for file in record[name]["files"]}:
                    if place != partial:
                        shutil.copyfile(place / file, partial / file)
    wanted = {file for graph in kept.values() for file in graph["files"]} | {RECORD_NAME, ENGINES}
    for path in partial.iterdir():
        if path.name not in wanted:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return kept


def _write_manifest(directory: Path, config: EmoConfig, precision: str, names: Iterable[str]) -> None:
    specs = {name: graph_spec(directory / f"{name}.onnx") for name in names}
    manifest = Manifest(config.name, precision, runtime_config(config), noise_schedule(config), specs)
    with atomic_write(directory / MANIFEST_NAME) as file:
        file.write(f"{json.dumps(manifest.to_json(), indent=1)}\n".encode())


def _keep_presets(partial: Path, directory: Path) -> None:
    """Take over the measured presets of the bundle before, if its graphs were the same to the byte."""
    presets = directory / PRESETS_NAME
    if not presets.exists():
        return
    before, now = (
        {name: graph["files"] for name, graph in read_record(place)["graphs"].items()} for place in (directory, partial)
    )
    if before == now:
        shutil.copyfile(presets, partial / PRESETS_NAME)
    else:
        print(f"{presets}: dropped, the graphs changed; measure again with `python -m export.presets`", file=sys.stderr)


def _swap(partial: Path, directory: Path) -> None:
    """Put a finished bundle in the place of the one before, with the engines that were compiled from that one."""
    old = directory.with_name(directory.name + ".old")
    if (directory / ENGINES).exists() and not (partial / ENGINES).exists():
        (directory / ENGINES).rename(partial / ENGINES)
    if directory.exists():
        directory.rename(old)
    partial.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
