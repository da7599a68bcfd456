"""A denoising step in several precisions and backends: ``python -m benchmarks.precisions``.

Builds what is missing, lets the steps take turns within one run, and sets beside each median how far the
whole video is from PyTorch's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.interleaved import median_milliseconds
from benchmarks.machine import CHECKOUT, machine, results_file
from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.engine import to_numpy
from emo_rt.errors import EmoError
from export.bundle import build
from export.graphs.modules import export_graphs
from export.sample import bundled_sample
from export.sources import Options, outdated, read_sources
from export.validate import compare_videos
from training.model.model import EmoModel

DEFAULT = ("onnxruntime:fp32", "onnxruntime:int8", "openvino:fp32", "openvino:int8")


def bundle_of(checkpoint: Path, row: str) -> Bundle:
    """The bundle of a row like ``openvino:int8``, built unless it is up to date; processors' backends share it."""
    backend, _, precision = row.partition(":")
    Options(precision, backend)  # refuses what there is not
    options = Options(precision, "tensorrt" if backend == "tensorrt" else "onnxruntime")
    sources = read_sources(checkpoint, options)
    directory = CHECKOUT / "out" / "benchmarks" / f"{checkpoint.name}-{precision}-{options.backend}"
    if outdated(directory, sources):
        directory.parent.mkdir(parents=True, exist_ok=True)
        build(checkpoint, directory, options, sources)
    return Bundle.load(directory, validated=False)


def measure(checkpoint: Path, rows: list[str], turns: int, threads: int | None) -> list[dict[str, float | str]]:
    """Each row's median milliseconds of a guided step, how often faster than the first row, and its video's PSNR."""
    model, name = EmoModel.load(checkpoint), "guided_backbone"
    scene = bundled_sample(model.config, 60)
    inputs = {key: tensor.numpy() for key, tensor in export_graphs(model)[name].inputs.items()}
    calls: list[Callable[[], object]] = []
    videos = []
    for row in rows:
        cascade = Cascade.load(bundle_of(checkpoint, row), row.partition(":")[0], threads)
        videos.append(compare_videos(model, cascade, scene))
        engine = cascade.engine(name)
        calls.append(lambda engine=engine: to_numpy(engine.run(inputs)["next_latents"]))  # type: ignore[misc]
    medians = median_milliseconds(calls, turns)
    return [
        {
            "row": row,
            "milliseconds": median,
            "speedup": round(medians[0] / median, 3),
            "psnr": video["psnr"],
        }
        for row, video, median in zip(rows, videos, medians, strict=True)
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precisions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", default=DEFAULT, help=f"BACKEND:PRECISION (default: {' '.join(DEFAULT)})")
    parser.add_argument("--model", type=Path, default=CHECKOUT / "models" / "emo-tiny", metavar="DIR")
    parser.add_argument("--turns", type=int, default=10, help="of each row, three steps each (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: one per core)")
    args = parser.parse_args(arguments)
    try:
        measured = measure(args.model, list(args.rows), args.turns, args.threads)
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
