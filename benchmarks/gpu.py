"""Time everything that this machine's GPU can show, in one command.

Builds the bundles, compares them with PyTorch and times them: one cascade of graphs, run by PyTorch, by ONNX Runtime on
CUDA and by TensorRT, for emo-tiny and for the paper's size with random weights. Each row runs in a process of its own,
and its figures are written at once; a run that was stopped goes on with the next row. A row that cannot run here says
why.

example:
  python -m benchmarks.gpu --models emo-tiny --rows pytorch-fp32 tensorrt-fp16 --minutes 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.checkpoints import WORK, check_size, named_checkpoint, up_to_date_bundle
from benchmarks.machine import CHECKOUT, machine_facts, results_file, write_results
from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.registry import check_runs_here
from emo_rt.errors import EmoError
from export.graphs.exporter import convert
from export.graphs.modules import export_graphs
from export.graphs.options import BuildOptions
from export.manifest import noise_schedule, runtime_config
from export.sample import Sample, bundled_sample
from export.torch_engine import TorchEngine
from training.evaluation.metrics import psnr
from training.model.config import EmoConfig
from training.model.model import EmoModel


@dataclass(frozen=True)
class GpuVariant:
    """What runs the cascade.

    Attributes:
        precision: precision of the graphs
        backend: backend of the runtime, or `pytorch`
        compiled: whether `torch.compile` compiles PyTorch's modules
        cache_interval: number of steps of which one is full
    """

    precision: str
    backend: str
    compiled: bool = False
    cache_interval: int = 1


GPU_ROWS = {
    "pytorch-fp32": GpuVariant("fp32", "pytorch"),
    "pytorch-fp16": GpuVariant("fp16", "pytorch"),
    "pytorch-fp16-compiled": GpuVariant("fp16", "pytorch", compiled=True),
    "onnxruntime-fp16": GpuVariant("fp16", "onnxruntime"),
    "tensorrt-fp16": GpuVariant("fp16", "tensorrt"),
    "tensorrt-fp16-cached": GpuVariant("fp16", "tensorrt", cache_interval=4),
    "tensorrt-int8": GpuVariant("int8", "tensorrt"),
    "tensorrt-fp8": GpuVariant("fp8", "tensorrt"),
}
#: The row that operations are counted in.
_COUNTED_ROW = "pytorch-fp16"


def time_gpu_variant(
    model: str, variant: GpuVariant, device: str, steps: tuple[int, int]
) -> tuple[dict[str, Any], np.ndarray]:
    """Time clips of few and of many steps.

    Args:
        model: name of the checkpoint, as `named_checkpoint` takes it
        variant: what runs the cascade
        device: PyTorch's device
        steps: numbers of DDIM steps of the two videos that are timed

    Returns:
        The figures, and the frames (t, h, w, 3) of the video of few steps.
    """
    directory = named_checkpoint(model)
    config = EmoConfig.load(directory / "config.json")
    sample = bundled_sample(config, 3 * config.clip_frames)
    started = time.perf_counter()
    cascade = _cascade(directory, config, variant, device)

    def clips(count: int, steps: int) -> tuple[float, np.ndarray]:
        return _time_clips(cascade, sample, count, steps, variant.cache_interval)

    clips(2, 2)  # compiles, captures and allocates
    ready = time.perf_counter()
    few, frames = clips(3, steps[0])
    many, _ = clips(2, steps[1])
    figures: dict[str, Any] = {
        "prepare_seconds": ready - started,
        f"clip_seconds_{steps[0]}_steps": few,
        f"clip_seconds_{steps[1]}_steps": many,
        "step_milliseconds": 1e3 * (many - few) / (steps[1] - steps[0]),
    }
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        figures["memory_mib"] = (total - free) / 2**20
    if variant == GPU_ROWS[_COUNTED_ROW]:
        with FlopCounterMode(display=False) as counter:
            clips(2, steps[0])
            counted = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            clips(2, steps[1])
        figures["step_tflop"] = (counter.get_total_flops() - counted) / (steps[1] - steps[0]) / 2 / 1e12
        figures["matmul_tflops"] = matmul_tflops(device)
    return figures, frames


def _time_clips(
    cascade: Cascade, sample: Sample, count: int, steps: int, cache_interval: int
) -> tuple[float, np.ndarray]:
    """The median seconds of a clip after the first, and the frames (t, h, w, 3) of all `count` clips."""
    moments, frames = [], []
    for clip in cascade.generate(
        sample.portrait,
        sample.face_box,
        [sample.waveform],
        steps=steps,
        cache_interval=cache_interval,
        max_frames=count * cascade.config.clip_frames,
    ):
        moments.append(time.perf_counter())
        frames.append(clip)
    return float(statistics.median(np.diff(moments))), np.concatenate(frames)


def _cascade(directory: Path, config: EmoConfig, variant: GpuVariant, device: str) -> Cascade:
    if variant.backend == "pytorch":
        made = export_graphs(convert(EmoModel.load(directory), BuildOptions(variant.precision).dtype))
        engines = {name: TorchEngine(name, graph, device, variant.compiled) for name, graph in made.items()}
        return Cascade(runtime_config(config), noise_schedule(config), engines.__getitem__)
    check_runs_here(variant.backend)
    options = BuildOptions(variant.precision, variant.backend, calibration_clips=2)
    return Cascade.load(up_to_date_bundle(directory, options, check=False), variant.backend)


def matmul_tflops(device: str, size: int = 8192) -> float:
    """The rate of a large float16 matrix product on a device in TFLOP/s, the median of twenty.

    Args:
        device: PyTorch's device
        size: side of the matrices on a GPU; on a processor it is 512
    """
    size = size if device == "cuda" else 512
    a, b = (torch.randn(size, size, device=device, dtype=torch.float16) for _ in range(2))
    seconds = []
    for _ in range(22):
        if device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds[2:]) / 1e12


def run_gpu_row(model: str, name: str, device: str, steps: tuple[int, int]) -> dict[str, Any]:
    """Time a row in this process, and keep its frames for the comparison. A row that cannot run gives its `error`."""
    if GPU_ROWS[name].backend == "onnxruntime" and device == "cuda":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return {"error": "this ONNX Runtime has no CUDA: pip install onnxruntime-gpu"}
    try:
        figures, frames = time_gpu_variant(model, GPU_ROWS[name], device, steps)
    except (EmoError, ImportError, RuntimeError) as error:
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    np.save(_frames_file(model, name), frames)
    return figures


def _frames_file(model: str, name: str) -> Path:
    return WORK / f"{model}-{name}.npy"


def gpu_table(result: Mapping[str, Any]) -> str:
    """The rows as lines for people; PSNR is against PyTorch in float32."""
    few, many = result["steps"]
    titles = (
        "model",
        "row",
        f"s/clip {few}",
        f"s/clip {many}",
        "ms/step",
        "of peak",
        "MiB",
        "PSNR dB",
        "prepared in s",
    )
    cells = [titles]
    for model, rows in result["models"].items():
        counted = rows.get(_COUNTED_ROW, {})
        for name, figures in rows.items():
            if "error" in figures:
                cells.append((model, name, figures["error"], *[""] * 6))
                continue
            peak = counted.get("matmul_tflops")
            share = counted["step_tflop"] / (figures["step_milliseconds"] / 1e3) / peak if peak else float("nan")
            cells.append(
                (
                    *(model, name, f"{figures[f'clip_seconds_{few}_steps']:.3f}"),
                    *(f"{figures[f'clip_seconds_{many}_steps']:.3f}", f"{figures['step_milliseconds']:.2f}"),
                    *(f"{share:.1%}", f"{figures.get('memory_mib', 0):.0f}", f"{figures.get('psnr', 100):.1f}"),
                    f"{figures['prepare_seconds']:.0f}",
                )
            )
    widths = [max(len(row[column]) for row in cells if row[3] or column < 2) for column in range(len(titles))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(arguments)
    WORK.mkdir(parents=True, exist_ok=True)
    if args.one:
        figures = run_gpu_row(args.models[0], args.rows[0], args.device, tuple(args.steps))
        args.out.write_text(json.dumps(figures))
        return 0
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else "no GPU"
    path = args.out or results_file(f"gpu-{gpu.lower().replace(' ', '-')}")
    begin = {"machine": {**machine_facts(), "gpu": gpu}, "steps": args.steps, "models": {}}
    try:
        for model in args.models:
            check_size(model)
        result = json.loads(path.read_text()) if path.exists() else begin
        if (result["steps"], result["machine"]["gpu"]) != (args.steps, gpu):
            raise ValueError(f"{path} is of another run: move it away, or give another --out")
    except (OSError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    deadline = time.monotonic() + 60 * args.minutes
    todo = [(model, name) for model in args.models for name in args.rows]
    for model, name in tqdm(todo, unit="row"):
        rows = result["models"].setdefault(model, {})
        if name in rows or time.monotonic() > deadline:
            continue
        rows[name] = _in_a_process(model, name, args)
        reference, own = _frames_file(model, "pytorch-fp32"), _frames_file(model, name)
        if "error" not in rows[name] and reference.exists():
            rows[name]["psnr"] = psnr(np.load(own), np.load(reference))
        write_results(path, result)
    print(gpu_table(result))
    print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    models = "folders in models or names of configs (default: emo-tiny emo-sd15)"
    add("--models", nargs="+", default=["emo-tiny", "emo-sd15"], metavar="MODEL", help=models)
    rows = f"rows to time, of {', '.join(GPU_ROWS)} (default: all)"
    add("--rows", nargs="+", choices=GPU_ROWS, default=list(GPU_ROWS), metavar="ROW", help=rows)
    steps = "DDIM steps of the two videos that are timed (default: 8 40)"
    add("--steps", nargs=2, type=int, default=[8, 40], metavar=("FEW", "MANY"), help=steps)
    add("--minutes", type=float, default=10, metavar="N", help="start no row after N minutes (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="PyTorch's (default: %(default)s)")
    add("--out", type=Path, metavar="FILE", help="JSON file (default: benchmarks/results/gpu-DEVICE.json)")
    add("--one", action="store_true", help=argparse.SUPPRESS)  # the process of a row
    return parser


def _in_a_process(model: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Time a row in a process of its own."""
    answer = WORK / "row.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu", "--one", "--models", model, "--rows", name, "--out", str(answer)]
    command += ["--device", args.device, "--steps", *map(str, args.steps)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode or not answer.exists():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"error": f"exit code {done.returncode}: {last}"}
    figures: dict[str, Any] = json.loads(answer.read_text())
    return figures


if __name__ == "__main__":
    sys.exit(main())
