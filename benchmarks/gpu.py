"""Everything that this machine's GPU can show, in one command: ``python -m benchmarks.gpu``.

Builds the bundles, compares them with PyTorch and times them: the same cascade of graphs run by PyTorch, by ONNX
Runtime on CUDA and by TensorRT, for emo-tiny and for the paper's size with random weights. Each row has a process of
its own and is written as soon as it is there: a run that was stopped goes on with the next row. What a machine cannot
do becomes a row that says why.
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

from benchmarks.machine import CHECKOUT, machine, results_file
from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.registry import check_runs_here
from emo_rt.errors import EmoError
from export.bundle import build, convert, load
from export.graphs.modules import export_graphs
from export.manifest import noise_schedule, runtime_config
from export.sample import bundled_sample
from export.sources import Options, outdated, read_sources
from export.torch_engine import TorchEngine
from training.evaluation.metrics import psnr
from training.model.config import EmoConfig
from training.model.model import EmoModel

WORK = CHECKOUT / "out" / "benchmarks"


@dataclass(frozen=True)
class Row:
    """One way to run the cascade: ``backend`` is emo_rt's, or pytorch; one step in ``cache_interval`` is whole."""

    precision: str
    backend: str
    compiled: bool = False
    cache_interval: int = 1


ROWS = {
    "pytorch-fp32": Row("fp32", "pytorch"),
    "pytorch-fp16": Row("fp16", "pytorch"),
    "pytorch-fp16-compiled": Row("fp16", "pytorch", compiled=True),
    "onnxruntime-fp16": Row("fp16", "onnxruntime"),
    "tensorrt-fp16": Row("fp16", "tensorrt"),
    "tensorrt-fp16-cached": Row("fp16", "tensorrt", cache_interval=4),
    "tensorrt-int8": Row("int8", "tensorrt"),
    "tensorrt-fp8": Row("fp8", "tensorrt"),
}


def checkpoint(name: str) -> Path:
    """The bundled checkpoint, or one of a named size with random weights, in which no layer is silent."""
    bundled = CHECKOUT / "models" / name
    if bundled.exists():
        return bundled
    directory = WORK / name
    if not (directory / "model.safetensors").exists():  # written last
        torch.manual_seed(0)
        model = EmoModel(EmoConfig.from_name(name))
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.02)
        model.save(directory)
    return directory


def measure(model: str, row: Row, device: str, steps: tuple[int, int]) -> tuple[dict[str, Any], np.ndarray]:
    """One row's figures, and the frames of its shorter video."""
    directory = checkpoint(model)
    config = EmoConfig.load(directory / "config.json")
    scene = bundled_sample(config, 3 * config.clip_frames)
    started = time.perf_counter()
    cascade = _cascade(directory, config, row, device)

    def clips(count: int, steps: int) -> tuple[float, np.ndarray]:
        """Seconds of a clip after the first, the median of several, and the frames of all."""
        moments, frames = [], []
        for clip in cascade.generate(
            scene.portrait,
            scene.face_box,
            [scene.waveform],
            steps=steps,
            cache_interval=row.cache_interval,
            max_frames=count * config.clip_frames,
        ):
            moments.append(time.perf_counter())
            frames.append(clip)
        return float(statistics.median(np.diff(moments))), np.concatenate(frames)

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
    if row == ROWS["pytorch-fp16"]:
        with FlopCounterMode(display=False) as counter:
            clips(2, steps[0])
            counted = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            clips(2, steps[1])
        figures["step_tflop"] = (counter.get_total_flops() - counted) / (steps[1] - steps[0]) / 2 / 1e12
        figures["matmul_tflops"] = matmul_tflops(device)
    return figures, frames


def _cascade(directory: Path, config: EmoConfig, row: Row, device: str) -> Cascade:
    if row.backend == "pytorch":
        made = export_graphs(convert(load(directory, Options()), Options(row.precision)))
        engines = {name: TorchEngine(name, graph, device, row.compiled) for name, graph in made.items()}
        return Cascade(runtime_config(config), noise_schedule(config), engines.__getitem__)
    check_runs_here(row.backend)
    options = Options(row.precision, row.backend, calibration_clips=2)
    bundle = WORK / f"{directory.name}-{row.precision}-{row.backend}"
    sources = read_sources(directory, options)
    if outdated(bundle, sources):
        build(directory, bundle, options, sources, check=False)
    return Cascade.load(Bundle.load(bundle), row.backend)


def matmul_tflops(device: str, size: int = 8192) -> float:
    """What this device reaches in a large product of float16, the median of twenty, in 1e12 operations a second."""
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


def run_row(model: str, name: str, device: str, steps: tuple[int, int]) -> dict[str, Any]:
    """A row in this process; its frames are kept for the comparison."""
    if ROWS[name].backend == "onnxruntime" and device == "cuda":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return {"error": "this ONNX Runtime has no CUDA: pip install onnxruntime-gpu"}
    try:
        figures, frames = measure(model, ROWS[name], device, steps)
    except (EmoError, ImportError, RuntimeError) as error:
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    np.save(_frames_file(model, name), frames)
    return figures


def _frames_file(model: str, name: str) -> Path:
    return WORK / f"{model}-{name}.npy"


def table(result: Mapping[str, Any]) -> str:
    """The rows for people; PSNR is against PyTorch in float32."""
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
        counted = rows.get("pytorch-fp16", {})
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
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", nargs="+", default=["emo-tiny", "emo-sd15"], help="sizes (default: emo-tiny emo-sd15)")
    add(
        "--rows",
        nargs="+",
        choices=ROWS,
        default=list(ROWS),
        metavar="ROW",
        help=f"of {', '.join(ROWS)} (default: all)",
    )
    add("--steps", nargs=2, type=int, default=[8, 40], help="of the two videos that are timed (default: 8 40)")
    add("--minutes", type=float, default=10, help="no row begins after so many (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="PyTorch's (default: %(default)s)")
    add("--out", type=Path, help="the JSON file (default: benchmarks/results/gpu-DEVICE.json)")
    add("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    WORK.mkdir(parents=True, exist_ok=True)
    if args.one:
        figures = run_row(args.models[0], args.rows[0], args.device, tuple(args.steps))
        args.out.write_text(json.dumps(figures))
        return 0
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else "no GPU"
    path = args.out or results_file(f"gpu-{gpu.lower().replace(' ', '-')}")
    begin = {"machine": {**machine(), "gpu": gpu}, "steps": args.steps, "models": {}}
    result = json.loads(path.read_text()) if path.exists() else begin
    if (result["steps"], result["machine"]["gpu"]) != (args.steps, gpu):
        print(f"{path} is of another run: move it away, or give another --out", file=sys.stderr)
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
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    print(path)
    return 0


def _in_a_process(model: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
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
