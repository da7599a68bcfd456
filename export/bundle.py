"""A checkpoint's bundle: its graphs exported, described and compared with PyTorch; it appears whole or not at all."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from emo_rt.bundle import MANIFEST_NAME, Manifest
from emo_rt.engines.registry import check_runs_here
from emo_rt.engines.tensorrt_build import ENGINES
from emo_rt.errors import InputError
from export.graphs import modules as graphs
from export.graphs.float16 import to_float16
from export.graphs.onnx_file import describe, export_part
from export.graphs.quantize import LARGEST_QUANTIZED, Ranges, calibrate, calibration_clips, quantize
from export.manifest import noise_schedule, runtime_config
from export.sources import PARTS, RECORD_NAME, STEPS, Options, Sources, entry, outdated, read_record, write_record
from export.validate import validate, write_validation
from training.model.config import EmoConfig
from training.model.model import EmoModel


def build(
    checkpoint: Path, directory: Path, options: Options, sources: Sources, *, force: bool = False, check: bool = True
) -> tuple[dict[str, Any], dict[str, float]]:
    """Make or renew the bundle in ``directory``. What is up to date there, or was made before a kill, is kept.

    Args:
        checkpoint: directory of the model.
        sources: of the build, as ``read_sources`` gives them for the checkpoint and the options.
        force: keep nothing.
        check: compare the bundle with PyTorch.

    Returns:
        the validation, empty without ``check``, and the seconds that each graph took that was exported.
    """
    config = replace(EmoConfig.load(checkpoint / "config.json"), **_changes(options))
    partial = directory.with_name(directory.name + ".partial")
    if force:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    record = _keep(partial, directory, sources, force)
    missing = [part for part in PARTS if any(name not in record for name in part)]
    seconds: dict[str, float] = {}
    if missing:
        ranges = _ranges(checkpoint, options) if STEPS in missing and options.precision in LARGEST_QUANTIZED else {}
        model = convert(load(checkpoint, options), options)
        made = graphs.export_graphs(model)
        for part in tqdm(missing, desc="exporting", unit="part"):
            started = time.perf_counter()
            if part == STEPS:
                quantize(model, options.eight_bits, ranges)
            tensors = {id(tensor) for tensor in export_part({name: made[name] for name in part}, partial)}
            held = {name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in tensors}
            if part == STEPS and ranges:  # these follow from the whole model
                held = set(sources.weights)
            for name in part:
                record[name] = entry(describe(partial / f"{name}.onnx").files, held, sources)
                seconds[name] = (time.perf_counter() - started) / len(part)
            write_record(partial, sources, record)
        del made, model
    write_record(partial, sources, record)
    _write_manifest(partial, config, options.precision, record)
    validation: dict[str, Any] = {}
    if check:
        validation = validate(load(checkpoint, options), partial, backend=_runnable(options.backend))
        write_validation(partial, validation)
    _swap(partial, directory)
    return validation, seconds


def _runnable(backend: str) -> str:
    """The backend, or ONNX Runtime where it cannot run: the graphs are the same."""
    try:
        check_runs_here(backend)
    except InputError:
        return "onnxruntime"
    return backend


def load(checkpoint: Path, options: Options) -> EmoModel:
    """The checkpoint in float32, at the clip length and resolution that the options ask for."""
    return EmoModel.load(checkpoint, **_changes(options))


def _changes(options: Options) -> dict[str, Any]:
    changes = {"clip_frames": options.clip_frames, "resolution": options.resolution}
    return {key: value for key, value in changes.items() if value is not None}


def convert(model: EmoModel, options: Options) -> EmoModel:
    """Turn a float32 model, in place, into the dtype of what is not of 8 bits."""
    if options.dtype == "bfloat16":
        return model.to(torch.bfloat16)
    return to_float16(model) if options.dtype == "float16" else model


def _ranges(checkpoint: Path, options: Options) -> dict[str, Ranges]:
    model = load(checkpoint, options)
    config = model.config
    frames = 2 * config.clip_frames
    clips = calibration_clips(options.calibration_clips, config.resolution, frames, config.frames_per_second)
    return calibrate(model, options.precision, clips)


def recover(directory: Path) -> None:
    """Finish what a kill between the two renames of ``_swap`` left."""
    old = directory.with_name(directory.name + ".old")
    if old.exists() and not directory.exists():
        old.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def _keep(partial: Path, directory: Path, sources: Sources, force: bool) -> dict[str, Any]:
    """Gather in ``partial`` what need not be made again, and nothing else; returns its record."""
    kept: dict[str, Any] = {}
    for place in (partial, directory):
        record, stale = read_record(place)["graphs"], outdated(place, sources)
        for part in PARTS:
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
    described = {name: describe(directory / f"{name}.onnx") for name in names}
    manifest = Manifest(config.name, precision, runtime_config(config), noise_schedule(config), described)
    (directory / MANIFEST_NAME).write_text(json.dumps(manifest.to_json(), indent=1) + "\n")


def _swap(partial: Path, directory: Path) -> None:
    """Put a finished bundle in the place of the one before."""
    old = directory.with_name(directory.name + ".old")
    if (directory / ENGINES).exists() and not (partial / ENGINES).exists():
        (directory / ENGINES).rename(partial / ENGINES)
    if directory.exists():
        directory.rename(old)
    partial.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
