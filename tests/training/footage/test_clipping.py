"""Footage of generated speakers, whose truth is known, becomes clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from footage_videos import LENGTH, TheSameFace, one_video, report_of, same_pictures, the_clip, write_video

from emo_rt.media.boxes import Box
from training.clips.clip import TrainingClip
from training.evaluation.metrics import correlation
from training.footage import preparation
from training.footage.face_detector import DetectedFace
from training.footage.face_models import FaceModels
from training.model.config import EmoConfig
from training.samples.clip_folder import ClipFolder


def test_a_clip_shows_the_frames_and_gives_the_sound_of_its_second(
    prepared: Path, speakers: dict[str, TrainingClip]
) -> None:
    truth = speakers["anna"]
    clip = the_clip(prepared, "anna/talk.mp4")
    assert clip.frames.shape == (LENGTH, 32, 32, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.waveform.shape == (LENGTH * 640,)
    assert clip.waveform.dtype == np.float32
    np.testing.assert_array_equal(same_pictures(clip.frames, truth.frames), np.arange(LENGTH))
    lags = range(-64, 65)
    likeness = [correlation(np.roll(clip.waveform, lag)[64:-64], truth.waveform[:16000][64:-64]) for lag in lags]
    assert max(likeness) > 0.95
    assert abs(lags[int(np.argmax(likeness))]) <= 1  # of 16,000 a second


def test_boxes_are_where_the_face_and_the_mouth_are(prepared: Path, speakers: dict[str, TrainingClip]) -> None:
    truth, clip = speakers["anna"], the_clip(prepared, "anna/talk.mp4")
    np.testing.assert_allclose(clip.face_box, truth.face_box[:LENGTH] / 3, atol=3)
    corner, mouth = clip.mouth_box[:, :2], truth.mouth_box[:LENGTH] / 3
    assert (corner < mouth[:, :2]).mean() > 0.9
    assert (corner + clip.mouth_box[:, 2:] > mouth[:, :2] + mouth[:, 2:]).mean() >= 0.9


def test_what_footage_does_not_tell_is_absent(prepared: Path) -> None:
    (name,) = report_of(prepared)["anna/talk.mp4"]["clips"]  # type: ignore[misc]
    with np.load(prepared / name) as archive:
        assert set(archive) == {"frames", "waveform", "face_box", "mouth_box"}


class TurningHead(TheSameFace):
    """Says what a landmarker would, of a head that turns by a degree a frame."""

    def __init__(self) -> None:
        self.frames = 0

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        (face, *_) = super().detect(image)
        self.frames += 1
        mouth = Box(face.box.x + 14, face.box.y + 34, 20, 10)
        return [replace(face, mouth_box=mouth, rotation=np.array([float(self.frames), 0, 0]))]


def test_a_detector_that_knows_more_is_believed(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "load_face_models", lambda _: FaceModels(TurningHead()))
    write_video(tmp_path / "in" / "anna.mp4", speakers["anna"].frames, waveform=speakers["anna"].waveform)
    line, (clip,) = one_video(tmp_path / "in", tmp_path / "out", "--detect-every", "1")
    np.testing.assert_allclose(clip.head_speed, 1, atol=1e-4)
    np.testing.assert_allclose(clip.rotation[:, 0], 1 + np.arange(LENGTH), atol=1e-4)
    np.testing.assert_allclose(clip.mouth_box[:, 2:], np.full((LENGTH, 2), [20 / 3, 10 / 3]), atol=1e-4)
    assert line["seconds_with_rotation"] == 1.0
    made = tmp_path / "out" / str(line["split"])
    assert ClipFolder(made, EmoConfig.from_name("emo-test"), needs=("head_speed",)).names
