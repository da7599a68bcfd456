"""Lip sync and picture quality of generated videos, each measure beside its control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from emo_rt.media.boxes import Box, face_region
from training.clips.clip import TrainingClip, portrait_of
from training.evaluation.generator import Generator
from training.evaluation.metrics import (
    LAGS,
    best_lag_correlation,
    border_ratio,
    closures,
    correlation,
    find_blinks,
    lagged_correlation,
    mean_speed,
    nearest,
    psnr_table,
    rank_correlation,
    share_inside,
)
from training.evaluation.reader import FaceReader, Reading
from training.evaluation.sync_signal import check_clips, decoded
from training.model.model import EmoModel
from training.model.vae import to_float
from training.speakers.speech.voices import TRAINING_LANGUAGES

GALLERY = 100  # people among whom a portrait is looked for

_FRAME_FIELDS = ("frames", "mouth_opening", "mouth_width", "rotation", "head_speed", "face_box", "mouth_box", "blink")


@dataclass(frozen=True)
class EvaluatedVideo:
    """A generated video beside the clip whose voice it speaks; all of t frames."""

    name: str
    portrait: np.ndarray  # uint8 (h, w, 3)
    face_box: Box  # in the portrait
    clip: TrainingClip
    frames: np.ndarray  # uint8 (t, h, w, 3)
    reading: Reading  # of the generated frames
    true_reading: Reading  # of the rendered frames


@dataclass(frozen=True)
class Gallery:
    """Portraits of n people, and who they are to the reader."""

    names: tuple[str, ...]
    identity: np.ndarray  # (n, 64)

    @classmethod
    def of(cls, clips: Mapping[str, TrainingClip], reader: FaceReader) -> Gallery:
        """The first 100 clips' people."""
        names = tuple(clips)[:GALLERY]
        return cls(names, reader.read(np.stack([portrait_of(clips[name])[0] for name in names])).identity)

    def share_recognised(self, identity: np.ndarray, name: str) -> float | None:
        """Share of the frames, of identities (t, 64), in which ``name`` is the nearest; None if not in the gallery."""
        if name not in self.names:
            return None
        return float((nearest(identity, self.identity) == self.names.index(name)).mean())


def generate(
    generator: Generator,
    reader: FaceReader,
    clips: Mapping[str, TrainingClip],
    frames: int,
    *,
    speed: float,
    seed: int = 0,
    what: str = "videos",
) -> list[EvaluatedVideo]:
    """A video of ``frames`` frames for each clip: its voice and its portrait.

    Args:
        speed: of the head, in degrees per frame.
        seed: of the first video's noise; each further one has the next, so that their errors are independent.
        what: they are, for the progress bar.

    Raises:
        ValueError: if a clip has another resolution than the model, or is shorter than ``frames``.
    """
    check_clips(generator.model.config, clips, frames)
    videos = []
    for number, (name, whole) in enumerate(tqdm(clips.items(), desc=what, unit="video")):
        portrait, box = portrait_of(whole)
        generated = generator(portrait, box, whole.waveform, frames, seed=seed + number, speed=speed)
        clip = _cut(whole, frames)
        videos.append(
            EvaluatedVideo(
                name=name,
                portrait=portrait,
                face_box=box,
                clip=clip,
                frames=generated,
                reading=reader.read(generated),
                true_reading=reader.read(clip.frames),
            )
        )
    return videos


