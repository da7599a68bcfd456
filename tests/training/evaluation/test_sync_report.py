"""The report says of videos whose faces are known what is true of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from known_faces import GALLERY, perfect_video

from training.clips.clip import TrainingClip
from training.evaluation.evaluation import Evaluation
from training.evaluation.reader import FaceReader
from training.evaluation.sync_report import SyncReport, sync_report
from training.evaluation.thresholds import thresholds
from training.model.model import EmoModel


def passed(report: SyncReport) -> dict[str, bool | None]:
    evaluation = Evaluation(steps=1, guidance_scale=1.0, speed=0.0, sync=report)
    return {row.quantity: row.passed for row in thresholds(evaluation)}


def test_the_truth_scores_one_and_other_sentences_do_not(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    report = sync_report([perfect_video(name, clip) for name, clip in clips.items()], model, reader, clips, GALLERY)
    assert report.opening.correlation == pytest.approx(1)
    assert report.opening.deviation_ratio == pytest.approx(1)
    assert report.opening.best_lag == 0
    assert report.opening.control < 0.95
    assert report.opening.share_above_control == 1
    assert report.picture.nearest_frame_psnr == pytest.approx(100)
    assert report.head_speed.generated == report.head_speed.of_renders
    assert report.identity.share.generated == 1
    assert report.identity.chance == pytest.approx(1 / 3)
    assert report.face_in_region.generated == 1
    assert report.blinks_per_minute.generated == report.blinks_per_minute.renders
    for groups in (report.by_language, report.by_style, report.by_sound):
        assert sum(group.videos for group in groups.values()) == 3
    assert set(report.by_language) <= {"known", "unknown"}
    assert passed(report)["portrait is the nearest of 3"]
    assert passed(report)["face centre in the face region"]


def test_permuted_people_who_left_their_place_fail(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    videos = [perfect_video(name, clip) for name, clip in clips.items()]
    wrong = [
        replace(video, reading=replace(video.reading, identity=other.reading.identity, face_centre=np.ones((10, 2))))
        for video, other in zip(videos, [*videos[1:], videos[0]], strict=True)
    ]
    report = sync_report(wrong, model, reader, clips, GALLERY)
    assert report.identity.share.generated == report.face_in_region.generated == 0
    assert report.identity.share.renders == 1
    assert passed(report)["portrait is the nearest of 3"] is False
    assert passed(report)["face centre in the face region"] is False


def test_a_mouth_that_never_moves_scores_zero(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    video = perfect_video("4", clips["4"])
    closed = replace(video.reading, mouth_opening=np.full_like(video.reading.mouth_opening, 0.3))
    report = sync_report([replace(video, reading=closed)], model, reader, clips, GALLERY)
    assert report.opening.correlation == report.opening.control == 0
    assert report.opening.deviation_ratio == pytest.approx(0, abs=1e-6)
    assert "NaN" not in json.dumps(asdict(report))


def test_a_control_without_other_sentences_is_a_clear_error(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    with pytest.raises(ValueError, match="two clips or more"):
        sync_report([perfect_video("4", clips["4"])], model, reader, {"4": clips["4"]}, GALLERY)


def test_who_is_silent_has_no_mouth_to_follow(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    """A silent clip counts for all but the mouth, and is no other sentence."""
    name = next(iter(clips))
    silent = replace(clips[name], mouth_opening=np.full_like(clips[name].mouth_opening, 0.01))
    some = {**clips, name: silent}
    videos = [perfect_video(name, clip) for name, clip in some.items()]
    report, without = (sync_report(chosen, model, reader, some, GALLERY) for chosen in (videos, videos[1:]))
    assert report.videos == without.videos + 1
    assert report.opening == without.opening
    assert report.opening.correlation == pytest.approx(1)
    assert report.opening.control_sentences == len(clips) - 2
    assert report.width == without.width
    assert report.by_style == without.by_style
    with pytest.raises(ValueError, match="no clip opens its mouth"):
        sync_report(videos[:1], model, reader, some, GALLERY)
