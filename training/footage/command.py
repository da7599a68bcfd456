"""Clips of talking-head videos, for training: `python -m training.prepare VIDEO_DIR OUT_DIR` makes them.

Every video is read at 25 Hz with its sound at 16 kHz, and cut where the scene changes. Each shot is cropped to a square
around the face, at the scale of a portrait at run time. The crop is the same for the whole shot, so the head moves in
it. Shots become clips of a few seconds, in OUT_DIR/train and OUT_DIR/held-out, for `python -m training.train --data`.

Who is held out is decided by identity, never by clip: by the name of the folder that a video is in (put each person's
videos into one), or else by its file name without numbers at the end (anna_2.mp4 is anna). The names of HDTF's and
VFHQ's videos are understood. The same people are held out each time.

What a clip is good for depends on what is known of it:

  image stage  every clip, also those of videos without sound
  video stage  clips with sound
  speed stage  clips with sound and head rotation: --landmarker, or --reader for speakers like those it was trained on
  audio stage  none: footage has no phonemes; take it from a checkpoint, or train it on `python -m training.corpus`

OUT_DIR/report.jsonl has a line for every finished video: what was kept, and why the rest was not. Run the same command
again to go on with what is missing; delete a video's line to do that video again.

examples:
  python -m training.prepare footage data/footage --landmarker face_landmarker.task
  python -m training.prepare hdtf-videos data/hdtf --annotations HDTF/HDTF_dataset --landmarker face_landmarker.task
  python -m training.train --stage video --data data/footage/train --init runs/image --out runs/video

Portraits become photographs that can talk with another command: see `python -m training.prepare portraits --help`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.clips.workers import Workers, add_worker_options
from training.footage.annotations import read_annotations
from training.footage.preparation import prepare
from training.footage.settings import PreparationSettings
from training.footage.videos import find_videos


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, metavar="VIDEO_DIR", help="folder of videos, also in folders below")
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="folder for train/, held-out/ and report.jsonl")
    parser.add_argument(
        "--landmarker",
        type=Path,
        metavar="FILE",
        help="MediaPipe's face_landmarker.task: exact mouths, and head rotation",
    )
    parser.add_argument(
        "--reader",
        type=Path,
        metavar="DIR",
        help="reader of training.train_reader: head rotation, for speakers like its own",
    )
    parser.add_argument(
        "--annotations", type=Path, metavar="DIR", help="HDTF's or VFHQ's text files: use their shots and crops only"
    )
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="PIXELS", help="side of a frame (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a clip (default: %(default)s)")
    parser.add_argument(
        "--held-out",
        type=float,
        default=10.0,
        metavar="PERCENT",
        help="share of the identities that is held out (default: %(default)s)",
    )
    parser.add_argument(
        "--min-face",
        type=float,
        metavar="PIXELS",
        help="width of the narrowest face in a video (default: a quarter of --resolution)",
    )
    parser.add_argument(
        "--detect-every",
        type=int,
        default=1,
        metavar="FRAMES",
        help="number of frames of which one is searched for faces (default: %(default)s)",
    )
    add_worker_options(parser, default=1)
    return parser


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = _parser().parse_args(arguments)
    try:
        settings = PreparationSettings(
            resolution=args.resolution,
            seconds=args.seconds,
            held_out=args.held_out,
            min_face=args.resolution / 4 if args.min_face is None else args.min_face,
            detect_every=args.detect_every,
            landmarker=_text(args.landmarker),
            reader=_text(args.reader),
            annotations=_text(args.annotations),
        )
        annotations = read_annotations(args.annotations) if args.annotations else None
        report = prepare(find_videos(args.videos, annotations), args.out, settings, Workers(args.workers, args.ray))
    except KeyboardInterrupt:
        print("prepare: stopped; the same command goes on", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"prepare: error: {error}", file=sys.stderr)
        return 2
    print(report.table())
    return 0
