"""What a model lives on: videos that are sampled without one of its conditions, beside those with all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.clips.clip import TrainingClip
from training.evaluation.evaluated_video import EvaluatedVideo, generate_videos
from training.evaluation.evaluation import EvaluationOptions
from training.evaluation.generator import Generator
from training.evaluation.metrics import (
    best_lag_correlation,
    border_ratio,
    mean_speed,
    nearest_pictures,
    picture_psnr,
    wandering,
)
from training.evaluation.reader import FaceReader
from training.model.model import EmoModel

#: What is left out, and the field of `Conditions` that carries it. Those that a model does not have are not tried.
ABLATIONS = {
    "audio-attention": "audio",
    "voice in the time embedding": "audio_embedding",
    "motion keys": "motion",
    "reference-attention": "reference",
    "maps of portrait and motion frames": "known_maps",
    "face locator": "face_latents",
    "speed layers": "speed",
    "gestures": "gesture_embedding",
}


@dataclass(frozen=True)
class AblationRow:
    """What videos are like without something. Values are means over the videos.

    Attributes:
        without: what is left out; empty for the full model.
        opening: Pearson's r of the mouth opening with the label, at the best lag.
        border_ratio: difference across the borders of clips over that inside; None without a border.
        face_psnr: PSNR in dB, in the face box, against the nearest frame of the true clip.
        full_psnr: PSNR in dB against the full model's video.
        head_speed: measured head speed in degrees per frame.
        wandering: distance of the face centre from its mean, in widths of the picture.
    """

    without: str
    opening: float
    border_ratio: float | None
    face_psnr: float
    full_psnr: float
    head_speed: float
    wandering: float


def ablation(
    model: EmoModel, reader: FaceReader, clips: Mapping[str, TrainingClip], options: EvaluationOptions
) -> list[AblationRow]:
    """The same people, sentences and noise with the full model, then without one thing after the other.

    Args:
        model: the model to evaluate.
        reader: reader of the generated frames.
        clips: held-out clips by name, one of each person, with every label.
        options: how many videos of which length, and how they are sampled.

    Raises:
        ValueError: if a clip has another resolution than the model, or is too short.
    """
    speed = model.config.speed if options.speed is None else options.speed
    frames = round(options.seconds * model.config.frames_per_second)
    chosen = dict(list(clips.items())[: options.videos])
    rows: list[AblationRow] = []
    full: list[EvaluatedVideo] = []
    for name in ("", *_of_model(model)):
        label = f"without {name}" if name else "full model"
        generator = Generator(
            model,
            steps=options.steps,
            guidance_scale=options.guidance_scale,
            directory=options.out / "videos",
            without=ABLATIONS.get(name),
        )
        videos = generate_videos(generator, reader, chosen, frames, speed=speed, seed=options.seed, progress=label)
        full = full or videos
        rows.append(_row(name, videos, full, model.config.clip_frames))
    return rows


def ablation_table(rows: Sequence[AblationRow]) -> str:
    """Plain text: a line for the full model, and one for each thing left out."""
    head = ("without", "mouth r", "borders", "face dB", "from full", "deg/frame", "wanders")
    cells = [head]
    for row in rows:
        border = "-" if row.border_ratio is None else f"{row.border_ratio:.2f}"
        values = (f"{row.face_psnr:.1f}", f"{row.full_psnr:.1f} dB" if row.without else "-")
        moves = (f"{row.head_speed:.2f}", f"{100 * row.wandering:.1f} %")
        cells.append((row.without or "(full model)", f"{row.opening:.2f}", border, *values, *moves))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _of_model(model: EmoModel) -> list[str]:
    """The names of `ABLATIONS` that the model has."""
    config = model.config
    missing = set()
    if not config.audio_in_time_embedding:
        missing.add("voice in the time embedding")
    if not config.known_frames_in_latents:
        missing.add("maps of portrait and motion frames")
    if not config.gestures:
        missing.add("gestures")
    return [name for name in ABLATIONS if name not in missing]


def _row(name: str, videos: Sequence[EvaluatedVideo], full: Sequence[EvaluatedVideo], clip_frames: int) -> AblationRow:
    _, opening = best_lag_correlation([(video.reading.mouth_opening, video.clip.mouth_opening) for video in videos])
    ratios = [ratio for video in videos if (ratio := border_ratio(video.frames, clip_frames)) is not None]
    pairs = zip(videos, full, strict=True)
    return AblationRow(
        without=name,
        opening=opening,
        border_ratio=float(np.mean(ratios)) if ratios else None,
        face_psnr=float(np.mean([_face_psnr(video) for video in videos])),
        full_psnr=float(np.mean([picture_psnr(video.frames, other.frames).mean() for video, other in pairs])),
        head_speed=float(np.mean([mean_speed(video.reading.rotation) for video in videos])),
        wandering=float(np.mean([wandering(video.reading.face_centre) for video in videos])),
    )


def _face_psnr(video: EvaluatedVideo) -> float:
    chosen = nearest_pictures(video.frames, video.clip.frames)
    ratios = []
    for frame, number in zip(video.frames, chosen, strict=True):
        x, y, width, height = video.clip.face_box[number].round().astype(int)
        face = (slice(max(y, 0), y + height), slice(max(x, 0), x + width))
        ratios.append(picture_psnr(frame[face][None], video.clip.frames[number][face][None])[0])
    return float(np.mean(ratios))
