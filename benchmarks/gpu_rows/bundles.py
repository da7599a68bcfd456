"""Rows of the checklist that a backend of the runtime runs: whole clips of an exported bundle."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_rows.variants import GpuVariant
from emo_rt.engines.registry import check_runs_here
from emo_rt.engines.telemetry import without_telemetry
from emo_rt.errors import InputError


def check_gpu_backend(backend: str, device: str) -> None:
    """Raises InputError, with what to do, if a backend of the runtime does not run on a device here."""
    check_runs_here(backend)
    if backend == "onnxruntime" and device == "cuda":
        with without_telemetry():
            import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise InputError("this ONNX Runtime has no CUDA: pip install onnxruntime-gpu")


def time_bundle(
    name: str, variant: GpuVariant, device: str, steps: tuple[int, int], reference: Path
) -> Iterator[dict[str, Any]]:
    """Time clips of few and of many steps.

    Args:
        name: name of the model, as `named_checkpoint` takes it
        variant: precision and backend; `pytorch` for the reference itself
        device: PyTorch's device, where the reference is computed
        steps: numbers of DDIM steps of the two videos that are timed
        reference: file of PyTorch's frames in float32, which is made if it is missing

    Yields:
        once, `milliseconds` of a step, `clip_seconds` by sampling, `frames_psnr` of the video of few steps in dB,
        `prepare_seconds`, and `memory_gib` of the whole device.

    Raises:
        InputError: if the backend does not run here.
    """
    check_gpu_backend(variant.backend, device)
    if not reference.exists():
        frames = next(_times_and_frames(name, GpuVariant("fp32"), device, (steps[0], steps[0] + 1)))[1]
        reference.parent.mkdir(parents=True, exist_ok=True)
        np.save(reference, frames)
    from training.evaluation.metrics import psnr  # needs what judges need

    for figures, frames in _times_and_frames(name, variant, device, steps):
        yield {**figures, "frames_psnr": psnr(frames, np.load(reference))}


def _times_and_frames(
    name: str, variant: GpuVariant, device: str, steps: tuple[int, int]
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The figures, and the frames (t, h, w, 3) of the video of few steps."""
    from benchmarks.checkpoints import named_checkpoint
    from export.sample import bundled_sample
    from training.model.config import EmoConfig

    directory = named_checkpoint(name)
    config = EmoConfig.load(directory / "config.json")
    sample = bundled_sample(config, 3 * config.clip_frames)
    started = time.perf_counter()
    cascade = _cascade(directory, variant, device)

    def clips(count: int, steps: int) -> tuple[float, np.ndarray]:
        """The median seconds of a clip after the first, and the frames of all clips."""
        moments, frames = [], []
        for clip in cascade.generate(
            sample.portrait,
            sample.face_box,
            [sample.waveform],
            steps=steps,
            cache_interval=variant.cache_interval,
            max_frames=count * config.clip_frames,
        ):
            moments.append(time.perf_counter())
            frames.append(clip)
        return float(statistics.median(np.diff(moments))), np.concatenate(frames)

    clips(2, 2)  # captures and allocates
    ready = time.perf_counter()
    few, frames = clips(3, steps[0])
    many, _ = clips(2, steps[1])
    titles = [f"{count} steps, all guided" for count in steps]
    if variant.cache_interval > 1:
        titles = [f"{title}, 1 in {variant.cache_interval} full" for title in titles]
    figures: dict[str, Any] = {
        "prepare_seconds": ready - started,
        "clip_seconds": dict(zip(titles, (few, many), strict=True)),
        "milliseconds": {"step": 1e3 * (many - few) / (steps[1] - steps[0])},
    }
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        figures["memory_gib"] = (total - free) / 2**30
    yield figures, frames


def _cascade(directory: Path, variant: GpuVariant, device: str) -> Any:
    """The runtime's cascade of a bundle, or of PyTorch's modules."""
    from benchmarks.checkpoints import up_to_date_bundle
    from emo_rt.cascade.cascade import Cascade
    from export.graphs.exporter import convert
    from export.graphs.modules import export_graphs
    from export.graphs.options import BuildOptions
    from export.manifest import noise_schedule, runtime_config
    from export.torch_engine import TorchEngine
    from training.model.model import EmoModel

    if variant.backend == "pytorch":
        model = EmoModel.load(directory)
        made = export_graphs(convert(model, BuildOptions(variant.precision).dtype))
        engines = {name: TorchEngine(name, graph, device) for name, graph in made.items()}
        return Cascade(runtime_config(model.config), noise_schedule(model.config), engines.__getitem__)
    options = BuildOptions(variant.precision, variant.backend, calibration_clips=2)
    return Cascade.load(up_to_date_bundle(directory, options, check=False), variant.backend)
