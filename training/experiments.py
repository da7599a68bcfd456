"""What one video cannot show: whether speed and face region are followed, and whether a long video holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emo_rt.face import Box
from training.corpus import Clip
from training.generator import Generator
from training.metrics import best_lag_correlation, colour_drift, mean_speed, rank_correlation, wandering
from training.reader import FaceReader
from training.sync import Gallery, Video, generate, portrait_of

REGION_SCALES = (0.8, 1.4)  # of the face box, small and large


def speed_response(
    generator: Generator, reader: FaceReader, clips: Mapping[str, Clip], frames: int, *, seed: int
) -> dict[str, Any]:
    """The same people, sentences and noise at the speed of each of the config's buckets.

    The rank correlation of asked and measured speed is a person's; the mean over persons counts. Speech should not
    hear of it: ``sync_range`` is the distance between the best and the worst bucket.
    """
    speeds = generator.model.config.speed_centers
    measured, sync = [], []
    for speed in speeds:
        videos = generate(generator, reader, clips, frames, speed=speed, seed=seed, what=f"{speed:g} degrees per frame")
        measured.append([mean_speed(video.reading.rotation) for video in videos])
        sync.append(best_lag_correlation(_openings(videos))[1])
    table = np.array(measured)  # [speeds, people]
    return {
        "people": len(clips),
        "asked": list(speeds),
        "measured": table.mean(1).tolist(),
        "rank_correlation": float(np.mean([rank_correlation(np.array(speeds), column) for column in table.T])),
        "sync": sync,
        "sync_range": max(sync) - min(sync),
    }


def region_response(
    generator: Generator, reader: FaceReader, clips: Mapping[str, Clip], frames: int, *, seed: int
) -> dict[str, Any]:
    """How far faces wander in a small and in a large face region, in widths of the picture, at the middle speed."""
    speeds = sorted(generator.model.config.speed_centers)
    wanderings = []
    for scale in REGION_SCALES:
        places = []
        for number, clip in enumerate(clips.values()):
            portrait, box = portrait_of(clip)
            video = generator(
                portrait, _scaled(box, scale), clip.waveform, frames, seed=seed + number, speed=speeds[len(speeds) // 2]
            )
            places.append(wandering(reader.read(video).face_centre))
        wanderings.append(float(np.mean(places)))
    return {"people": len(clips), "scales": list(REGION_SCALES), "small": wanderings[0], "large": wanderings[1]}


def endurance(
    generator: Generator,
    reader: FaceReader,
    clips: Mapping[str, Clip],
    gallery: Gallery,
    frames: int,
    *,
    speed: float,
    seed: int,
) -> dict[str, Any]:
    """One long video's last sixth against its first: the first person says the sentences of all clips.

    Both sixths have the same words, so that only time is between them.
    """
    name, first = next(iter(clips.items()))
    span = frames // 6
    if not span:
        raise ValueError(f"a long video of {frames} frames has no first and last sixth")
    voice = np.concatenate([clip.waveform for clip in clips.values()])
    opening = np.concatenate([clip.mouth_opening for clip in clips.values()])
    per_frame = len(first.waveform) // len(first.frames)
    voice = np.resize(voice, (frames - span) * per_frame)
    opening = np.resize(opening, frames - span)
    voice = np.concatenate([voice, voice[: span * per_frame]])
    opening = np.concatenate([opening, opening[:span]])
    portrait, box = portrait_of(first)
    video = generator(portrait, box, voice, frames, seed=seed, speed=speed)
    reading = reader.read(video)
    parts = (slice(0, span), slice(frames - span, frames))
    sync = [best_lag_correlation([(reading.mouth_opening[part], opening[part])])[1] for part in parts]
    identity = [gallery.share_recognised(reading.identity[part], name) for part in parts]
    return {
        "frames": frames,
        "sync_first": sync[0],
        "sync_last": sync[1],
        "identity_first": identity[0],
        "identity_last": identity[1],
        "colour_drift": colour_drift(video, span),
    }


def _openings(videos: list[Video]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(video.reading.mouth_opening, video.clip.mouth_opening) for video in videos]


def _scaled(box: Box, scale: float) -> Box:
    """The box around the same middle."""
    width, height = scale * box.width, scale * box.height
    return Box(box.x + (box.width - width) / 2, box.y + (box.height - height) / 2, width, height)
