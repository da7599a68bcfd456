"""Train the face reader, which measures generated videos, and test how well it reads people it has never seen.

  python -m training.train_reader --data data/speakers --data data/puppets --out runs/reader \\
      --test data/held-out --test data/held-out-puppets

writes OUT/reader.safetensors, and OUT/reader.json with the recipe and the accuracy. Clips come from
`python -m training.corpus`; those of --test must show other people than those of --data. Give one folder for each kind
of people. Without --data, the reader in --out is only tested. `python -m training.evaluate --reader OUT` takes a reader
whose tests were all good enough.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from emo_rt.atomic import atomic_write
from training.clips.folder import load_clips
from training.evaluation.reader import READER_RESOLUTION, FaceReader
from training.evaluation.reader_accuracy import reader_accuracy
from training.evaluation.reader_training import ReaderRecipe, train_reader


def _parser() -> argparse.ArgumentParser:
    recipe = ReaderRecipe()
    parser = argparse.ArgumentParser(
        prog="python -m training.train_reader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="clips to train on, may be given several times; without it, the reader in --out is only tested",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where reader.safetensors and reader.json go"
    )
    parser.add_argument(
        "--test",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="clips of other people, to measure the accuracy on; may be given several times",
    )
    parser.add_argument("--init", type=Path, metavar="DIR", help="reader to go on from (default: a new one)")
    parser.add_argument(
        "--steps", type=int, default=recipe.steps, metavar="N", help="optimizer steps (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=recipe.batch_size,
        metavar="N",
        help="pictures in a batch, four of each person (default: %(default)s)",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=recipe.learning_rate,
        metavar="RATE",
        help="highest learning rate (default: %(default)s)",
    )
    parser.add_argument(
        "--frames-per-clip",
        type=int,
        default=recipe.frames_per_clip,
        metavar="N",
        help="frames of each clip to train on (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=recipe.seed, metavar="N", help="seed of all that is random (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads (default: %(default)s)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if not args.data and not args.test:
        parser.error("--data or --test is required")
    if args.init and not args.data:
        parser.error("--init needs --data to go on with")
    if len({folder.name for folder in args.test}) < len(args.test):
        parser.error("folders of --test need different names: the report names them")
    torch.set_num_threads(args.threads)
    report_path = args.out / "reader.json"
    try:
        recipe = ReaderRecipe(args.steps, args.batch_size, args.learning_rate, args.frames_per_clip, args.seed)
        # A wrong directory is an error before training, not after.
        tests = {folder.name: list(load_clips(folder).values()) for folder in args.test}
        if args.data:
            started = time.monotonic()
            init = FaceReader.load(args.init) if args.init else None
            reader = train_reader(args.data, recipe, init)
            training = asdict(recipe) | {"seconds": round(time.monotonic() - started)}
            reader.save(args.out)
            report: dict[str, Any] = {
                "resolution": READER_RESOLUTION,
                "data": [folder.name for folder in args.data],
                "init": args.init and args.init.name,
                "training": training,
            }
        else:
            reader = FaceReader.load(args.out)
            report = json.loads(report_path.read_text()) if report_path.is_file() else {"resolution": READER_RESOLUTION}
    except (FileNotFoundError, ValueError) as error:
        print(f"train_reader: error: {error}", file=sys.stderr)
        return 2
    if tests:
        report["tests"] = {
            name: {
                "renders": asdict(reader_accuracy(reader, clips)),
                "blurred_to_half": asdict(reader_accuracy(reader, clips, blur=2.0)),
            }
            for name, clips in tests.items()
        }
        print(json.dumps(report["tests"], indent=2))
    with atomic_write(report_path) as file:
        file.write((json.dumps(report, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
