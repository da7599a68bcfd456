"""Clips of generated speakers, with ground truth: `python -m training.corpus --out DIR` writes one for each seed.

Speakers are drawn heads or, with --portraits, photo puppets: photographs that talk, smile, blink and breathe, and are
silent at times. `python -m training.prepare portraits` makes such a folder of any pictures of faces.

Everything about a clip follows from its seed, and the face of a puppet from the folder too: another portrait in it
changes few clips. A tenth of the seeds is held out, with people, voices, languages and sentences of their own; so is a
tenth of the people in photographs, by identity. `--split held-out-family` takes held-out speakers too, with another
synthesizer's voices.

Six in ten of the training clips have an imperfect sound: noise, rooms, codecs and the like. The labels are those of
the voice alone.

A clip is one file, SEED.npz. With --compact it is a video that plays everywhere, SEED.mp4, and its labels beside it,
SEED.labels.npz: more than a hundred times smaller, and nearly the same. Training and evaluation read both.

Clips that are there already are kept, so the same command goes on where it was stopped. DIR/settings.json says what
the clips are; other settings need another folder.

examples:
  python -m training.corpus --out data/speakers --split train --clips 3000
  python -m training.corpus --out data/held-out --split held-out --clips 40 --seed 200000
  python -m training.corpus --out data/puppets --portraits data/portraits --split train --compact
  python -m training.corpus --out data/both --portraits data/portraits --puppet-share 0.8 --split train
  python -m training.corpus --sample assets
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.clips.workers import Workers, add_worker_options
from training.speakers.corpus import ALL_SPLITS, CorpusSettings, write_corpus
from training.speakers.sample import write_sample
from training.speakers.speech.voices import SPLITS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="DIR", help="folder for the clips")
    where.add_argument("--sample", type=Path, metavar="DIR", help="folder for the sample voice, and write only this")
    parser.add_argument("--clips", type=int, default=500, help="number of clips (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a clip (default: %(default)s)")
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="PIXELS", help="side of a frame (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: %(default)s)")
    parser.add_argument(
        "--split", choices=(ALL_SPLITS, *SPLITS), default=ALL_SPLITS, help="which speakers (default: %(default)s)"
    )
    parser.add_argument(
        "--portraits", type=Path, metavar="FOLDER", help="portraits of `training.prepare portraits`: photo puppets"
    )
    parser.add_argument(
        "--puppet-share",
        type=float,
        metavar="SHARE",
        help="share of the clips with puppets, others with drawn heads (default: 1 with --portraits)",
    )
    parser.add_argument(
        "--still-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the puppets whose heads keep still while their faces move (default: %(default)s)",
    )
    parser.add_argument("--compact", action="store_true", help="small clips: videos with labels beside them")
    parser.add_argument(
        "--augmented-share",
        type=float,
        metavar="SHARE",
        help="share of the clips with an imperfect sound (default: 0.6 of training and 0 of held-out clips)",
    )
    add_worker_options(parser, default=2)
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
            clips=args.clips,
            seconds=args.seconds,
            resolution=args.resolution,
            seed=args.seed,
            split=args.split,
            augmented_share=args.augmented_share,
            puppet_share=float(args.portraits is not None) if args.puppet_share is None else args.puppet_share,
            still_share=args.still_share,
            compact=args.compact,
        )
        write_corpus(folder, settings, args.portraits, Workers(args.workers, args.ray))
    except KeyboardInterrupt:
        print("corpus: stopped; the same command goes on", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"corpus: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
