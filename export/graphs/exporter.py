"""The graphs of a checkpoint, part by part: converted to a precision and written as ONNX files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from emo_rt.bundle import STEP_GRAPHS
from export.graphs.calibrate import calibrated_ranges
from export.graphs.float16 import to_float16
from export.graphs.modules import export_graphs
from export.graphs.onnx_file import export_part
from export.graphs.options import BuildOptions
from export.graphs.quantize import LayerRanges, quantize
from training.model.model import EmoModel


@dataclass(frozen=True)
class ExportedPart:
    """Graphs that were written together.

    Attributes:
        names: names of the graphs
        weights: names of the model's weights that the graphs follow from; None for all of them
        seconds: time that each graph took, in seconds
    """

    names: tuple[str, ...]
    weights: frozenset[str] | None
    seconds: float


def export_parts(
    checkpoint: Path, options: BuildOptions, parts: Sequence[tuple[str, ...]], directory: Path
) -> Iterator[ExportedPart]:
    """Write parts of a checkpoint's graphs as `NAME.onnx`, one part for each item.

    Args:
        checkpoint: directory of the model
        options: options of the build
        parts: members of `GRAPH_PARTS`, in their order
        directory: directory that the files go into
    """
    ranges: dict[str, LayerRanges] = {}
    if STEP_GRAPHS in parts and options.is_quantized:
        ranges = calibrated_ranges(checkpoint, options)
    model = convert(EmoModel.load(checkpoint, **options.config_changes), options.dtype)
    made = export_graphs(model)
    for part in parts:
        started = time.perf_counter()
        if part == STEP_GRAPHS:
            quantize(model, options.storage, ranges)
        tensors = {id(tensor) for tensor in export_part({name: made[name] for name in part}, directory)}
        held = {name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in tensors}
        calibrated = part == STEP_GRAPHS and options.is_quantized  # the ranges follow from the whole model
        seconds = (time.perf_counter() - started) / len(part)
        yield ExportedPart(part, None if calibrated else frozenset(held), seconds)


def convert(model: EmoModel, dtype: str) -> EmoModel:
    """Turn a float32 model, in place, into `dtype`: float32, float16 or bfloat16."""
    if dtype == "bfloat16":
        return model.to(torch.bfloat16)
    return to_float16(model) if dtype == "float16" else model
