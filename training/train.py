"""Train one stage: ``python -m training.train --stage video --init runs/image --data data/speakers --out runs/video``.

The paper's three stages (section 3.3), and those of the two networks that it takes ready-made:

======  ============================================================  ====================================
stage   what it learns                                                what trains
======  ============================================================  ====================================
vae     pictures to latents and back                                  the VAE
decoder latents to pictures; the latents stay as they are             the VAE's decoder
audio   the phonemes of the voice                                     the wav2vec 2.0 encoder
image   one frame from another of the same clip                       Backbone (no time, no voice),
                                                                      ReferenceNet, Face Locator
video   n + f contiguous frames from the voice                        the same, temporal modules, audio layers
speed   head rotation speed                                           temporal modules and speed layers only
======  ============================================================  ====================================

How long, how fast and on what a stage trains is in ``training/configs/*.toml``, with the shape of the model; a file of
your own goes to ``--config``. A killed run goes on where it was last saved when the same command is given again.
``tensorboard --logdir runs`` shows losses and pictures.

``--mixed-precision bf16`` is faster on GPUs, and on processors that multiply in bfloat16. Several processes or GPUs:
``accelerate launch --num_processes 2 -m training.train ...``; each adds a batch to a step: two train as one does with
``--accumulate 2``. Where memory is short: ``--gradient-checkpointing``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from training.model.config import EmoConfig, config_names
from training.model.model import EmoModel
from training.stages.recipe import STAGES, Recipe
from training.stages.trainer import Trainer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--init", type=Path, metavar="DIR", help="checkpoint to start from (default: random weights)")
    parser.add_argument(
        "--config",
        metavar="NAME",
        help=f"{', '.join(config_names())} or a .toml file: recipes and, without --init, the model "
        "(default: emo-tiny; with --init the checkpoint's)",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="clips of training.corpus or training.prepare"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint; resumes what is there")
    parser.add_argument("--held-out", type=Path, metavar="DIR", help="clips that only measure: their loss is logged")
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the config's)")
    parser.add_argument("--batch-size", type=int, help="samples per step (default: the config's)")
    parser.add_argument("--learning-rate", type=float, help="(default: the config's)")
    parser.add_argument("--accumulate", type=int, metavar="BATCHES", help="per step (default: the config's)")
    parser.add_argument(
        "--mixed-precision", choices=("no", "bf16"), default="no", help="bf16 for hardware that has it (default: no)"
    )
    parser.add_argument(
        "--gradient-checkpointing", action="store_true", help="compute activations twice instead of keeping them"
    )
    parser.add_argument("--seed", type=int, default=0, help="of data, noise and initial weights (default: 0)")
    parser.add_argument("--save-every", type=int, default=250, metavar="STEPS", help="(default: 250)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    try:
        config = args.config or "emo-tiny"
        model = EmoModel.load(args.init) if args.init else EmoModel(EmoConfig.from_name(config))
        recipe = Recipe.load(args.config or model.config.name, args.stage)
        chosen = {name: getattr(args, name) for name in ("steps", "batch_size", "learning_rate", "accumulate")}
        recipe = replace(recipe, **{name: value for name, value in chosen.items() if value is not None})
        trainer = Trainer(
            model,
            args.stage,
            recipe,
            args.data,
            args.out,
            args.seed,
            args.device,
            args.mixed_precision,
            args.held_out,
            args.gradient_checkpointing,
        )
        trainer.run(args.save_every)
    except (OSError, ValueError) as error:
        print(f"training: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"training: stopped; the same command goes on from the last step saved in {args.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
