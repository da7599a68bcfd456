"""A denoising step in several precisions and backends: ``python -m benchmarks.precisions``.

Builds what is missing, lets the steps take turns within one run, and sets beside each median how far the bundle's
whole video is from PyTorch's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from tqdm import tqdm

from benchmarks.machine import CHECKOUT, machine, results_file
from emo_rt.bundle import VALIDATION_NAME, Bundle
from emo_rt.cascade import BACKBONES
from emo_rt.engine import Engine, to_numpy
from emo_rt.engines import load_engine
from emo_rt.errors import EmoError
from export.bundle import build
from export.graphs import graphs
from export.plan import Options, outdated, read_sources
from training.model import EmoModel

DEFAULT = ("onnxruntime:fp32", "onnxruntime:int8", "openvino:fp32", "openvino:int8")


def bundle_of(checkpoint: Path, row: str) -> Bundle:
    """The bundle of a row like ``openvino:int8``, built and compared with PyTorch unless it is up to date."""
    backend, _, precision = row.partition(":")
    options = Options(precision, backend)
    sources = read_sources(checkpoint, options)
    directory = CHECKOUT / "out" / "benchmarks" / f"{checkpoint.name}-{precision}-{backend}"
    if outdated(directory, sources):
        directory.parent.mkdir(parents=True, exist_ok=True)
        build(checkpoint, directory, options, sources)
    return Bundle.load(directory, validated=False)


def measure(checkpoint: Path, rows: list[str], runs: int, threads: int | None) -> list[dict[str, float | str]]:
    """Each row's median milliseconds of a guided step, how often faster than the first row, and its video's PSNR."""
    bundles = [bundle_of(checkpoint, row) for row in rows]
    name = BACKBONES[1]
    engines: list[Engine] = [
        load_engine(bundle, name, row.partition(":")[0], threads) for bundle, row in zip(bundles, rows, strict=True)
    ]
    example = graphs(EmoModel.load(checkpoint))[name].inputs
    inputs = {key: tensor.numpy() for key, tensor in example.items()}
    seconds: list[list[float]] = [[] for _ in rows]
    for turn in tqdm(range(runs + 1), desc="timing", unit="turn"):
        for taken, engine in zip(seconds, engines, strict=True):
            started = time.perf_counter()
            to_numpy(engine.run(inputs)["next_latents"])
            if turn:  # the first is a warm-up
                taken.append(time.perf_counter() - started)
    medians = [1e3 * statistics.median(taken) for taken in seconds]
    return [
        {
            "row": row,
            "milliseconds": round(median, 2),
            "speedup": round(medians[0] / median, 3),
            "psnr": json.loads((bundle.directory / VALIDATION_NAME).read_text())["video"]["psnr"],
        }
        for row, bundle, median in zip(rows, bundles, medians, strict=True)
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precisions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", default=DEFAULT, help=f"BACKEND:PRECISION (default: {' '.join(DEFAULT)})")
    parser.add_argument("--model", type=Path, default=CHECKOUT / "models" / "emo-tiny", metavar="DIR")
    parser.add_argument("--runs", type=int, default=30, help="of each row (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: one per core)")
    args = parser.parse_args(arguments)
    try:
        measured = measure(args.model, list(args.rows), args.runs, args.threads)
    except (EmoError, FileNotFoundError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    for row in measured:
        print(f"{row['milliseconds']:>8} ms  {row['speedup']:>6} x  {row['psnr']:5.1f} dB  {row['row']}")
    path = results_file(f"precisions-{args.model.name}")
    path.write_text(json.dumps({"machine": machine(), "model": args.model.name, "rows": measured}, indent=1) + "\n")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
