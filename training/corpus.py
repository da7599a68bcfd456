"""Clips of generated speakers, with ground truth: `python -m training.corpus --out DIR` writes one for each seed.

Everything about a clip follows from its seed. A tenth of the seeds is held out, with portraits, voices, languages and
sentences of their own. `--split held-out-family` takes held-out speakers too, with another synthesizer's voices.

Six in ten of the training clips have an imperfect sound: noise, rooms, codecs and the like. The labels are those of
the voice alone.

Clips that are there already are kept, so the same command goes on where it was stopped.

examples:
  python -m training.corpus --out data/speakers --split train --clips 3000
  python -m training.corpus --out data/held-out --split held-out --clips 40 --seed 200000
  python -m training.corpus --sample assets
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.speakers.corpus import ALL_SPLITS, CorpusSettings, write_corpus
from training.speakers.sample import write_sample
from training.speakers.speech.voices import SPLITS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="DIR", help="folder for the clips")
    where.add_argument(
        "--sample", type=Path, metavar="DIR", help="folder for the sample portrait and voice, and write only these"
    )
    parser.add_argument("--clips", type=int, default=500, help="number of clips (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a clip (default: %(default)s)")
    parser.add_argument(
        "--resolution", type=int, default=128, metavar="PIXELS", help="side of a frame (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: %(default)s)")
    parser.add_argument(
        "--split", choices=(ALL_SPLITS, *SPLITS), default=ALL_SPLITS, help="which speakers (default: %(default)s)"
    )
    parser.add_argument(
        "--augmented-share",
        type=float,
        metavar="SHARE",
        help="share of the clips with an imperfect sound (default: 0.6 of training and 0 of held-out clips)",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = _parser().parse_args(arguments)
    folder = args.sample or args.out
    try:
        if folder.is_file():
            raise NotADirectoryError(f"{folder} is a file; give a folder")
        if args.sample:
            write_sample(folder)
            return 0
        settings = CorpusSettings(
            args.clips, args.seconds, args.resolution, args.seed, args.split, args.augmented_share
        )
        write_corpus(folder, settings, args.workers)
    except KeyboardInterrupt:
        print("corpus: stopped; the same command goes on", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"corpus: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
