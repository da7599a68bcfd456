"""Trains the face reader, and measures how well it reads people whom it has never seen.

``python -m training.train_reader --data data/speakers --out runs/reader --test data/held-out`` writes
``reader.safetensors`` and ``reader.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from training.clips.folder import load_clips
from training.evaluation.reader import RESOLUTION, FaceReader
from training.evaluation.reader_accuracy import reader_accuracy
from training.evaluation.reader_training import train_reader


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.train_reader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="clips to train on; without it, --out is only tested")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="reader.safetensors and reader.json")
    parser.add_argument("--test", type=Path, metavar="DIR", help="clips of other speakers to measure the accuracy on")
    parser.add_argument("--steps", type=int, default=1000, help="(default: 1000)")
    parser.add_argument("--batch-size", type=int, default=48, help="pictures, two of each person (default: 48)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="the highest one (default: 0.003)")
    parser.add_argument("--frames-per-clip", type=int, default=32, help="how many to train on (default: 32)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    args = parser.parse_args(arguments)
    if args.data is None and args.test is None:
        parser.error("--data or --test is required")
    if args.batch_size < 4 or args.frames_per_clip < 2:
        parser.error("identity needs two pictures or more of two people or more")
    torch.set_num_threads(args.threads)
    report_path = args.out / "reader.json"
    try:
        # A wrong directory shows before training, not after.
        test_clips = list(load_clips(args.test).values()) if args.test else []
        if args.data:
            recipe = {"steps": args.steps, "batch_size": args.batch_size, "learning_rate": args.learning_rate}
            recipe |= {"frames_per_clip": args.frames_per_clip, "seed": args.seed}
            started = time.monotonic()
            reader = train_reader(args.data, **recipe)
            recipe["seconds"] = round(time.monotonic() - started)
            reader.save(args.out)
            report = {"resolution": RESOLUTION, "data": args.data.name, "training": recipe}
        else:
            reader = FaceReader.load(args.out)
            report = json.loads(report_path.read_text()) if report_path.is_file() else {"resolution": RESOLUTION}
    except (FileNotFoundError, ValueError) as error:
        print(f"train_reader: error: {error}", file=sys.stderr)
        return 2
    if test_clips:
        report["test"] = {
            "data": args.test.name,
            "renders": reader_accuracy(reader, test_clips),
            "blurred_to_half": reader_accuracy(reader, test_clips, blur=2.0),
        }
        print(json.dumps(report["test"], indent=2))
    report_path.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
