"""Starts from published weights: writes a checkpoint that the stages of training.train go on from.

Give local copies of what is published, in the layouts of their libraries: a directory with config.json and the weights.

============= ================================= =================================================================
option        goes into                         for example
============= ================================= =================================================================
--sd15        Backbone and ReferenceNet         stable-diffusion-v1-5, folder `unet`
--animatediff temporal modules of the Backbone  animatediff-motion-adapter-v1-5-2
--vae         VAE                               sd-vae-ft-mse
--wav2vec     audio encoder                     wav2vec2-base-960h
============= ================================= =================================================================

A table says what happened to the keys of each part. A part whose option you leave out keeps random weights.

example:
  python -m training.init --sd15 DIR --animatediff DIR --vae DIR --wav2vec DIR --out runs/start
  python -m training.train --stage image --init runs/start --data data/speakers --out runs/image
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from training.model.config import EmoConfig, config_names
from training.model.model import EmoModel
from training.stages.published import PUBLISHED, key_table, load_published


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.init", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, source in PUBLISHED.items():
        parser.add_argument(f"--{option}", type=Path, metavar="DIR", help=source.what)
    parser.add_argument(
        "--config",
        choices=config_names(),
        default="emo-sd15",
        help="size of the model, which the directories must fit (default: emo-sd15)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint to write, in float16")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights that stay random (default: 0)")
    parser.add_argument("--verbose", action="store_true", help="print what happened to every single key")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    directories = {option: getattr(args, option) for option in PUBLISHED if getattr(args, option)}
    if not directories:
        parser.error(f"give at least one of {', '.join(f'--{option}' for option in PUBLISHED)}")
    torch.manual_seed(args.seed)
    try:
        model = EmoModel(EmoConfig.from_name(args.config))
        report = load_published(model, directories)
        model.save(args.out)
    except (OSError, ValueError) as error:
        print(f"training: error: {error}", file=sys.stderr)
        return 2
    print(key_table(report, args.verbose))
    print(f"checkpoint: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
