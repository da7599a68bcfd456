"""Trains one stage, from a checkpoint to a checkpoint.

Three stages are the paper's (section 3.3). Three more train the networks that the paper takes ready-made:

======= ===================================================== =========================================
stage   what it learns                                        what trains
======= ===================================================== =========================================
vae     pictures to latents and back                          the VAE
decoder latents to pictures, for latents that stay as they    the VAE's decoder
        are (optional)
audio   what a voice says, and what the mouth does            the wav2vec 2.0 encoder, its projection
image   a frame from another frame of the same clip           Backbone (without temporal and audio
                                                              layers), ReferenceNet, Face Locator
video   n + f contiguous frames from the voice                the same, temporal modules, audio layers
speed   how fast the head turns                               temporal modules and speed layers only
======= ===================================================== =========================================

Each stage starts from the checkpoint of the one before it:

  python -m training.corpus --out data/speakers --clips 500 --split train
  python -m training.train --stage vae   --data data/speakers --out runs/vae
  python -m training.train --stage audio --data data/speakers --out runs/audio --init runs/vae
  python -m training.train --stage image --data data/speakers --out runs/image --init runs/audio
  python -m training.train --stage video --data data/speakers --out runs/video --init runs/image
  python -m training.train --stage speed --data data/speakers --out runs/speed --init runs/video

The configs in `training/configs/*.toml` hold the size of the model and, for each stage, how long and how fast it trains
and on which samples. You can give a config of your own with --config. Give the same command again to resume a run that
was stopped: it goes on from the last checkpoint. `tensorboard --logdir runs` shows losses and pictures.

All stages can also share a number of minutes, as the config's `share` divides them; on a GPU:

  python -m training.train --minutes 8 --config emo-photo --data data/puppets --out runs \\
    --views 2 --mixed-precision bf16 --cuda-graph

--mixed-precision bf16 is faster on GPUs, and on processors that multiply in bfloat16. --gradient-checkpointing saves
memory. For several GPUs: `accelerate launch --num_processes 2 -m training.train ...`. Each process adds a batch to
every step, so two processes train like one with --accumulate 2.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from training.model.config import EmoConfig, config_names
from training.model.model import EmoModel
from training.stages.all_stages import train_all_stages
from training.stages.config_check import check_builds, check_checkpoint_builds, read_checked_config
from training.stages.recipe import Recipe, timed_stages
from training.stages.stage import STAGES
from training.stages.trainer import Trainer, TrainingOptions


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=STAGES, help="the stage to train; with --minutes, all stages without it")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="clips of training.corpus or training.prepare"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="checkpoint to write, or to resume from if it is there"
    )
    parser.add_argument("--init", type=Path, metavar="DIR", help="checkpoint to start from (default: random weights)")
    parser.add_argument(
        "--config",
        metavar="NAME",
        help=f"{', '.join(config_names())} or a .toml file: how stages train and, without --init, the model "
        "(default: emo-photo; with --init the checkpoint's)",
    )
    parser.add_argument(
        "--held-out",
        type=Path,
        metavar="DIR",
        help="clips that do not train; their loss is logged at each checkpoint",
    )
    parser.add_argument(
        "--views",
        type=int,
        default=1,
        metavar="N",
        help="train on N views of each clip: as it is, and mirrored, nearer and in another light (default: 1)",
    )
    _add_length(parser)
    parser.add_argument("--batch-size", type=int, help="number of samples in a batch (default: the config's)")
    parser.add_argument("--learning-rate", type=float, help="highest learning rate (default: the config's)")
    parser.add_argument(
        "--accumulate", type=int, metavar="BATCHES", help="number of batches per step (default: the config's)"
    )
    parser.add_argument(
        "--mixed-precision", choices=("no", "bf16"), default="no", help="bf16 for hardware that has it (default: no)"
    )
    parser.add_argument(
        "--gradient-checkpointing", action="store_true", help="compute activations twice instead of keeping them"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of samples, noise and initial weights (default: 0)")
    parser.add_argument(
        "--save-every", type=int, default=250, metavar="STEPS", help="steps between checkpoints (default: 250)"
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where to compute (default: %(default)s)",
    )
    parser.add_argument(
        "--cuda-graph", action="store_true", help="replay captured steps, which keeps a fast GPU busy; one GPU only"
    )
    parser.add_argument("--threads", type=int, help="number of CPU threads (default: PyTorch's choice)")
    return parser


def _add_length(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how long to train."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help="number of optimizer steps (default: the config's)")
    length.add_argument(
        "--minutes",
        type=float,
        help="time to train; without --stage for all stages, reading and saving included. Such a run does not resume",
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    started = time.monotonic()
    parser = _parser()
    args = parser.parse_args(arguments)
    _check(parser, args)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    options = TrainingOptions(
        data=args.data,
        out=args.out,
        held_out=args.held_out,
        seed=args.seed,
        save_every=args.save_every,
        device=args.device,
        mixed_precision=args.mixed_precision,
        gradient_checkpointing=args.gradient_checkpointing,
        cuda_graph=args.cuda_graph,
        views=args.views,
        minutes=args.minutes,
    )
    try:
        model = _model(args)
        config = args.config or model.config.name
        if args.stage:
            Trainer(model, args.stage, _recipe(config, args.stage, args), options).run()
        else:
            recipes = {stage: _recipe(config, stage, args) for stage in timed_stages(config)}
            path = train_all_stages(model, recipes, options, args.minutes, started)
            print(f"training: the checkpoint is {path}", file=sys.stderr)
    except (OSError, ValueError) as error:
        print(f"training: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "" if args.minutes else f"; the same command goes on from the last step saved in {args.out}"
        print(f"training: stopped{kept}", file=sys.stderr)
        return 130
    return 0


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the command where options contradict each other."""
    if not (args.stage or args.minutes):
        parser.error("give --stage, or --minutes to train all stages")
    if args.minutes is not None and args.minutes <= 0:
        parser.error(f"--minutes must be more than 0, not {args.minutes:g}")
    if args.views < 1:
        parser.error(f"--views must be 1 or more, not {args.views}")
    if args.cuda_graph and (args.device != "cuda" or args.gradient_checkpointing):
        parser.error("--cuda-graph needs --device cuda, and no --gradient-checkpointing")


def _model(args: argparse.Namespace) -> EmoModel:
    """The model to start from."""
    if args.init:
        check_checkpoint_builds(args.init)
        return EmoModel.load(args.init)
    path, _ = read_checked_config(args.config or "emo-photo")
    config = EmoConfig.from_name(args.config or "emo-photo")
    check_builds(config, path)
    return EmoModel(config)


def _recipe(config: str, stage: str, args: argparse.Namespace) -> Recipe:
    """The recipe of a stage, with what the command line says."""
    chosen = {name: getattr(args, name) for name in ("steps", "batch_size", "learning_rate", "accumulate")}
    return replace(Recipe.load(config, stage), **{name: value for name, value in chosen.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main())
