"""Compare a bundle with the PyTorch model that it was made of.

Every graph is compared on the inputs that it gets while the bundled portrait speaks, and so is the decoded video; with
a reader of faces also the movement of the mouth. The result goes into the bundle's validation.json. A bundle below the
thresholds of its precision fails with exit code 1, and the runtime refuses it.

example:
  python -m export.validate models/emo-photo/bundle --frames 1500 --reader models/face-reader
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emo_rt.atomic import atomic_write
from emo_rt.bundle import VALIDATION_NAME, Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.registry import BACKENDS, check_runs_here
from emo_rt.errors import EmoError, InputError
from export.check_quantizers import check_quantizers
from export.compare import compare_graph, compare_videos
from export.recording import record_calls, use_own_deep_features
from export.sample import Sample, bundled_sample
from export.thresholds import BUNDLE_THRESHOLDS, unmet_thresholds
from training.evaluation.reader import FaceReader
from training.model.model import EmoModel


def validate(
    model: EmoModel,
    directory: Path,
    *,
    backend: str = "onnxruntime",
    sample: Sample | None = None,
    frames: int = 60,
    reader: FaceReader | None = None,
) -> dict[str, Any]:
    """Compare the bundle in `directory` with the float32 `model` that it was made of.

    Args:
        model: model in float32
        directory: directory of the bundle
        backend: backend that runs the bundle's graphs
        sample: portrait and voice to animate; the bundled ones for `frames` frames by default
        frames: number of frames of the bundled sample
        reader: reader of faces that compares the mouths, if any

    Returns:
        `precision` and `backend`; `graphs`, what `compare_graph` and `check_quantizers` found of each graph, by name;
        `video`, what `compare_videos` found; `failures`, the thresholds that are not met, in words.

    Raises:
        BundleError: if the bundle cannot be read.
        InputError: if the backend does not run here.
    """
    bundle = Bundle.load(directory, validated=False)
    sample = sample or bundled_sample(model.config, frames)
    cascade = Cascade.load(bundle, backend)
    recordings = record_calls(model, sample)
    use_own_deep_features(recordings, cascade)
    compared = {
        name: compare_graph(recorded, cascade.engine(name), bundle.graph_path(name))
        for name, recorded in tqdm(recordings.items(), desc="comparing graphs", leave=False)
    }
    for name, recorded in recordings.items():
        calls = [recorded.calls[index].inputs for index in recorded.compared]
        compared[name] |= check_quantizers(model, bundle.graph_path(name), calls)
    video = compare_videos(model, cascade, sample, reader)
    precision = bundle.manifest.precision
    return {
        "precision": precision,
        "backend": backend,
        "graphs": compared,
        "video": video,
        "failures": unmet_thresholds(BUNDLE_THRESHOLDS[precision], compared, video),
    }


def validation_report(validation: Mapping[str, Any]) -> str:
    """The result of `validate` as lines for people."""
    lines = [
        f"{name:>23}: max error {graph['max_error']:.1e} of the output's range, cosine {graph['cosine']:.7f}, "
        f"{graph['psnr']:.1f} dB"
        for name, graph in validation["graphs"].items()
    ]
    lines += [
        f"{name:>23}: {graph['quantizers']} quantizers see {graph['least_range']:.2f} to {graph['most_range']:.2f} of "
        f"their range, weights are off by {graph['weight_error']:.4f} at most"
        for name, graph in validation["graphs"].items()
        if "quantizers" in graph
    ]
    video = validation["video"]
    lines.append(
        f"{'whole video':>23}: {video['psnr']:.1f} dB against PyTorch, worst frame {video['worst_frame_psnr']:.1f} dB, "
        f"SSIM {video['ssim']:.4f} ({video['frames']} frames)"
    )
    if "mouth_correlation" in video:
        lines.append(f"{'mouth':>23}: opens as in PyTorch with a correlation of {video['mouth_correlation']:.4f}")
    lines += [f"FAILED {failure}" for failure in validation["failures"]]
    return "\n".join(lines)


def write_validation(directory: Path, validation: Mapping[str, Any]) -> None:
    """Write the result of `validate` into the bundle in `directory`, where the runtime looks for it."""
    with atomic_write(directory / VALIDATION_NAME) as file:
        file.write(f"{json.dumps(validation, indent=1)}\n".encode())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m export.validate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="directory of the bundle")
    add("--model", type=Path, metavar="DIR", help="its checkpoint (default: the folder around it)")
    add("--backend", choices=sorted(BACKENDS), default="onnxruntime", help="runs the bundle (default: %(default)s)")
    add("--frames", type=int, default=60, metavar="N", help="frames of the video, 25 a second (default: %(default)s)")
    add("--reader", type=Path, metavar="DIR", help="reader of faces to compare the mouths with, as models/face-reader")
    args = parser.parse_args(arguments)
    try:
        if args.frames < 1:
            raise InputError(f"--frames is {args.frames}; choose 1 or more")
        if not args.bundle.is_dir():
            raise InputError(f"bundle {args.bundle}: no such directory; build one with `python -m export.build`")
        check_runs_here(args.backend)
        model = EmoModel.load(args.model or args.bundle.resolve().parent)
        reader = FaceReader.load(args.reader) if args.reader else None
        validation = validate(model, args.bundle, backend=args.backend, frames=args.frames, reader=reader)
        write_validation(args.bundle, validation)
    except (EmoError, OSError, ValueError) as error:
        print(f"validate: error: {error}", file=sys.stderr)
        return 2
    print(validation_report(validation))
    return 1 if validation["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
