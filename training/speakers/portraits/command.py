"""Photographs that can talk, of portraits: `python -m training.prepare portraits DIR OUT` makes them.

Every picture in DIR and below is cropped to a square around the face. MediaPipe finds 478 landmarks of the face and the
mask of the person. OUT gets NAME.jpg, NAME.mask.png and NAME.npz of each; `python -m training.corpus` makes puppets of
them. This command needs mediapipe 0.10.21 in an environment of its own, see docs/training.md, and downloads nothing.

The pictures of one subfolder are one person, so give each person a folder. A picture right in DIR is a person of its
own. Who is held out from training is decided by person, never by picture.

What cannot talk is rejected: no face, several people, a face that is small, cut off or turned away, closed eyes, a wide
open mouth, a picture without colour. OUT/portraits.jsonl has a line for each picture, with the reason. Run the same
command again to go on where it was stopped; pictures that have changed are done again.

examples:
  python -m training.prepare portraits faces data/photographs
  python -m training.prepare portraits faces data/photographs --workers 4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.clips.workers import Workers, add_worker_options
from training.speakers.portraits.preparation import prepare_portraits


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare portraits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("portraits", type=Path, metavar="DIR", help="folder of portraits, also in folders below")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for photographs and portraits.jsonl")
    add_worker_options(parser, default=1)
    return parser


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit code."""
    args = _parser().parse_args(arguments)
    try:
        report = prepare_portraits(args.portraits, args.out, Workers(args.workers, args.ray))
    except KeyboardInterrupt:
        print("prepare: stopped; the same command goes on", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"prepare: error: {error}", file=sys.stderr)
        return 2
    print(report.table())
    return 0
