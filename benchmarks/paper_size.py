"""The paper's size without a GPU: ``python -m benchmarks.paper_size``.

Exports emo-sd15 with random weights (512 x 512, 12 frames) in every precision, lets NVIDIA's own parser and builder
make an engine of each graph, and compares a step of the exported graph with PyTorch, at a size that a processor gets
through. Each of these has a process of its own and says how much memory that took. What is done is kept in the results,
and not done again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.gpu import WORK, checkpoint
from benchmarks.machine import machine, results_file
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.onnxruntime import OnnxRuntimeEngine
from emo_rt.engines.tensorrt_build import build_engine
from emo_rt.errors import BundleError
from export.bundle import convert, load
from export.graphs.modules import export_graphs
from export.graphs.onnx_file import describe, export_part
from export.graphs.quantize import LARGEST_QUANTIZED, calibrate, calibration_clips, quantize
from export.nvidia import load_tensorrt
from export.sources import PARTS, STEPS, Options

PRECISIONS = ("fp16", "int8", "fp8")
#: Frames and resolution of the clips that ranges come from, and of the step that is compared.
SMALL = {"clip_frames": 4, "resolution": 128}


def export(model: str, precision: str, directory: Path) -> dict[str, Any]:
    """The graphs in a precision, each with the seconds that it took and its size in MB.

    8 bits change the graphs of a step alone: the others are those of fp16.
    """
    source, options = checkpoint(model), Options(precision, "tensorrt")
    ranges = {}
    if precision in LARGEST_QUANTIZED:
        small = load(source, Options(precision, "tensorrt", **SMALL))
        clips = calibration_clips(1, SMALL["resolution"], SMALL["clip_frames"], small.config.frames_per_second)
        ranges = calibrate(small, precision, clips, steps=4)
        del small
    made = export_graphs(quantize(convert(load(source, options), options), options.eight_bits, ranges))
    rows = {}
    for part in [STEPS] if ranges else PARTS:
        started = time.perf_counter()
        export_part({name: made[name] for name in part}, directory)
        for name in part:
            size = sum((directory / file).stat().st_size for file in describe(directory / f"{name}.onnx").files)
            rows[name] = {"export_seconds": round(time.perf_counter() - started, 1), "onnx_mb": round(size / 1e6, 1)}
    return {"graphs": rows, "peak_gib": _peak_gib()}


def engine(path: Path, precision: str) -> dict[str, Any]:
    """What NVIDIA's builder makes of a graph."""
    with tempfile.TemporaryDirectory() as scratch:
        tensorrt = load_tensorrt(Path(scratch))
        started = time.perf_counter()
        try:
            built = build_engine(path, tensorrt, precision)
        except BundleError as error:
            return {"engine_error": str(error)}
    return {
        "engine_seconds": round(time.perf_counter() - started, 1),
        "engine_mb": round(len(built) / 1e6, 1),
        "engine_peak_gib": _peak_gib(),
        "builder": tensorrt.__version__,
    }


def compare_step(model: str, directory: Path) -> dict[str, Any]:
    """A step in float32 by ONNX Runtime against PyTorch: the largest error as a share of the range, and the cosine."""
    made = export_graphs(load(checkpoint(model), Options(**SMALL)))
    expected = {name: made[name].run()["next_latents"].numpy() for name in STEPS}
    inputs = {name: {key: tensor.numpy() for key, tensor in made[name].inputs.items()} for name in STEPS}
    export_part({name: made[name] for name in STEPS}, directory)
    del made
    rows = {}
    for name in STEPS:
        path = directory / f"{name}.onnx"
        loaded = OnnxRuntimeEngine(name, path, describe(path))
        actual = to_numpy(loaded.run(inputs[name])["next_latents"])
        wanted = expected[name]
        rows[name] = {
            "max_error": float(np.abs(actual - wanted).max() / np.ptp(wanted)),
            "cosine": float(torch.cosine_similarity(torch.tensor(actual).flatten(), torch.tensor(wanted).flatten(), 0)),
        }
        del loaded
    return {**SMALL, "graphs": rows, "peak_gib": _peak_gib()}


def _peak_gib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def in_a_process(function: Callable[..., Any], *arguments: object) -> Any:
    """The result of a function that is called in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="emo-sd15", help="the size (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the JSON file (default: benchmarks/results/paper-size-MODEL.json)")
    args = parser.parse_args(arguments)
    path = args.out or results_file(f"paper-size-{args.model}")
    result = json.loads(path.read_text()) if path.exists() else {"machine": machine()}
    in_a_process(checkpoint, args.model)  # made once

    def keep() -> None:
        path.write_text(json.dumps(result, indent=1) + "\n")

    for name in tqdm(("step", *PRECISIONS), unit="precision"):
        if name in result:
            continue
        directory = WORK / f"paper-size-{args.model}-{name}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        if name == "step":
            result[name] = in_a_process(compare_step, args.model, directory)
        else:
            exported = in_a_process(export, args.model, name, directory)
            for graph, row in tqdm(exported["graphs"].items(), desc=f"{name} engines", unit="graph", leave=False):
                row |= in_a_process(engine, directory / f"{graph}.onnx", name)
            result[name] = exported
        shutil.rmtree(directory)
        keep()
    print(table(result))
    print(path)
    return 0


def table(result: dict[str, Any]) -> str:
    """The results as lines for people."""
    lines = [f"{'':>21} {'MB':>7} {'exported in s':>13} {'engine MB':>10} {'built in s':>10} {'GiB':>6}"]
    for precision in PRECISIONS:
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
