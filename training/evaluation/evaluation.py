"""All that `python -m training.evaluate` measures of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.clips.clip import TrainingClip
from training.clips.folder import load_clips
from training.evaluation.evaluated_video import check_clips, generate_videos
from training.evaluation.experiments import (
    Endurance,
    RegionResponse,
    SpeedResponse,
    endurance,
    region_response,
    speed_response,
)
from training.evaluation.generator import Generator
from training.evaluation.reader import FaceReader, Gallery
from training.evaluation.sheets import write_contact_sheet, write_strip
from training.evaluation.sync_report import SyncReport, sync_report
from training.model.model import EmoModel


@dataclass(frozen=True)
class EvaluationOptions:
    """What an evaluation generates.

    Attributes:
        out: directory of the pictures `strip.png` and `contact_sheet.png`, and of the kept videos in `videos/`.
        videos: number of videos, of the first clips.
        seconds: length of each video in seconds.
        steps: number of DDIM steps; None means the config's.
        guidance_scale: weight of the voice against no voice; None means the config's.
        speed: head speed asked for, in degrees per frame; None means the config's.
        seed: seed of the first video's noise.
        family_data: directory of clips with another synthesizer's voices; None leaves this experiment out.
        family_videos: number of videos with these voices; 0 leaves this experiment out.
        speed_videos: number of people at each of the config's speeds; 0 leaves this experiment out.
        region_videos: number of people in each of two face regions; 0 leaves this experiment out.
        long_videos: number of people in long videos; 0 leaves this experiment out.
        long_seconds: length of a long video in seconds.

    Raises:
        ValueError: if a number is too small.
    """

    out: Path
    videos: int = 50
    seconds: float = 5.0
    steps: int | None = None
    guidance_scale: float | None = None
    speed: float | None = None
    seed: int = 0
    family_data: Path | None = None
    family_videos: int = 20
    speed_videos: int = 4
    region_videos: int = 4
    long_videos: int = 3
    long_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.videos < 1 or self.seconds <= 0 or (self.steps is not None and self.steps < 1):
            raise ValueError("the numbers of videos, seconds and steps must be above 0")
        if min(self.family_videos, self.speed_videos, self.region_videos, self.long_videos) < 0:
            raise ValueError("an experiment cannot have less than 0 videos")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation has measured.

    Attributes:
        steps: number of DDIM steps.
        guidance_scale: weight of the voice against no voice.
        speed: head speed asked for, in degrees per frame.
        sync: report of the videos of held-out people.
        voice_family: report of videos with another synthesizer's voices; None if left out.
        speeds: response to the head speed; None if left out.
        regions: response to the face region; None if left out.
        long: first and last sixths of long videos; None if left out.
    """

    steps: int
    guidance_scale: float
    speed: float
    sync: SyncReport
    voice_family: SyncReport | None = None
    speeds: SpeedResponse | None = None
    regions: RegionResponse | None = None
    long: Endurance | None = None


def evaluate(
    model: EmoModel, reader: FaceReader, clips: Mapping[str, TrainingClip], options: EvaluationOptions
) -> Evaluation:
    """Generates videos, measures them and writes the pictures.

    Args:
        model: the model to evaluate.
        reader: reader of faces, good enough to judge.
        clips: held-out clips by name, one of each person, with every label.
        options: what to generate.

    Raises:
        FileNotFoundError: if `options.family_data` has no clip.
        ValueError: if clips do not fit the model, are too short or too few, or lack a label.
    """
    generator = Generator(
        model, steps=options.steps, guidance_scale=options.guidance_scale, directory=options.out / "videos"
    )
    speed = model.config.speed if options.speed is None else options.speed
    frames = round(options.seconds * model.config.frames_per_second)
    gallery = Gallery.of(clips, reader)
    # Clips that do not fit are an error before the first video, not after the last.
    family = load_clips(options.family_data) if options.family_data and options.family_videos else {}
    check_clips(model.config, family, frames)

    videos = generate_videos(generator, reader, _first(clips, options.videos), frames, speed=speed, seed=options.seed)
    sync = sync_report(videos, model, reader, clips, gallery)
    options.out.mkdir(parents=True, exist_ok=True)
    write_strip(videos, options.out / "strip.png")
    write_contact_sheet(videos, options.out / "contact_sheet.png")

    voice_family = speeds = regions = long = None
    if family:
        chosen = _first(family, options.family_videos)
        others = generate_videos(
            generator, reader, chosen, frames, speed=speed, seed=options.seed, progress="voice family"
        )
        voice_family = sync_report(others, model, reader, family, Gallery.of(family, reader))
    if options.speed_videos:
        people = _first(clips, options.speed_videos)
        speeds = speed_response(generator, reader, people, frames, seed=options.seed)
    if options.region_videos:
        people = _first(clips, options.region_videos)
        regions = region_response(generator, reader, people, frames, seed=options.seed)
    if options.long_videos:
        long = endurance(
            generator,
            reader,
            clips,
            gallery,
            round(options.long_seconds * model.config.frames_per_second),
            people=options.long_videos,
            speed=speed,
            seed=options.seed,
        )
    return Evaluation(generator.steps, generator.guidance_scale, speed, sync, voice_family, speeds, regions, long)


def _first(clips: Mapping[str, TrainingClip], count: int) -> dict[str, TrainingClip]:
    return dict(list(clips.items())[:count])
