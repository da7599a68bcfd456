"""What one video cannot show: whether speed and face region are followed, and whether a long video holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from emo_rt.media.boxes import Box
from training.clips.clip import TrainingClip, portrait_of
from training.evaluation.generator import Generator
from training.evaluation.metrics import (
    best_lag_correlation,
    colour_drift,
    mean_speed,
    nearest,
    rank_correlation,
    wandering,
)
from training.evaluation.reader import FaceReader
from training.evaluation.sync import Gallery, generate

REGION_SCALES = (0.8, 1.4)  # of the face box, small and large
SPEED_STEP = 0.1  # degrees per frame: smaller differences of measured head speeds are no response


def speed_response(
    generator: Generator, reader: FaceReader, clips: Mapping[str, TrainingClip], frames: int, *, seed: int
) -> dict[str, Any]:
    """The same people, sentences and noise at the speed of each of the config's buckets.

    The ranks of asked and measured speeds are those of all videos together: a head that hardly minds what is asked
    moves as other things want. Speech should not hear of it: ``sync_range`` is the distance between the best and the
    worst bucket.
    """
    speeds = generator.model.config.speed_centers
    measured, sync = [], []
    for speed in speeds:
        videos = generate(generator, reader, clips, frames, speed=speed, seed=seed, what=f"{speed:g} degrees per frame")
        measured.append([mean_speed(video.reading.rotation) for video in videos])
        sync.append(best_lag_correlation([(video.reading.mouth_opening, video.clip.mouth_opening) for video in videos]))
    table = np.array(measured)  # [speeds, people]
    asked = np.repeat(np.array(speeds), table.shape[1])
    in_steps = np.round(table / SPEED_STEP)
    correlations = [value for _, value in sync]
    return {
        "people": len(clips),
        "asked": list(speeds),
        "measured": table.mean(1).tolist(),
        "rank_correlation": rank_correlation(asked, in_steps.ravel()),
        "sync": correlations,
        "sync_range": max(correlations) - min(correlations),
    }


def region_response(
    generator: Generator, reader: FaceReader, clips: Mapping[str, TrainingClip], frames: int, *, seed: int
) -> dict[str, Any]:
    """How far faces wander in a small and in a large face region, in widths of the picture, at the middle speed."""
    speeds = sorted(generator.model.config.speed_centers)
    speed = speeds[len(speeds) // 2]
    wanderings = []
    for scale in REGION_SCALES:
        places = []
        for number, clip in enumerate(tqdm(clips.values(), desc=f"region x {scale}", unit="video")):
            portrait, box = portrait_of(clip)
            video = generator(portrait, _scaled(box, scale), clip.waveform, frames, seed=seed + number, speed=speed)
            places.append(wandering(reader.read(video).face_centre))
        wanderings.append(float(np.mean(places)))
    return {"people": len(clips), "scales": list(REGION_SCALES), "small": wanderings[0], "large": wanderings[1]}


def endurance(
    generator: Generator,
    reader: FaceReader,
    clips: Mapping[str, TrainingClip],
    gallery: Gallery,
    frames: int,
    *,
    people: int,
    speed: float,
    seed: int,
) -> dict[str, Any]:
    """Long videos' last sixths against their first: each of the first people says the sentences of all clips.

    Both sixths have the same words, so that only time is between them.

    Raises:
        ValueError: if the videos are too short to have sixths.
    """
    span = frames // 6
    if not span:
        raise ValueError(f"a long video of {frames} frames has no first and last sixth")
    names = list(clips)[:people]
    rows = []
    for number, name in enumerate(tqdm(names, desc="long videos", unit="video")):
        speakers = list(clips.values())
        voice, opening = _recital(speakers[number:] + speakers[:number], frames, span)
        portrait, box = portrait_of(clips[name])
        video = generator(portrait, box, voice, frames, seed=seed + number, speed=speed)
        reading = reader.read(video)
        values = [colour_drift(video, span)]
        for part in (slice(0, span), slice(frames - span, frames)):
            values.append(best_lag_correlation([(reading.mouth_opening[part], opening[part])])[1])
            values.append(float((nearest(reading.identity[part], gallery.identity) == number).mean()))
        rows.append(values)
    columns = ("colour_drift", "sync_first", "identity_first", "sync_last", "identity_last")
    means = {name: float(value) for name, value in zip(columns, np.mean(rows, 0), strict=True)}
    return {"people": len(names), "frames": frames} | means


def _recital(clips: Sequence[TrainingClip], frames: int, span: int) -> tuple[np.ndarray, np.ndarray]:
    """The clips one after another, then the first ``span`` frames again: a voice and its mouth opening (frames,)."""
    per_frame = len(clips[0].waveform) // len(clips[0].frames)
    voice = np.resize(np.concatenate([clip.waveform for clip in clips]), (frames - span) * per_frame)
    opening = np.resize(np.concatenate([clip.mouth_opening for clip in clips]), frames - span)
    return np.concatenate([voice, voice[: span * per_frame]]), np.concatenate([opening, opening[:span]])


def _scaled(box: Box, scale: float) -> Box:
    """The box around the same middle."""
    width, height = scale * box.width, scale * box.height
    return Box(box.x + (box.width - width) / 2, box.y + (box.height - height) / 2, width, height)
