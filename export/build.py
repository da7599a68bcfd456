"""Build the bundle that the runtime loads from a checkpoint.

The build exports the graphs to ONNX and compares each of them, and then a whole video, with PyTorch. It makes only
those graphs again that changed since the last build; a build that was killed goes on where it stopped. A bundle appears
whole or not at all. The exit code is 1 if the bundle falls below the thresholds of its precision.

examples:
  python -m export.build                                 renew models/emo-photo/bundle, for any processor
  python -m export.build --dry-run                       say what that would build, and why
  python -m export.build --model runs/speed --precision int8 --backend openvino --out runs/speed/bundle-int8
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from emo_rt.bundle import GRAPH_NAMES, VALIDATION_NAME
from emo_rt.engines.registry import BACKENDS, check_runs_here
from emo_rt.errors import EmoError, InputError
from export.graphs.options import BACKEND_PRECISIONS, BuildOptions
from export.sources import WEIGHT_FILES, BuildSources, outdated_graphs, read_record, read_sources
from training.stages.config_check import check_checkpoint, check_checkpoint_builds

_DEFAULT_CHECKPOINT = Path(__file__).parents[1] / "models" / "emo-photo"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        options = BuildOptions(args.precision, args.backend, args.frames, args.resolution, args.calibration_clips)
        return _build(args, options)
    except (EmoError, FileNotFoundError, ValueError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"export: error: {error.filename or 'writing the bundle'}: {error.strerror}", file=sys.stderr)
        return 2


def _build(args: argparse.Namespace, options: BuildOptions) -> int:
    default = "bundle" if options == BuildOptions() else f"bundle-{options.precision}-{options.backend}"
    directory: Path = args.out or args.model / default
    check_checkpoint(args.model)
    sources = read_sources(args.model, options)
    reasons = dict.fromkeys(GRAPH_NAMES, "--force") if args.force else outdated_graphs(directory, sources)
    unfinished = _unfinished(directory, sources)
    print(f"{directory}: {options.precision} for {options.backend}")
    for name in GRAPH_NAMES:
        print(f"{name:>23}: {'build: ' + reasons[name] if name in reasons else 'up to date'}")
    if unfinished and not reasons:
        print(f"{'manifest':>23}: {unfinished}")
    if args.dry_run or not (reasons or unfinished):
        return 0
    _check_space(args.model, directory)
    if options.precision == "bf16":
        _check_bfloat16()
    with _alone(directory):
        return _renew(args, options, directory, sources)


def _renew(args: argparse.Namespace, options: BuildOptions, directory: Path, sources: BuildSources) -> int:
    """Build what is to do, and print the result."""
    # PyTorch takes seconds to load, and only a build with work to do needs it.
    from export.bundle import build_bundle, recover_bundle
    from export.validate import validation_report

    check_checkpoint_builds(args.model, **options.config_changes)
    recover_bundle(directory)
    validation, seconds = build_bundle(args.model, directory, options, sources, force=args.force)
    print(_graph_table(directory, validation, seconds))
    print(validation_report(validation))
    if options.backend == "tensorrt":
        _build_engines(directory)
    print(f"bundle: {directory}")
    return 1 if validation["failures"] else 0


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Runs the block while no other build writes the bundle in `directory`.

    Raises:
        InputError: if another one does.
    """
    path = directory.with_name(directory.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(f"{directory}: another build is writing it; wait for that, or give another --out") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps a file that is open
            path.unlink()
        lock.release()


def _check_bfloat16() -> None:
    """Raises InputError if no backend here runs bfloat16, without which a bundle cannot be compared with PyTorch."""
    try:
        check_runs_here("tensorrt")
    except InputError as error:
        raise InputError(
            f"--precision bf16 is compared with PyTorch on a GPU, and none is usable here ({error}); build it where "
            "one is, or build fp16"
        ) from None


def _unfinished(directory: Path, sources: BuildSources) -> str | None:
    """What a build has to do beside the graphs, in words; None for nothing."""
    if not (directory / VALIDATION_NAME).exists():
        return "to be compared with PyTorch"
    known = read_record(directory)["runtime"]
    changed = [key for key in sources.runtime if known.get(key) != sources.runtime[key]]
    return f"{', '.join(changed)} changed" if changed else None


def _check_space(model: Path, directory: Path) -> None:
    """Raises InputError if the disk cannot hold the graphs, which a build writes twice while it stores them."""
    needed = 3 * sum((model / file).stat().st_size for file in WEIGHT_FILES)
    parent = next(path for path in (directory, *directory.resolve().parents) if path.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise InputError(f"{parent}: {free / 1e9:.1f} GB are free, the build needs {needed / 1e9:.1f}; make room")


def _build_engines(directory: Path) -> None:
    """Compile the graphs with TensorRT for the GPU of this machine, if there is one."""
    from emo_rt.bundle import Bundle
    from emo_rt.engines.registry import load_engine

    bundle = Bundle.load(directory, validated=False)
    try:
        for name in GRAPH_NAMES:
            load_engine(bundle, name, "tensorrt")
    except InputError as error:
        print(f"no engines yet: {error}; the runtime builds them where it can")


def _graph_table(directory: Path, validation: Mapping[str, Any], seconds: Mapping[str, float]) -> str:
    """The graphs of a bundle, a line for each."""
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


def _backend(name: str) -> str:
    """The backend of an option; one that runs the bundles of another is refused with that one's name."""
    if name in BACKENDS and name not in BACKEND_PRECISIONS:
        own = next(known for known in BACKEND_PRECISIONS if name.startswith(known))
        raise argparse.ArgumentTypeError(f"{name} runs the bundles that are built for {own}; give {own}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.build", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    precisions = sorted({precision for known in BACKEND_PRECISIONS.values() for precision in known})
    add = parser.add_argument_group("what to build").add_argument
    add("--model", type=Path, default=_DEFAULT_CHECKPOINT, metavar="DIR", help="checkpoint (default: models/emo-photo)")
    precision = "precision of the graphs: fp32 or int8 for processors; fp16, bf16, int8 or fp8 for GPUs"
    add("--precision", choices=precisions, default="fp32", help=f"{precision} (default: %(default)s)")
    backend = "backend that will run the graphs (default: %(default)s)"
    add("--backend", type=_backend, choices=sorted(BACKEND_PRECISIONS), default="onnxruntime", help=backend)
    add("--frames", type=int, metavar="F", help="frames of a clip (default: the checkpoint's)")
    add("--resolution", type=int, metavar="PIXELS", help="side of the square video (default: the checkpoint's)")
    clips = "number of generated people that int8 and fp8 take their ranges from (default: %(default)s)"
    add("--calibration-clips", type=int, default=BuildOptions.calibration_clips, metavar="N", help=clips)
    add = parser.add_argument_group("how to build it").add_argument
    out = "directory of the bundle (default: in the checkpoint, bundle for fp32, else bundle-PRECISION-BACKEND)"
    add("--out", type=Path, metavar="DIR", help=out)
    add("--dry-run", action="store_true", help="say what would be built, and why, and stop")
    add("--force", action="store_true", help="build everything again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
