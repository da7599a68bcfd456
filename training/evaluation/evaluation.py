"""All that `python -m training.evaluate` measures of a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from training.clips.clip import TrainingClip
from training.clips.folder import load_clips
from training.evaluation.experiments import endurance, region_response, speed_response
from training.evaluation.generator import Generator
from training.evaluation.reader import FaceReader
from training.evaluation.sheets import write_contact_sheet, write_strip
from training.evaluation.sync import Gallery, generate, sync_report
from training.evaluation.sync_signal import check_clips
from training.evaluation.thresholds import thresholds


def evaluate(
    generator: Generator, reader: FaceReader, clips: Mapping[str, TrainingClip], args: argparse.Namespace
) -> dict[str, Any]:
    """Everything that is measured, with the options of the command line; writes the pictures.

    Raises:
        FileNotFoundError, ValueError: that say which clips are missing or do not fit.
    """
    model = generator.model
    speed = model.config.speed if args.speed is None else args.speed
    frames = round(args.seconds * model.config.frames_per_second)
    gallery = Gallery.of(clips, reader)
    # What does not fit shows before the first video, not after the last.
    family = load_clips(args.family_data) if args.family_data else {}
    check_clips(model.config, family, frames)
    videos = generate(generator, reader, _first(clips, args.videos), frames, speed=speed, seed=args.seed)
    result = sync_report(videos, model, reader, clips, gallery)
    write_strip(videos, args.out / "strip.png")
    write_contact_sheet(videos, args.out / "contact_sheet.png")
    if family:
        chosen = _first(family, args.family_videos)
        others = generate(generator, reader, chosen, frames, speed=speed, seed=args.seed, what="voice family")
        result["voice_family"] = sync_report(others, model, reader, family, Gallery.of(family, reader))
    if args.speed_videos:
        some = _first(clips, args.speed_videos)
        result["speeds"] = speed_response(generator, reader, some, frames, seed=args.seed)
    if args.region_videos:
        some = _first(clips, args.region_videos)
        result["regions"] = region_response(generator, reader, some, frames, seed=args.seed)
    if args.long_videos:
        long = round(args.long_seconds * model.config.frames_per_second)
        result["long"] = endurance(
            generator, reader, clips, gallery, long, people=args.long_videos, speed=speed, seed=args.seed
        )
    sampling = {"steps": generator.steps, "guidance_scale": generator.guidance_scale, "speed": speed}
    return sampling | result | {"bars": [asdict(bar) for bar in thresholds(result)]}


def _first(clips: Mapping[str, TrainingClip], count: int) -> dict[str, TrainingClip]:
    return dict(list(clips.items())[:count])
