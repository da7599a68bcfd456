"""Export the paper's size, build its engines and compare a step with PyTorch, all without a GPU.

Exports emo-sd15 with random weights (512 x 512, 12 frames) in every precision, lets NVIDIA's own parser and builder
make an engine of each graph, and compares a step of the exported graph with PyTorch, at a size that a processor gets
through. Each of these has a process of its own and says how much memory it took. What is done is kept in the results,
and not done again. All of it takes half an hour and 16 GB of memory.

example:
  python -m benchmarks.paper_size --model emo-sd15 --out out/paper-size.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import resource
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.checkpoints import named_checkpoint
from benchmarks.gpu_rows.weights import check_size
from benchmarks.machine import WORK, machine_facts, results_file, write_results
from emo_rt.bundle import STEP_GRAPHS
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.onnxruntime import OnnxRuntimeEngine
from emo_rt.engines.tensorrt_build import build_engine
from emo_rt.errors import BundleError
from export.graphs.calibrate import calibrate, calibration_clips
from export.graphs.exporter import convert
from export.graphs.modules import export_graphs
from export.graphs.onnx_file import export_part, graph_spec
from export.graphs.options import GRAPH_PARTS, BuildOptions
from export.graphs.quantize import quantize
from training.model.model import EmoModel

#: The precisions that are exported.
PAPER_PRECISIONS = ("fp16", "int8", "fp8")
#: Frames and resolution of the clips that ranges come from, and of the step that is compared.
SMALL_CLIP = {"clip_frames": 4, "resolution": 128}


def time_export(model: str, precision: str, directory: Path) -> dict[str, Any]:
    """Export the graphs of a model; those of a step alone in 8 bits, where all others are as in fp16.

    Args:
        model: name of the checkpoint, as `named_checkpoint` takes it
        precision: precision of the graphs
        directory: directory that the graphs go into

    Returns:
        `graphs`, with `export_seconds` and `onnx_mb` of each by name, and `peak_gib` of this process.
    """
    source, options = named_checkpoint(model), BuildOptions(precision, "tensorrt")
    ranges = {}
    if options.is_quantized:
        small = EmoModel.load(source, **SMALL_CLIP)
        frames = SMALL_CLIP["clip_frames"]
        clips = calibration_clips(1, SMALL_CLIP["resolution"], frames, small.config.frames_per_second)
        ranges = calibrate(small, precision, clips, steps=4)
        del small
    made = export_graphs(quantize(convert(EmoModel.load(source), options.dtype), options.storage, ranges))
    rows = {}
    for part in [STEP_GRAPHS] if ranges else GRAPH_PARTS:
        started = time.perf_counter()
        export_part({name: made[name] for name in part}, directory)
        for name in part:
            size = sum((directory / file).stat().st_size for file in graph_spec(directory / f"{name}.onnx").files)
            rows[name] = {"export_seconds": round(time.perf_counter() - started, 1), "onnx_mb": round(size / 1e6, 1)}
    return {"graphs": rows, "peak_gib": _peak_gib()}


def time_engine_build(path: Path, precision: str) -> dict[str, Any]:
    """Let NVIDIA's builder make an engine of an ONNX file; the figures, or an `engine_error`."""
    tensorrt = importlib.import_module("tensorrt_rtx_bindings")
    started = time.perf_counter()
    try:
        built = build_engine(path, tensorrt, precision, "sm_89")
    except BundleError as error:
        return {"engine_error": str(error)}
    return {
        "engine_seconds": round(time.perf_counter() - started, 1),
        "engine_mb": round(len(built) / 1e6, 1),
        "engine_peak_gib": _peak_gib(),
        "builder": tensorrt.__version__,
    }


def compare_step(model: str, directory: Path) -> dict[str, Any]:
    """Compare the graphs of a step in float32, run by ONNX Runtime on a `SMALL_CLIP`, with PyTorch.

    Args:
        model: name of the checkpoint, as `named_checkpoint` takes it
        directory: directory that the graphs go into

    Returns:
        `graphs`, with `max_error`, the largest error as a share of the output's range, and `cosine` of each by name;
        `peak_gib` of this process; the size of the clip.
    """
    made = export_graphs(EmoModel.load(named_checkpoint(model), **SMALL_CLIP))
    expected = {name: made[name].run()["next_latents"].numpy() for name in STEP_GRAPHS}
    inputs = {name: {key: tensor.numpy() for key, tensor in made[name].inputs.items()} for name in STEP_GRAPHS}
    export_part({name: made[name] for name in STEP_GRAPHS}, directory)
    del made
    rows = {}
    for name in STEP_GRAPHS:
        path = directory / f"{name}.onnx"
        loaded = OnnxRuntimeEngine(name, path, graph_spec(path))
        actual = to_numpy(loaded.run(inputs[name])["next_latents"])
        wanted = expected[name]
        rows[name] = {
            "max_error": float(np.abs(actual - wanted).max() / np.ptp(wanted)),
            "cosine": float(torch.cosine_similarity(torch.tensor(actual).flatten(), torch.tensor(wanted).flatten(), 0)),
        }
        del loaded
    return {**SMALL_CLIP, "graphs": rows, "peak_gib": _peak_gib()}


def _peak_gib() -> float:
    """The most memory that this process has taken so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def in_a_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in a new process and return its result."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = "name of a config, or folder in models (default: %(default)s)"
    parser.add_argument("--model", default="emo-sd15", metavar="MODEL", help=model)
    out = "JSON file (default: benchmarks/results/paper-size-MODEL.json)"
    parser.add_argument("--out", type=Path, metavar="FILE", help=out)
    args = parser.parse_args(arguments)
    path = args.out or results_file(f"paper-size-{args.model}")
    try:
        check_size(args.model)
        result = json.loads(path.read_text()) if path.exists() else {"machine": machine_facts()}
    except (OSError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    in_a_process(named_checkpoint, args.model)  # made once
    for name in tqdm(("step", *PAPER_PRECISIONS), unit="precision"):
        if name in result:
            continue
        directory = WORK / f"paper-size-{args.model}-{name}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        if name == "step":
            result[name] = in_a_process(compare_step, args.model, directory)
        else:
            exported = in_a_process(time_export, args.model, name, directory)
            for graph, row in tqdm(exported["graphs"].items(), desc=f"{name} engines", unit="graph", leave=False):
                row |= in_a_process(time_engine_build, directory / f"{graph}.onnx", name)
            result[name] = exported
        shutil.rmtree(directory)
        write_results(path, result)
    print(paper_size_table(result))
    print(path)
    return 0


def paper_size_table(result: dict[str, Any]) -> str:
    """The results as lines for people."""
    lines = [f"{'':>21} {'MB':>7} {'exported in s':>13} {'engine MB':>10} {'built in s':>10} {'GiB':>6}"]
    for precision in PAPER_PRECISIONS:
        for name, row in result[precision]["graphs"].items():
            built = (
                f"{row['engine_mb']:10.1f} {row['engine_seconds']:10.1f} {row['engine_peak_gib']:6.2f}"
                if "engine_mb" in row
                else row["engine_error"]
            )
            lines.append(f"{precision} {name:>16} {row['onnx_mb']:7.1f} {row['export_seconds']:13.1f} {built}")
        lines.append(f"{precision} exported with {result[precision]['peak_gib']:.2f} GiB of memory")
    for name, row in result["step"]["graphs"].items():
        lines.append(f"step {name:>16}: max error {row['max_error']:.1e} of the range, cosine {row['cosine']:.7f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
