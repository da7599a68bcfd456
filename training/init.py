"""Start from published weights: ``python -m training.init --sd15 DIR ... --out DIR`` with the options below.

Writes a checkpoint that the stages train on (``python -m training.train --stage image --init DIR``). The directories
are local copies in the layouts of their libraries, with ``config.json`` and the weights beside it:

============= =========================================== =========================================================
option        published, for example, as                  goes into
============= =========================================== =========================================================
--sd15        stable-diffusion-v1-5, folder ``unet``      Backbone and ReferenceNet
--animatediff animatediff-motion-adapter-v1-5-2           temporal modules of the Backbone
--vae         sd-vae-ft-mse                               VAE
--wav2vec     wav2vec2-base-960h                          audio encoder
============= =========================================== =========================================================

Weights go from key to key; what happened to each key is printed. Without an option its part stays random.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from training.model.config import EmoConfig, config_names
from training.model.model import EmoModel
from training.stages.published import (
    Key,
    KeyReport,
    Kind,
    key_table,
    load_motion_adapter,
    load_sd15_unet,
    load_vae,
    load_wav2vec2,
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.init", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    loaders = {
        "sd15": (load_sd15_unet, "UNet of SD 1.5, a diffusers UNet2DConditionModel"),
        "animatediff": (load_motion_adapter, "AnimateDiff v2, a diffusers MotionAdapter with a middle block"),
        "vae": (load_vae, "diffusers AutoencoderKL"),
        "wav2vec": (load_wav2vec2, "transformers Wav2Vec2Model or Wav2Vec2ForCTC"),
    }
    for option, (_, what) in loaders.items():
        parser.add_argument(f"--{option}", type=Path, metavar="DIR", help=what)
    parser.add_argument(
        "--config",
        choices=config_names(),
        default="emo-sd15",
        help="the directories must fit it (default: emo-sd15)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the checkpoint to write, in float16")
    parser.add_argument("--seed", type=int, default=0, help="of the weights that are new (default: 0)")
    parser.add_argument("--verbose", action="store_true", help="print what happened to every single key")
    args = parser.parse_args(arguments)
    given = {option: getattr(args, option) for option in loaders if getattr(args, option)}
    if not given:
        parser.error(f"give at least one of {', '.join(f'--{option}' for option in loaders)}")
    torch.manual_seed(args.seed)
    model = EmoModel(EmoConfig.from_name(args.config))
    report: KeyReport = []
    try:
        for option, directory in given.items():
            report += loaders[option][0](model, directory)
    except ValueError as error:
        print(f"training: error: {error}", file=sys.stderr)
        return 2
    reported = {key.name for key in report if key.kind != Kind.UNUSED}
    for name in (name for name in model.state_dict() if name not in reported):
        report.append(Key("temporal" if "motion_modules" in name else name.split(".")[0], Kind.NEW, name))
    model.save(args.out)
    print(key_table(report, args.verbose))
    print(f"checkpoint: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
