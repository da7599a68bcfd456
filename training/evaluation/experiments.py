"""What one video cannot show: whether it follows the speed and the face region, and whether a long video holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from emo_rt.media.boxes import Box
from training.clips.clip import TrainingClip, portrait_of
from training.evaluation.evaluated_video import generate_videos
from training.evaluation.generator import Generator
from training.evaluation.metrics import (
    best_lag_correlation,
    colour_drift,
    mean_speed,
    nearest,
    rank_correlation,
    wandering,
)
from training.evaluation.reader import FaceReader, Gallery

#: Scales of the face box: a small and a large face region.
REGION_SCALES = (0.8, 1.4)

#: Degrees per frame: smaller differences of measured head speeds count as no response.
SPEED_STEP = 0.1


@dataclass(frozen=True)
class SpeedResponse:
    """Whether heads move as fast as asked.

    Attributes:
        people: number of people, each with one video at each speed.
        asked: head speeds asked for, in degrees per frame.
        measured: mean measured head speed for each of them, in degrees per frame.
        rank_correlation: Spearman's rho of asked and measured speeds over all videos.
        sync: mean of Pearson's r of the mouth opening with the label, for each speed.
        sync_range: distance between the best and the worst of `sync`.
    """

    people: int
    asked: tuple[float, ...]
    measured: tuple[float, ...]
    rank_correlation: float
    sync: tuple[float, ...]
    sync_range: float


@dataclass(frozen=True)
class RegionResponse:
    """Whether faces stay in a small face region and use a large one.

    Attributes:
        people: number of people, each with one video in each region.
        scales: scales of the face box from which the two regions follow.
        small: mean wandering of the face centre in the small region, in widths of the picture.
        large: mean wandering of the face centre in the large region, in widths of the picture.
    """

    people: int
    scales: tuple[float, float]
    small: float
    large: float


@dataclass(frozen=True)
class Endurance:
    """The last sixth of long videos beside the first. Values are means over the people.

    Attributes:
        people: number of people, each with one video.
        frames: number of frames of each video.
        colour_drift: distance of the sixths' mean colours in CIELAB (Delta E 1976).
        sync_first: Pearson's r of the mouth opening with the label in the first sixth, at the best lag.
        identity_first: share of the first sixth's frames in which the portrait's person is the nearest.
        sync_last: Pearson's r of the mouth opening with the label in the last sixth, at the best lag.
        identity_last: share of the last sixth's frames in which the portrait's person is the nearest.
    """

    people: int
    frames: int
    colour_drift: float
    sync_first: float
    identity_first: float
    sync_last: float
    identity_last: float


def speed_response(
    generator: Generator, reader: FaceReader, clips: Mapping[str, TrainingClip], frames: int, *, seed: int
) -> SpeedResponse:
    """The same people, sentences and noise at the speed of each of the config's buckets.

    Asked and measured speeds are ranked over all videos together: a head that hardly follows what is asked moves by
    other things, which differ from person to person. Lip sync should not depend on the speed.

    Args:
        generator: the model and its sampling.
        reader: reader of the generated frames.
        clips: clips by name, one of each person.
        frames: number of frames of each video.
        seed: seed of the first person's noise.
    """
    speeds = generator.model.config.speed_centers
    measured, sync = [], []
    for speed in speeds:
        videos = generate_videos(
            generator, reader, clips, frames, speed=speed, seed=seed, progress=f"{speed:g} degrees per frame"
        )
        measured.append([mean_speed(video.reading.rotation) for video in videos])
        _, correlation = best_lag_correlation(
            [(video.reading.mouth_opening, video.clip.mouth_opening) for video in videos]
        )
        sync.append(correlation)
    table = np.array(measured)  # [speeds, people]
    asked = np.repeat(np.array(speeds), table.shape[1])
    return SpeedResponse(
        people=len(clips),
        asked=tuple(speeds),
        measured=tuple(table.mean(1).tolist()),
        rank_correlation=rank_correlation(asked, np.round(table / SPEED_STEP).ravel()),
        sync=tuple(sync),
        sync_range=max(sync) - min(sync),
    )


def region_response(
    generator: Generator, reader: FaceReader, clips: Mapping[str, TrainingClip], frames: int, *, seed: int
) -> RegionResponse:
    """The same people, sentences and noise in a small and in a large face region, at the middle speed.

    Args:
        generator: the model and its sampling.
        reader: reader of the generated frames.
        clips: clips by name, one of each person.
        frames: number of frames of each video.
        seed: seed of the first person's noise.
    """
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
    return RegionResponse(len(clips), REGION_SCALES, *wanderings)


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
) -> Endurance:
    """Long videos, in which each of the first people says the sentences of all clips.

    The first and the last sixth have the same words, so that only time is between them.

    Args:
        generator: the model and its sampling.
        reader: reader of the generated frames.
        clips: clips by name, one of each person.
        gallery: people among whom those of the portraits are looked for; they begin as `clips` do.
        frames: number of frames of each video.
        people: number of people.
        speed: head speed asked for, in degrees per frame.
        seed: seed of the first person's noise.

    Raises:
        ValueError: if the videos are too short to have sixths.
    """
    span = frames // 6
    if not span:
        raise ValueError(f"a long video of {frames} frames has no first and last sixth")
    names, speakers = list(clips)[:people], list(clips.values())
    rows = []
    for number, name in enumerate(tqdm(names, desc="long videos", unit="video")):
        voice, opening = _recital(speakers[number:] + speakers[:number], frames, span)
        portrait, box = portrait_of(clips[name])
        video = generator(portrait, box, voice, frames, seed=seed + number, speed=speed)
        reading = reader.read(video)
        row = [colour_drift(video, span)]
        for part in (slice(0, span), slice(frames - span, frames)):
            row.append(best_lag_correlation([(reading.mouth_opening[part], opening[part])])[1])
            row.append(float((nearest(reading.identity[part], gallery.identity) == number).mean()))
        rows.append(row)
    return Endurance(len(names), frames, *np.mean(rows, 0).tolist())


def _recital(clips: Sequence[TrainingClip], frames: int, span: int) -> tuple[np.ndarray, np.ndarray]:
    """The clips one after another, then the first `span` frames again: a voice and its mouth opening (frames,)."""
    per_frame = len(clips[0].waveform) // len(clips[0].frames)
    voice = np.resize(np.concatenate([clip.waveform for clip in clips]), (frames - span) * per_frame)
    opening = np.resize(np.concatenate([clip.mouth_opening for clip in clips]), frames - span)
    return np.concatenate([voice, voice[: span * per_frame]]), np.concatenate([opening, opening[:span]])


def _scaled(box: Box, scale: float) -> Box:
    """The box around the same middle."""
    width, height = scale * box.width, scale * box.height
    return Box(box.x + (box.width - width) / 2, box.y + (box.height - height) / 2, width, height)
