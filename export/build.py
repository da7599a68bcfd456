"""A checkpoint to a bundle that the runtime loads: ``python -m export.build --model DIR --precision fp16``.

Exports the graphs to ONNX, compares each with PyTorch, and then a whole video. Only what changed since the last build
is made again; a build that was killed goes on where it stopped; a bundle appears whole or not at all.

example:
  python -m export.build --model runs/speed --precision int8 --backend openvino --out runs/speed/bundle-int8
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_rt.bundle import GRAPH_NAMES, VALIDATION_NAME
from emo_rt.engines.registry import BACKENDS
from emo_rt.errors import EmoError, InputError
from export.sources import PRECISIONS_OF, WEIGHTS, Options, Sources, outdated, read_record, read_sources

MODELS = Path(__file__).parents[1] / "models"


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        options = Options(args.precision, args.backend, args.frames, args.resolution, args.calibration_clips)
        return _build(args, options)
    except (EmoError, FileNotFoundError, ValueError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"export: error: {error.filename or 'writing the bundle'}: {error.strerror}", file=sys.stderr)
        return 2


def _build(args: argparse.Namespace, options: Options) -> int:
    default = "bundle" if options == Options() else f"bundle-{options.precision}-{options.backend}"
    directory: Path = args.out or args.model / default
    sources = read_sources(args.model, options)
    reasons = dict.fromkeys(GRAPH_NAMES, "--force") if args.force else outdated(directory, sources)
    finish = _unfinished(directory, sources)
    print(f"{directory}: {options.precision} for {options.backend}")
    for name in GRAPH_NAMES:
        print(f"{name:>23}: {'build: ' + reasons[name] if name in reasons else 'up to date'}")
    if finish and not reasons:
        print(f"{'manifest':>23}: {finish}")
    if args.dry_run or not (reasons or finish):
        return 0
    _check_space(args.model, directory)

    from export.bundle import build, recover  # PyTorch takes seconds to load: only a build with work to do needs it
    from export.validate import validation_report

    recover(directory)
    validation, seconds = build(args.model, directory, options, sources, force=args.force)
    print(_table(directory, validation, seconds))
    print(validation_report(validation))
    if options.backend == "tensorrt":
        _build_engines(directory)
    print(f"bundle: {directory}")
    return 1 if validation["failures"] else 0


def _unfinished(directory: Path, sources: Sources) -> str | None:
    """What is to do beside graphs."""
    if not (directory / VALIDATION_NAME).exists():
        return "to be compared with PyTorch"
    known = read_record(directory)["runtime"]
    changed = [key for key in sources.runtime if known.get(key) != sources.runtime[key]]
    return f"{', '.join(changed)} changed" if changed else None


def _check_space(model: Path, directory: Path) -> None:
    """Raises InputError if the disk cannot hold what a build writes: the graphs, and once more while it stores them."""
    needed = 3 * sum((model / file).stat().st_size for file in WEIGHTS)
    parent = next(path for path in (directory, *directory.resolve().parents) if path.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise InputError(f"{parent}: {free / 1e9:.1f} GB are free, the build needs {needed / 1e9:.1f}; make room")


def _build_engines(directory: Path) -> None:
    """Build what TensorRT makes of the graphs, for the GPU of this machine, if there is one."""
    from emo_rt.bundle import Bundle
    from emo_rt.engines.registry import load_engine

    bundle = Bundle.load(directory, validated=False)
    try:
        for name in GRAPH_NAMES:
            load_engine(bundle, name, "tensorrt")
    except InputError as error:
        print(f"no engines yet: {error}; the runtime builds them where it can")


def _table(directory: Path, validation: Mapping[str, Any], seconds: Mapping[str, float]) -> str:
    """What was built, a line for each graph."""
    import onnx

    lines = [f"{'graph':>23} {'MB':>8} {'seconds':>8} {'nodes':>6} {'Q':>5} {'DQ':>5} {'max error':>10}  most frequent"]
    record = read_record(directory)["graphs"]
    counted: set[str] = set()
    for name in GRAPH_NAMES:
        files = [file for file in record[name]["files"] if file not in counted]
        counted |= set(files)
        size = sum((directory / file).stat().st_size for file in files) / 1e6
        nodes = Counter(
            node.op_type for node in onnx.load(directory / f"{name}.onnx", load_external_data=False).graph.node
        )
        took = f"{seconds[name]:.1f}" if name in seconds else "kept"
        frequent = ", ".join(f"{count} {kind}" for kind, count in nodes.most_common(3))
        lines.append(
            f"{name:>23} {size:8.1f} {took:>8} {nodes.total():6} {nodes['QuantizeLinear']:5} "
            f"{nodes['DequantizeLinear']:5} {validation['graphs'][name]['max_error']:10.1e}  {frequent}"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.build", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument_group("what").add_argument
    add("--model", type=Path, default=MODELS / "emo-tiny", metavar="DIR", help="checkpoint (default: models/emo-tiny)")
    add(
        "--precision",
        choices=sorted({precision for known in PRECISIONS_OF.values() for precision in known}),
        default="fp32",
        help="of the graphs: fp32 and int8 for processors, fp16, bf16, int8 and fp8 for GPUs (default: %(default)s)",
    )
    add("--backend", choices=sorted(BACKENDS), default="onnxruntime", help="what will run them (default: %(default)s)")
    add("--frames", type=int, metavar="F", help="frames of a clip (default: the checkpoint's)")
    add("--resolution", type=int, metavar="PIXELS", help="of the video, square (default: the checkpoint's)")
    add(
        "--calibration-clips",
        type=int,
        default=Options.calibration_clips,
        metavar="N",
        help="generated speakers that the ranges of 8 bits are taken from (default: %(default)s)",
    )
    add = parser.add_argument_group("how").add_argument
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="the bundle (default: in the checkpoint, bundle for fp32, else bundle-PRECISION-BACKEND)",
    )
    add("--dry-run", action="store_true", help="say what would be built, and why, and stop")
    add("--force", action="store_true", help="build everything again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