def sync_report(
    videos: Sequence[EvaluatedVideo],
    model: EmoModel,
    reader: FaceReader,
    clips: Mapping[str, TrainingClip],
    gallery: Gallery,
) -> dict[str, Any]:
    """How well the videos speak and look; ``clips`` give the other sentences of the control.

    Raises:
        ValueError: if there is no other sentence of the videos' length.
    """
    config = model.config
    frames = len(videos[0].frames)
    others = {name: clip for name, clip in clips.items() if len(clip.mouth_opening) >= frames}
    if len(others) < 2:
        raise ValueError(f"the control needs two clips or more of at least {frames} frames, there are {len(others)}")
    rows: list[dict[str, Any]] = []
    for video in videos:
        read, label = video.reading.mouth_opening, video.clip.mouth_opening
        wrong = [clip for name, clip in others.items() if name != video.name]
        reconstruction = _through_vae(model, video.clip.frames)
        reconstructed = reader.read(reconstruction)
        region = face_region(video.face_box, config.resolution, config.face_region_margin)
        rows.append(
            {
                "name": video.name,
                "language": video.clip.language,
                "style": video.clip.style,
                "sound": video.clip.sound,
                "correlation": [lagged_correlation(read, label, lag) for lag in LAGS],
                "control": [
                    [lagged_correlation(read, clip.mouth_opening[:frames], lag) for lag in LAGS] for clip in wrong
                ],
                "deviation_ratio": _ratio(read, label),
                "width_correlation": correlation(video.reading.mouth_width, video.clip.mouth_width),
                "width_control": [correlation(video.reading.mouth_width, clip.mouth_width[:frames]) for clip in wrong],
                "closures": closures(read, video.clip.phoneme_class),
                "closures_on_renders": closures(video.true_reading.mouth_opening, video.clip.phoneme_class),
                "closures_control": _summed(closures(read, clip.phoneme_class) for clip in wrong),
                "identity": gallery.share_recognised(video.reading.identity, video.name),
                "identity_of_renders": gallery.share_recognised(video.true_reading.identity, video.name),
                "centre_in_region": share_inside(video.reading.face_centre, region),
                "centre_in_region_of_renders": share_inside(video.true_reading.face_centre, region),
                "blinks": len(find_blinks(video.reading.blink)),
                "blinks_of_renders": len(find_blinks(video.clip.blink)),
                "border_ratio": border_ratio(video.frames, config.clip_frames),
                "border_ratio_of_renders": border_ratio(video.clip.frames, config.clip_frames),
                "reader_on_renders": correlation(video.true_reading.mouth_opening, label),
                "reader_on_reconstructions": correlation(reconstructed.mouth_opening, label),
                "reader_deviation_ratio": _ratio(reconstructed.mouth_opening, label),
                "first_frame_psnr": float(psnr_table(video.frames[:1], video.portrait[None])[0, 0]),
                "nearest_frame_psnr": float(psnr_table(video.frames, video.clip.frames).max(1).mean()),
                "reconstruction_psnr": float(np.diag(psnr_table(reconstruction, video.clip.frames)).mean()),
                "head_speed": mean_speed(video.reading.rotation),
                "head_speed_read_on_renders": mean_speed(video.true_reading.rotation),
                "head_speed_of_renders": mean_speed(video.clip.rotation),
            }
        )
    own = np.array([row["correlation"] for row in rows])  # [videos, lags]
    control = np.array([row["control"] for row in rows])  # [videos, others, lags]
    now = LAGS.index(0)
    best_lag, best = best_lag_correlation([(video.reading.mouth_opening, video.clip.mouth_opening) for video in videos])
    minutes = len(videos) * frames / config.frames_per_second / 60

    def mean(name: str) -> float | None:
        values = [row[name] for row in rows if row[name] is not None]
        return float(np.mean(values)) if values else None

    def grouped(label: Callable[[dict[str, Any]], str]) -> dict[str, dict[str, Any]]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            if label(row):  # not every clip says so
                groups.setdefault(label(row), []).append(row)
        return {
            name: {
                "videos": len(members),
                "correlation": float(np.mean([row["correlation"][LAGS.index(best_lag)] for row in members])),
                "lips_closed": _share(row["closures"] for row in members),
            }
            for name, members in sorted(groups.items())
        }

    return {
        "videos": len(videos),
        "frames": frames,
        "opening": {
            "correlation": float(own[:, now].mean()),
            "standard_error": float(own[:, now].std(ddof=1) / len(own) ** 0.5) if len(own) > 1 else None,
            "lowest": float(own[:, now].min()),
            "highest": float(own[:, now].max()),
            "by_lag": {str(lag): float(value) for lag, value in zip(LAGS, own.mean(0), strict=True)},
            "best_lag": best_lag,
            "best_lag_correlation": best,
            "control": float(control[:, :, now].mean()),
            "control_best_lag": float(control.mean((0, 1)).max()),
            "control_deviation": float(control[:, :, now].std()),
            "control_sentences": control.shape[1],
            "share_above_control": float((own[:, None, now] > control[:, :, now]).mean()),
            "deviation_ratio": mean("deviation_ratio"),
        },
        "width": {
            "correlation": mean("width_correlation"),
            "control": float(np.mean([row["width_control"] for row in rows])),
        },
        "lips_closed_on_p_b_m": {
            "share": _share(row["closures"] for row in rows),
            "on_renders": _share(row["closures_on_renders"] for row in rows),
            "control": _share(row["closures_control"] for row in rows),
        },
        "identity": {
            "people": len(gallery.names),
            "nearest": mean("identity"),
            "nearest_of_renders": mean("identity_of_renders"),
            "chance": 1 / len(gallery.names),
        },
        "face_in_region": {
            "share": mean("centre_in_region"),
            "of_renders": mean("centre_in_region_of_renders"),
        },
        "blinks_per_minute": {
            "generated": sum(row["blinks"] for row in rows) / minutes,
            "of_renders": sum(row["blinks_of_renders"] for row in rows) / minutes,
        },
        "borders_over_inside": {"generated": mean("border_ratio"), "of_renders": mean("border_ratio_of_renders")},
        "reader": {
            "correlation_on_renders": mean("reader_on_renders"),
            "correlation_on_reconstructions": mean("reader_on_reconstructions"),
            "deviation_ratio_on_reconstructions": mean("reader_deviation_ratio"),
            "head_speed_rank_correlation_on_renders": rank_correlation(
                np.array([row["head_speed_read_on_renders"] for row in rows]),
                np.array([row["head_speed_of_renders"] for row in rows]),
            ),
        },
        "picture": {
            "first_frame_psnr": mean("first_frame_psnr"),
            "nearest_frame_psnr": mean("nearest_frame_psnr"),
            "reconstruction_psnr": mean("reconstruction_psnr"),
        },
        "head_speed": {
            "generated": mean("head_speed"),
            "read_on_renders": mean("head_speed_read_on_renders"),
            "of_renders": mean("head_speed_of_renders"),
        },
        "by_language": grouped(lambda row: row["language"] and _known_language(row["language"])),
        "by_style": grouped(lambda row: row["style"]),
        "by_sound": grouped(lambda row: row["sound"]),
        "per_video": [
            {name: value for name, value in row.items() if "control" not in name}
            | {"correlation": row["correlation"][now], "control": float(np.mean(row["control"], 0)[now])}
            for row in rows
        ],
    }


