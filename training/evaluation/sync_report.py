"""Lip sync and picture quality of generated videos, each measure beside its control."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from training.clips.clip import TrainingClip
from training.evaluation.evaluated_video import EvaluatedVideo
from training.evaluation.metrics import LAGS, LipClosures, best_lag_correlation, rank_correlation, varies
from training.evaluation.reader import FaceReader, Gallery
from training.evaluation.video_measures import (
    AgainstRenders,
    HeadSpeed,
    OtherSentences,
    PictureQuality,
    ReaderCheck,
    VideoMeasures,
    measure_other_sentences,
    measure_video,
)
from training.model.model import EmoModel
from training.speakers.speech.voices import TRAINING_LANGUAGES

_Averaged = TypeVar("_Averaged", AgainstRenders, HeadSpeed, PictureQuality, ReaderCheck)


@dataclass(frozen=True)
class OpeningSync:
    """How well the mouth opens with the voice. Correlations are Pearson's r of the mouth opening with a label.

    Videos whose clips keep the mouth closed do not count: there is nothing to follow.

    Attributes:
        correlation: mean correlation with the sentence that is said, at lag 0.
        standard_error: standard error of `correlation`; None for a single video.
        lowest: lowest correlation of a video, at lag 0.
        highest: highest correlation of a video, at lag 0.
        by_lag: mean correlation for each of `LAGS`, in frames that the mouth comes after the voice.
        best_lag: lag with the highest mean correlation, in frames.
        best_lag_correlation: mean correlation at that lag.
        control: mean correlation with other sentences, at lag 0.
        control_best_lag: mean correlation with other sentences, at the lag where it is the highest.
        control_deviation: standard deviation of the correlations with other sentences, at lag 0.
        control_sentences: number of other sentences for each video.
        share_above_control: share of all other sentences that correlate less than the sentence that is said.
        deviation_ratio: mean of the opening's standard deviation over that of the label.
    """

    correlation: float
    standard_error: float | None
    lowest: float
    highest: float
    by_lag: dict[int, float]
    best_lag: int
    best_lag_correlation: float
    control: float
    control_best_lag: float
    control_deviation: float
    control_sentences: int
    share_above_control: float
    deviation_ratio: float


@dataclass(frozen=True)
class WidthSync:
    """How well the mouth's width follows the voice.

    Attributes:
        correlation: mean of Pearson's r with the sentence that is said.
        control: mean of Pearson's r with other sentences.
    """

    correlation: float
    control: float


@dataclass(frozen=True)
class ClosedLips:
    """Shares of the sounds p, b and m for which the lips close; None without such a sound.

    Attributes:
        generated: share in the generated videos.
        renders: share in the clips' own frames.
        control: share in the generated videos, for the sounds of other sentences.
    """

    generated: float | None
    renders: float | None
    control: float | None


@dataclass(frozen=True)
class Recognition:
    """Whether a face is still the portrait's.

    Attributes:
        people: number of people in the gallery.
        share: mean share of the frames in which the portrait's person is the nearest.
        chance: share that guesses reach.
    """

    people: int
    share: AgainstRenders
    chance: float


@dataclass(frozen=True)
class GroupSync:
    """Lip sync of the videos whose clips have something in common.

    Attributes:
        videos: number of videos.
        correlation: mean of Pearson's r of the mouth opening, at the best lag of all videos.
        lips_closed: share of the sounds p, b and m for which the lips close; None without such a sound.
    """

    videos: int
    correlation: float
    lips_closed: float | None


@dataclass(frozen=True)
class SyncReport:
    """How well videos speak and look. Shares, ratios and speeds are means over the videos.

    Attributes:
        videos: number of videos.
        frames: number of frames of each video.
        opening: mouth opening.
        width: mouth width.
        lips: lip closures on p, b and m.
        identity: recognition of the portraits.
        face_in_region: share of the frames whose face centre lies in the face region.
        blinks_per_minute: number of blinks in a minute.
        border_ratio: difference between frames across the borders of clips over that inside of clips.
        reader: how well the reader reads these people.
        head_speed_rank_correlation: Spearman's rho of the head speeds that the reader sees in the clips' own frames
            with those of the labels.
        picture: quality of the pictures.
        head_speed: speeds of the head.
        by_language: groups of "known" and "unknown" languages, after those that the training speaks.
        by_style: groups of the same style.
        by_sound: groups of the same effects on the voice.
        per_video: measures of each video.
    """

    videos: int
    frames: int
    opening: OpeningSync
    width: WidthSync
    lips: ClosedLips
    identity: Recognition
    face_in_region: AgainstRenders
    blinks_per_minute: AgainstRenders
    border_ratio: AgainstRenders
    reader: ReaderCheck
    head_speed_rank_correlation: float
    picture: PictureQuality
    head_speed: HeadSpeed
    by_language: dict[str, GroupSync]
    by_style: dict[str, GroupSync]
    by_sound: dict[str, GroupSync]
    per_video: tuple[VideoMeasures, ...]


def sync_report(
    videos: Sequence[EvaluatedVideo],
    model: EmoModel,
    reader: FaceReader,
    clips: Mapping[str, TrainingClip],
    gallery: Gallery,
) -> SyncReport:
    """How well the videos speak and look.

    Args:
        videos: one or more generated videos of the same length.
        model: the model that has generated them.
        reader: reader of faces.
        clips: clips by name, whose sentences are each other's control.
        gallery: people among whom those of the portraits are looked for.

    Raises:
        ValueError: if nobody speaks, or there is no other sentence of the videos' length.
    """
    frames = len(videos[0].frames)
    controls = [measure_other_sentences(video, _other_sentences(clips, video.name, frames)) for video in videos]
    measures = [
        measure_video(video, control, model, reader, gallery) for video, control in zip(videos, controls, strict=True)
    ]
    speaking = [index for index, video in enumerate(videos) if varies(video.clip.mouth_opening[:frames])]
    if not speaking:
        raise ValueError("no clip opens its mouth; use clips of people who speak")
    spoken, other = [measures[index] for index in speaking], [controls[index] for index in speaking]
    opening = _opening_sync([videos[index] for index in speaking], spoken, other)
    speeds = [one.head_speed for one in measures]

    def groups(label: Callable[[VideoMeasures], str]) -> dict[str, GroupSync]:
        return _grouped(spoken, label, opening.best_lag)

    return SyncReport(
        videos=len(videos),
        frames=frames,
        opening=opening,
        width=WidthSync(
            correlation=float(np.mean([one.width_correlation for one in spoken])),
            control=float(np.mean([control.width for control in other])),
        ),
        lips=_closed_lips(measures, controls),
        identity=Recognition(len(gallery.names), _means([one.identity for one in measures]), 1 / len(gallery.names)),
        face_in_region=_means([one.face_in_region for one in measures]),
        blinks_per_minute=_per_minute([one.blinks for one in measures], frames / model.config.frames_per_second),
        border_ratio=_means([one.border_ratio for one in measures]),
        reader=_means([one.reader for one in spoken]),
        head_speed_rank_correlation=rank_correlation(
            np.array([speed.read_on_renders for speed in speeds]), np.array([speed.of_renders for speed in speeds])
        ),
        picture=_means([one.picture for one in measures]),
        head_speed=_means(speeds),
        by_language=groups(lambda one: one.language and _known_language(one.language)),
        by_style=groups(lambda one: one.style),
        by_sound=groups(lambda one: one.sound),
        per_video=tuple(measures),
    )


def _other_sentences(clips: Mapping[str, TrainingClip], name: str, frames: int) -> list[TrainingClip]:
    """The clips in which somebody speaks for at least `frames` frames, but for that called `name`."""
    long_enough = {
        other: clip
        for other, clip in clips.items()
        if len(clip.mouth_opening) >= frames and varies(clip.mouth_opening[:frames])
    }
    others = [clip for other, clip in long_enough.items() if other != name]
    if not others:
        raise ValueError(f"the control needs two clips or more in which somebody speaks for {frames} frames")
    return others


def _opening_sync(
    videos: Sequence[EvaluatedVideo], measures: Sequence[VideoMeasures], controls: Sequence[OtherSentences]
) -> OpeningSync:
    by_lag = np.array([[one.opening_by_lag[lag] for lag in LAGS] for one in measures])  # [videos, lags]
    control_by_lag = np.array([control.opening for control in controls])  # [videos, sentences, lags]
    own, control = by_lag[:, LAGS.index(0)], control_by_lag[:, :, LAGS.index(0)]
    best_lag, best = best_lag_correlation([(video.reading.mouth_opening, video.clip.mouth_opening) for video in videos])
    return OpeningSync(
        correlation=float(own.mean()),
        standard_error=float(own.std(ddof=1) / len(own) ** 0.5) if len(own) > 1 else None,
        lowest=float(own.min()),
        highest=float(own.max()),
        by_lag={lag: float(value) for lag, value in zip(LAGS, by_lag.mean(0), strict=True)},
        best_lag=best_lag,
        best_lag_correlation=best,
        control=float(control.mean()),
        control_best_lag=float(control_by_lag.mean((0, 1)).max()),
        control_deviation=float(control.std()),
        control_sentences=control.shape[1],
        share_above_control=float((own[:, None] > control).mean()),
        deviation_ratio=float(np.mean([one.opening_deviation_ratio for one in measures])),
    )


def _closed_lips(measures: Sequence[VideoMeasures], controls: Sequence[OtherSentences]) -> ClosedLips:
    return ClosedLips(
        generated=LipClosures.total(one.lips for one in measures).share,
        renders=LipClosures.total(one.lips_of_renders for one in measures).share,
        control=LipClosures.total(control.lips for control in controls).share,
    )


def _per_minute(counts: Sequence[AgainstRenders], seconds: float) -> AgainstRenders:
    """Rates of events that are counted in videos of `seconds` seconds."""
    minutes = len(counts) * seconds / 60
    return AgainstRenders(
        generated=sum(count.generated or 0 for count in counts) / minutes,
        renders=sum(count.renders or 0 for count in counts) / minutes,
    )


def _means(measures: Sequence[_Averaged]) -> _Averaged:
    """The mean of each field, over the values that are there; None if there is none."""
    means = {}
    for field in fields(measures[0]):
        values = [getattr(one, field.name) for one in measures]
        known = [value for value in values if value is not None]
        means[field.name] = float(np.mean(known)) if known else None
    return type(measures[0])(**means)  # type: ignore[arg-type]


def _grouped(
    measures: Sequence[VideoMeasures], label: Callable[[VideoMeasures], str], best_lag: int
) -> dict[str, GroupSync]:
    """Groups of the same label, in its order; a video whose label is empty belongs to none."""
    groups: dict[str, list[VideoMeasures]] = {}
    for one in measures:
        if label(one):
            groups.setdefault(label(one), []).append(one)
    return {
        name: GroupSync(
            videos=len(members),
            correlation=float(np.mean([one.opening_by_lag[best_lag] for one in members])),
            lips_closed=LipClosures.total(one.lips for one in members).share,
        )
        for name, members in sorted(groups.items())
    }


def _known_language(language: str) -> str:
    return "known" if language in TRAINING_LANGUAGES else "unknown"
