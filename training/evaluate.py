"""Measure how well a checkpoint lets people talk whom it has never met, in voices and sentences it has never heard.

  python -m training.evaluate --model runs/speed --data data/held-out --out out/evaluation

generates videos in plain PyTorch, reads the faces in them and compares them with the clips' labels. It prints a table
of the thresholds that a model must reach, each beside a control: lip sync, for one, is what exceeds the same comparison
with other sentences. All numbers go to OUT/evaluation.json, pictures to OUT/strip.png and OUT/contact_sheet.png. Videos
are kept in OUT/videos: the same command goes on where it stopped.

The clips of --data are held-out people of `python -m training.corpus --split held-out`, those of --family-data of
`--split held-out-family`.

With --ablate it generates the same videos with the full model, then without one condition after the other:
audio-attention, motion keys, reference-attention and so on. The table shows what the model lives on. It writes
OUT/ablation.json.

With --quick it generates nothing and measures how much better one step from almost pure noise denoises the mouth with
the right voice than with another one. This shows long before a generated video speaks. It writes OUT/quick.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from emo_rt.atomic import atomic_write
from training.clips.folder import load_clips
from training.evaluation.ablation import ablation, ablation_table
from training.evaluation.evaluation import EvaluationOptions, evaluate
from training.evaluation.reader import BUNDLED_READER, FaceReader, known_accuracy
from training.evaluation.sync_signal import sync_signal
from training.evaluation.thresholds import evaluation_summary, thresholds
from training.model.model import EmoModel


def _parser() -> argparse.ArgumentParser:
    defaults = EvaluationOptions(out=Path())
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def number(group: Any, option: str, kind: type, default: Any, text: str, metavar: str = "N") -> None:
        if default is not None:
            text = f"{text} (default: {default:g})"
        group.add_argument(option, type=kind, default=default, metavar=metavar, help=text)

    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="checkpoint of `python -m training.train`"
    )
    parser.add_argument(
        "--reader",
        type=Path,
        default=BUNDLED_READER,
        metavar="DIR",
        help="face reader of `python -m training.train_reader` (default: models/face-reader)",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="clips of people who were held out")
    parser.add_argument(
        "--family-data", type=Path, metavar="DIR", help="clips with another synthesizer's voices (default: none)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where JSON, pictures and videos go")
    number(parser, "--videos", int, defaults.videos, "videos to generate, one for each of the first clips")
    number(parser, "--seconds", float, defaults.seconds, "length of each video in seconds", "S")
    number(parser, "--steps", int, None, "DDIM steps (default: the model's)")
    number(parser, "--guidance-scale", float, None, "weight of the voice against no voice (default: the model's)", "X")
    number(parser, "--speed", float, None, "head speed in degrees per frame (default: the model's)", "X")
    number(parser, "--seed", int, defaults.seed, "seed of the noise")
    experiments = parser.add_argument_group("experiments (0 leaves one out)")
    number(experiments, "--family-videos", int, defaults.family_videos, "videos with the voices of --family-data")
    number(experiments, "--speed-videos", int, defaults.speed_videos, "people at each of the model's head speeds")
    number(experiments, "--region-videos", int, defaults.region_videos, "people in a small and a large face region")
    number(experiments, "--long-videos", int, defaults.long_videos, "people in long videos")
    number(experiments, "--long-seconds", float, defaults.long_seconds, "length of a long video in seconds", "S")
    experiments.add_argument("--no-experiments", action="store_true", help="leave all of them out")
    instead = parser.add_argument_group("instead of the table of thresholds")
    quick = instead.add_mutually_exclusive_group()
    quick.add_argument("--quick", action="store_true", help="denoise in one step with right and wrong voices")
    quick.add_argument("--ablate", action="store_true", help="leave out one condition after the other (8 x --videos)")
    number(instead, "--windows", int, 48, "windows of frames that --quick denoises")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="PyTorch device (default: cuda where there is one)",
    )
    number(parser, "--threads", int, None, "CPU threads (default: PyTorch's)")
    return parser


def _options(args: argparse.Namespace) -> EvaluationOptions:
    options = EvaluationOptions(
        out=args.out,
        videos=args.videos,
        seconds=args.seconds,
        steps=args.steps,
        guidance_scale=args.guidance_scale,
        speed=args.speed,
        seed=args.seed,
        family_data=args.family_data,
        family_videos=args.family_videos,
        speed_videos=args.speed_videos,
        region_videos=args.region_videos,
        long_videos=args.long_videos,
        long_seconds=args.long_seconds,
    )
    if args.no_experiments:
        options = replace(options, family_videos=0, speed_videos=0, region_videos=0, long_videos=0)
    return options


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = _parser().parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    started = time.monotonic()
    result: dict[str, Any] = {"model": str(args.model), "data": str(args.data), "seed": args.seed}
    try:
        options = _options(args)
        model = EmoModel.load(args.model).to(args.device)
        reader = FaceReader.load(args.reader).to(args.device)
        result["reader_accuracy"] = known_accuracy(args.reader)
        clips = load_clips(args.data)
        if args.quick:
            signal = sync_signal(model, clips, reader, windows=args.windows, seed=args.seed)
            name, result = "quick.json", result | asdict(signal)
            summary = json.dumps(result, indent=2)
        elif args.ablate:
            ablated = ablation(model, reader, clips, options)
            name, result = "ablation.json", result | {"rows": [asdict(row) for row in ablated]}
            summary = ablation_table(ablated)
        else:
            evaluation = evaluate(model, reader, clips, options)
            rows = [asdict(row) for row in thresholds(evaluation)]
            name, result = "evaluation.json", result | asdict(evaluation) | {"thresholds": rows}
            summary = evaluation_summary(evaluation)
    except (FileNotFoundError, ValueError) as error:
        print(f"evaluate: error: {error}", file=sys.stderr)
        return 2
    result["seconds"] = round(time.monotonic() - started, 1)
    args.out.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out / name) as file:
        file.write(f"{json.dumps(result, indent=2)}\n".encode())
    print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