def _cut(clip: TrainingClip, frames: int) -> TrainingClip:
    """The first ``frames`` frames."""
    samples = frames * len(clip.waveform) // len(clip.frames)
    phonemes = frames * len(clip.phoneme_class) // len(clip.frames)
    return replace(
        clip,
        waveform=clip.waveform[:samples],
        phoneme_class=clip.phoneme_class[:phonemes],
        **{name: getattr(clip, name)[:frames] for name in _FRAME_FIELDS},
    )


@torch.no_grad()
def _through_vae(model: EmoModel, frames: np.ndarray) -> np.ndarray:
    device = next(model.parameters()).device
    parts = to_float(torch.from_numpy(frames)).split(16)
    return decoded(model, torch.cat([model.vae.encode(part.to(device)) for part in parts]))


def _summed(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    closed, sounds = np.sum([(0, 0), *pairs], axis=0)
    return int(closed), int(sounds)


def _share(pairs: Iterable[tuple[int, int]]) -> float | None:
    closed, sounds = _summed(pairs)
    return closed / sounds if sounds else None


def _known_language(language: str) -> str:
    return "known" if language in TRAINING_LANGUAGES else "unknown"


def _ratio(read: np.ndarray, label: np.ndarray) -> float:
    return float(read.std() / max(float(label.std()), 1e-6))
