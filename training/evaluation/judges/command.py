"""What the commands of all judges have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from training.evaluation.judges.judged_clips import JudgedClips
from training.evaluation.judges.readings import IdentityReading, MeshReading, write_readings

Judge = Callable[[JudgedClips, argparse.Namespace], Mapping[str, MeshReading] | Mapping[str, IdentityReading]]


def judge_parser(name: str, description: str) -> argparse.ArgumentParser:
    """The parser of a judge's command, which takes a folder and a file.

    Args:
        name: name of the judge's module.
        description: what the command does.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m training.evaluation.judges.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", type=Path, metavar="CLIPS", help="folder of clips (.npz) or of videos (.mp4)")
    parser.add_argument("out", type=Path, metavar="OUT.json", help="file for the readings")
    return parser


def run_judge(parser: argparse.ArgumentParser, judge: Judge, arguments: list[str] | None) -> int:
    """Runs a judge's command; returns its exit code.

    Args:
        parser: what `judge_parser` gives, perhaps with more options.
        judge: reads the clips.
        arguments: the command's arguments; None takes those of the process.
    """
    args = parser.parse_args(arguments)
    try:
        if args.out.is_dir():
            raise ValueError(f"{args.out} is a folder: give a file for the readings")
        readings = judge(JudgedClips(args.clips), args)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_readings(args.out, readings)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:
        print(f"{parser.prog.rpartition('.')[2]}: error: {error}", file=sys.stderr)
        return 2
    return 0
