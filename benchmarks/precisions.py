"""Time a denoising step of one model in several precisions and backends.

Builds the bundles that are missing and alternates their steps within one run. Beside each median stands the PSNR of the
whole video against PyTorch's.

example:
  python -m benchmarks.precisions onnxruntime:fp32 openvino:int8 --rounds 20
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import up_to_date_bundle
from benchmarks.interleaved import median_milliseconds
from benchmarks.machine import CHECKOUT, machine_facts, results_file, write_results
from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.engine import to_numpy
from emo_rt.errors import EmoError
from export.compare import compare_videos
from export.graphs.modules import export_graphs
from export.graphs.options import BuildOptions
from export.sample import bundled_sample
from training.model.model import EmoModel

DEFAULT_COMBINATIONS = ("onnxruntime:fp32", "onnxruntime:int8", "openvino:fp32", "openvino:int8")


def combination_bundle(checkpoint: Path, combination: str) -> Bundle:
    """The bundle of a combination like `openvino:int8`, built unless it is up to date; processors' backends share it.

    Raises:
        ValueError: if there is no such combination.
    """
    backend, _, precision = combination.partition(":")
    BuildOptions(precision, backend)  # refuses what there is not
    return up_to_date_bundle(
        checkpoint, BuildOptions(precision, "tensorrt" if backend == "tensorrt" else "onnxruntime")
    )


def time_combinations(
    checkpoint: Path, combinations: Sequence[str], rounds: int, threads: int | None
) -> list[dict[str, Any]]:
    """Time a guided step in each combination of backend and precision.

    Args:
        checkpoint: directory of the model
        combinations: combinations like `openvino:int8`
        rounds: number of rounds, three steps of each combination in each
        threads: number of CPU threads; None for one per core

    Returns:
        For each combination `row`, its name; `milliseconds` of a guided step, the median; `speedup` against the first
        combination; `psnr` of its video against PyTorch's, in dB.
    """
    model, name = EmoModel.load(checkpoint), "guided_backbone"
    sample = bundled_sample(model.config, 60)
    inputs = {key: tensor.numpy() for key, tensor in export_graphs(model)[name].inputs.items()}
    calls: list[Callable[[], object]] = []
    videos = []
    for combination in combinations:
        bundle = combination_bundle(checkpoint, combination)
        cascade = Cascade.load(bundle, combination.partition(":")[0], threads)
        videos.append(compare_videos(model, cascade, sample))
        engine = cascade.engine(name)
        calls.append(lambda engine=engine: to_numpy(engine.run(inputs)["next_latents"]))  # type: ignore[misc]
    medians = median_milliseconds(calls, rounds)
    return [
        {
            "row": combination,
            "milliseconds": median,
            "speedup": round(medians[0] / median, 3),
            "psnr": video["psnr"],
        }
        for combination, video, median in zip(combinations, videos, medians, strict=True)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precisions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    default = f"rows of the table (default: {' '.join(DEFAULT_COMBINATIONS)})"
    add("combinations", nargs="*", default=DEFAULT_COMBINATIONS, metavar="BACKEND:PRECISION", help=default)
    model = CHECKOUT / "models" / "emo-photo"
    add("--model", type=Path, default=model, metavar="DIR", help="checkpoint (default: models/emo-photo)")
    add("--rounds", type=int, default=10, metavar="N", help="three steps of each row in each (default: %(default)s)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: one per core)")
    args = parser.parse_args(arguments)
    try:
        rows = time_combinations(args.model, args.combinations, args.rounds, args.threads)
    except (EmoError, OSError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    for row in rows:
        print(f"{row['milliseconds']:>8} ms  {row['speedup']:>6} x  {row['psnr']:5.1f} dB  {row['row']}")
    path = results_file(f"precisions-{args.model.name}")
    write_results(path, {"machine": machine_facts(), "model": args.model.name, "rows": rows})
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
