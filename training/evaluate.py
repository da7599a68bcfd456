"""How well a checkpoint lets people talk whom it has never met, in voices and sentences that it has never heard.

``python -m training.evaluate --model runs/speed --data data/held-out --out out/evaluation``
generates videos with the reference pipeline, reads the faces in them and compares them with the truth. It prints a
table of the bars, each beside its control: lip sync, for one, is what is above the same comparison with other
sentences. Videos are kept in ``OUT/videos``: the same command goes on where it stopped.

``--quick`` generates nothing: it asks how much better one step from almost pure noise denoises the mouth with the right
voice than with another one. That shows up long before a sampled video speaks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.clips.folder import load_clips
from training.clips.rates import FRAMES_PER_SECOND
from training.evaluation.evaluation import evaluate
from training.evaluation.generator import Generator
from training.evaluation.reader import BUNDLED, FaceReader, known_accuracy
from training.evaluation.sync_signal import sync_signal
from training.evaluation.thresholds import NEEDED_SECONDS, NEEDED_VIDEOS, threshold_table, thresholds
from training.model.model import EmoModel


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="checkpoint of `python -m training.train`"
    )
    parser.add_argument(
        "--reader",
        type=Path,
        default=BUNDLED,
        metavar="DIR",
        help="of `python -m training.train_reader` (default: models/face-reader)",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="clips of people who were held out")
    parser.add_argument("--family-data", type=Path, metavar="DIR", help="clips with another synthesizer's voices")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for JSON, pictures and videos")
    parser.add_argument("--videos", type=int, default=50, help="how many to generate (default: 50)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each (default: 5)")
    parser.add_argument("--steps", type=int, default=8, help="DDIM steps (default: 8)")
    parser.add_argument("--guidance-scale", type=float, help="(default: the config's)")
    parser.add_argument("--speed", type=float, help="head speed in degrees per frame (default: the config's)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    experiments = parser.add_argument_group("experiments (0 leaves one out)")
    experiments.add_argument("--family-videos", type=int, default=20, help="of --family-data (default: 20)")
    experiments.add_argument("--speed-videos", type=int, default=4, help="at each of the speeds (default: 4)")
    experiments.add_argument("--region-videos", type=int, default=4, help="in each of two regions (default: 4)")
    experiments.add_argument("--long-videos", type=int, default=3, help="of --long-seconds (default: 3)")
    experiments.add_argument("--long-seconds", type=float, default=60.0, help="of a long video (default: 60)")
    experiments.add_argument("--no-experiments", action="store_true", help="leave all of them out")
    quick = parser.add_argument_group("instead of videos")
    quick.add_argument("--quick", action="store_true", help="only one-step denoising with right and wrong voices")
    quick.add_argument("--windows", type=int, default=48, help="of --quick (default: 48)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.videos < 1 or args.seconds <= 0 or args.steps < 1:
        parser.error("--videos, --seconds and --steps must be above 0")
    if min(args.family_videos, args.speed_videos, args.region_videos, args.long_videos) < 0:
        parser.error("an experiment cannot have less than 0 videos")
    if args.no_experiments:
        args.family_data, args.speed_videos, args.region_videos, args.long_videos = None, 0, 0, 0
    elif not args.family_videos:
        args.family_data = None
    if args.threads:
        torch.set_num_threads(args.threads)
    started = time.monotonic()
    try:
        model = EmoModel.load(args.model).to(args.device)
        reader = FaceReader.load(args.reader).to(args.device)
        result: dict[str, Any] = {"model": str(args.model), "data": str(args.data), "seed": args.seed}
        result["reader_accuracy"] = known_accuracy(args.reader)
        if args.quick:
            path = args.out / "quick.json"
            result |= sync_signal(model, load_clips(args.data), reader, windows=args.windows, seed=args.seed)
        else:
            path = args.out / "evaluation.json"
            clips = load_clips(args.data)
            args.out.mkdir(parents=True, exist_ok=True)
            generator = Generator(
                model, steps=args.steps, guidance_scale=args.guidance_scale, directory=args.out / "videos"
            )
            result |= evaluate(generator, reader, clips, args)
    except (FileNotFoundError, ValueError) as error:
        print(f"evaluate: error: {error}", file=sys.stderr)
        return 2
    result["seconds"] = round(time.monotonic() - started, 1)
    args.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    if args.quick:
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return 0


def _print(result: Mapping[str, Any]) -> None:
    seconds = result["frames"] / FRAMES_PER_SECOND
    print(f"{result['videos']} videos of {seconds:g} s, {result['steps']} steps")
    if result["videos"] < NEEDED_VIDEOS or seconds < NEEDED_SECONDS:
        print(f"a trial, no verdict: the bars ask for {NEEDED_VIDEOS} videos of {NEEDED_SECONDS:g} s or more")
    print(threshold_table(thresholds(result)))
    for name in ("by_language", "by_style", "by_sound"):
        for group, of in result[name].items():
            lips = "-" if of["lips_closed"] is None else f"{of['lips_closed']:.0%}"
            print(f"{name[3:]} {group}: {of['videos']} videos, r = {of['correlation']:.2f}, lips closed {lips}")


if __name__ == "__main__":
    sys.exit(main())
