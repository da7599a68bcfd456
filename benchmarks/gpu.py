"""Time everything that this machine's GPU can show, in one command.

Times the graphs of a clip, for the paper's size with random weights and for emo-photo, row by row: PyTorch in
float32 and in half precision, with one technique on top of the other, then ONNX Runtime on CUDA and TensorRT. Each row
says how far it is from PyTorch in float32. PyTorch's rows need torch, transformers and diffusers alone.

Rows run in processes of their own, and their figures are written at once. A row that fails or takes too long stops no
other, one that cannot run here says why, and a run that was stopped goes on with the next row.

example:
  python -m benchmarks.gpu --models emo-sd15 --rows pytorch-fp32 pytorch-bf16-compiled --minutes 4
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_rows.bundles import time_bundle
from benchmarks.gpu_rows.measure import device_rates
from benchmarks.gpu_rows.processes import RowProcesses, append_answer, is_done
from benchmarks.gpu_rows.pytorch import time_pytorch
from benchmarks.gpu_rows.table import clip_samplings, clip_seconds, gpu_table
from benchmarks.gpu_rows.variants import GPU_ROWS
from benchmarks.gpu_rows.weights import check_size
from benchmarks.machine import WORK, machine_facts, results_file, write_results
from emo_rt.errors import EmoError, reason

#: The name, among the rows, of what the device itself reaches.
_RATES = "rates"


def time_gpu_row(model: str, row: str, device: str, steps: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Time a row in this process.

    Args:
        model: folder in `models`, or name of a config
        row: one of `GPU_ROWS`, or `rates`
        device: PyTorch's device
        steps: numbers of DDIM steps of a short and of a long clip

    Yields:
        all figures so far, of `time_pytorch` or `time_bundle`, with `precision` and `clip_seconds`.
    """
    if row == _RATES:
        yield device_rates(device)
        return
    variant = GPU_ROWS[row]
    if variant.backend != "pytorch":
        frames = WORK / f"{model}-{device}-reference.npy"
        for figures in time_bundle(model, variant, device, steps, frames):
            yield {"precision": variant.precision, **figures}
        return
    for figures in time_pytorch(model, row, device, WORK / f"{model}-{device}-reference.pt"):
        seconds = clip_seconds(figures["milliseconds"], clip_samplings(*steps))
        yield {"precision": variant.precision, **figures, "clip_seconds": seconds}


def answer_rows(args: argparse.Namespace) -> int:
    """Time rows in this process, and append their figures to a file. Returns 1 as soon as one fails."""
    for row in args.rows:
        figures: dict[str, Any] = {}
        try:
            for figures in time_gpu_row(args.models[0], row, args.device, tuple(args.steps)):
                append_answer(args.answers, row, figures, finished=False)
        except (EmoError, ImportError, OSError, ValueError) as error:  # it cannot run here
            figures = {**figures, "error": reason(error)}
        except Exception as error:  # who knows what is left of the GPU's memory
            traceback.print_exc()
            append_answer(
                args.answers, row, {**figures, "error": f"{type(error).__name__}: {reason(error)}"[:500]}, finished=True
            )
            return 1
        append_answer(args.answers, row, figures, finished=True)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(arguments)
    if args.answers:
        return answer_rows(args)
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else "no GPU"
    path = args.out or results_file(f"gpu-{gpu.lower().replace(' ', '-')}")
    begin = {"machine": {**machine_facts(), "gpu": gpu}, "steps": args.steps, "models": {}}
    try:
        for model in args.models:
            check_size(model)
        result = json.loads(path.read_text()) if path.exists() else begin
        if (result["steps"], result["machine"]["gpu"]) != (args.steps, gpu):
            raise ValueError(f"{path} is of another run: move it away, or give another --out")
        WORK.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    deadline = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as scratch:
        for model in args.models:
            _time_model(model, result, path, deadline, args, Path(scratch) / "answers.jsonl")
    print(gpu_table(result))
    print(path)
    return 0


def _time_model(
    model: str, result: dict[str, Any], path: Path, deadline: float, args: argparse.Namespace, answers: Path
) -> None:
    """Time the rows of a model that are not done, and write the results at every figure."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--models", model, "--device", args.device]
    command += ["--steps", *map(str, args.steps), "--answers", str(answers), "--rows"]
    processes = RowProcesses(command, answers, 60 * args.row_minutes, deadline)
    rows = result["models"].setdefault(model, {})
    waiting = [] if is_done(result.get(_RATES)) else [_RATES]
    waiting += [row for row in args.rows if not is_done(rows.get(row))]
    for row, figures in processes.run(waiting):
        if row == _RATES:
            result[_RATES] = figures
        else:
            rows[row] = figures
        write_results(path, result)
        print(f"{time.monotonic() - deadline + 60 * args.minutes:5.0f} s  {model}  {row}  {_news(figures)}", flush=True)


def _news(figures: dict[str, Any]) -> str:
    """The figures of a row that is being timed, in one line."""
    shown = {name: figures[name] for name in ("error", "stopped", "left_out") if name in figures}
    times = {name: round(time, 2) for name, time in figures.get("milliseconds", {}).items()}
    return json.dumps(times | shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    models = "folders in models or names of configs (default: emo-sd15 emo-photo)"
    add("--models", nargs="+", default=["emo-sd15", "emo-photo"], metavar="MODEL", help=models)
    rows = f"rows to time in this order, of {', '.join(GPU_ROWS)} (default: all)"
    add("--rows", nargs="+", choices=[*GPU_ROWS, _RATES], default=list(GPU_ROWS), metavar="ROW", help=rows)
    steps = "DDIM steps of a short and of a long clip (default: 8 40)"
    add("--steps", nargs=2, type=int, default=[8, 40], metavar=("FEW", "MANY"), help=steps)
    add("--minutes", type=float, default=10, metavar="N", help="stop everything after N minutes (default: %(default)s)")
    add("--row-minutes", type=float, default=4, metavar="N", help="stop a row after N minutes (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="PyTorch's (default: %(default)s)")
    add("--out", type=Path, metavar="FILE", help="JSON file (default: benchmarks/results/gpu-DEVICE.json)")
    add("--answers", type=Path, help=argparse.SUPPRESS)  # the process that times the rows
    return parser


if __name__ == "__main__":
    sys.exit(main())
