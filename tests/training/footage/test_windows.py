"""Which stretches of a video become clips, and why the others do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from footage_videos import LENGTH, one_video, report_of, same_pictures, the_clip, write_video

from emo_rt.media.boxes import Box
from training.clips.clip import TrainingClip
from training.footage import preparation
from training.footage.face_detector import DetectedFace
from training.footage.face_models import FaceModels
from training.speakers.speaker import make_clip


def test_each_rejected_video_has_its_reason(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(prepared)
    assert set(report["hill.mp4"]["rejected"]) == {"no face", "end of a shot"}  # type: ignore[call-overload]
    assert set(report["two_1.mp4"]["rejected"]) == {"two faces", "end of a shot"}  # type: ignore[call-overload]
    assert report["short.mp4"]["rejected"] == {"too short": 0.4}
    for name in ("cut_off.mp4", "words.mp4"):
        assert report[name]["rejected"] == {"unreadable": 0.0}
        assert report[name]["error"]
    assert all(not report[name]["clips"] for name in ("hill.mp4", "two_1.mp4", "short.mp4", "cut_off.mp4", "words.mp4"))


def test_no_clip_goes_across_a_cut(prepared: Path, speakers: dict[str, TrainingClip]) -> None:
    outcome = report_of(prepared)["ben/cut.mp4"]
    # 28 frames, of which 25 make a clip, and 10 after the cut
    assert outcome["rejected"] == {"end of a shot": 0.12, "shot too short": 0.4}
    frames = the_clip(prepared, "ben/cut.mp4").frames
    np.testing.assert_array_equal(same_pictures(frames, speakers["ben"].frames), np.arange(LENGTH))


def test_a_picture_that_stops_ends_the_shot(tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    times = np.arange(29) / 25 + np.where(np.arange(29) < 27, 0, 1.0)
    write_video(tmp_path / "in" / "stops.mkv", speakers["anna"].frames[:29], times, speakers["anna"].waveform)
    line, (clip,) = one_video(tmp_path / "in", tmp_path / "out")
    assert line["rejected"]["picture stopped"] == pytest.approx(1 - 2 * 0.1, abs=0.09)  # type: ignore[index]
    np.testing.assert_array_equal(same_pictures(clip.frames, speakers["anna"].frames), np.arange(LENGTH))


def test_small_and_dark_faces_and_muted_sound(tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    anna = speakers["anna"]
    write_video(tmp_path / "a" / "muted.mp4", anna.frames, waveform=0 * anna.waveform)
    line, (clip,) = one_video(tmp_path / "a", tmp_path / "1")
    assert not clip.knows("waveform")
    assert line["seconds_with_sound"] == 0
    line, clips = one_video(tmp_path / "a", tmp_path / "2", "--min-face", "70")
    assert line["rejected"]["face too small"] == 1.0  # type: ignore[index]
    write_video(tmp_path / "b" / "dark.mp4", (anna.frames * 0.1).astype(np.uint8), waveform=anna.waveform)
    line, clips = one_video(tmp_path / "b", tmp_path / "3")
    assert not clips
    assert line["rejected"]["too dark"] == 1.0  # type: ignore[index]


def test_the_crop_is_a_portraits_and_stays_for_a_shot(tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    """A small head that wanders through a wide picture."""
    anna = make_clip(1, 2.04, 96)
    wide = np.full((51, 160, 280, 3), 90, np.uint8)
    for index, frame in enumerate(anna.frames):
        wide[index, 40:136, 60 + index // 3 : 156 + index // 3] = frame
    write_video(tmp_path / "in" / "wide.mp4", wide, waveform=anna.waveform)
    _, clips = one_video(tmp_path / "in", tmp_path / "out", "--resolution", "64")
    assert len(clips) == 2
    boxes = np.concatenate([clip.face_box for clip in clips])
    assert np.median(boxes[:, 2]) == pytest.approx(32, abs=2)  # half of the picture
    moved = boxes[-5:, 0].mean() - boxes[:5, 0].mean()
    truth = (anna.face_box[45:50, 0].mean() + 16 - anna.face_box[:5, 0].mean()) * 32 / anna.face_box[:, 2].mean()
    assert moved == pytest.approx(truth, abs=3)


class Passing:
    """Sees a face where `x` (t,) says, in widths of the picture; none where that is NaN."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = iter(x)

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        x, (height, width) = next(self.x), image.shape[:2]
        return [] if np.isnan(x) else [DetectedFace(Box(x * width, 0.3 * height, 0.5 * height, 0.5 * height))]


def test_what_is_missed_or_mistaken_is_put_in_between(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = np.linspace(0.2, 0.3, LENGTH)
    seen = path.copy()
    seen[[7, 20]], seen[12] = np.nan, 0.9
    monkeypatch.setattr(preparation, "load_face_models", lambda _: FaceModels(Passing(seen)))
    write_video(tmp_path / "in" / "anna.mp4", speakers["anna"].frames[:LENGTH])
    _, (clip,) = one_video(tmp_path / "in", tmp_path / "out", "--detect-every", "1")
    np.testing.assert_allclose(clip.face_box[:, 0], 32 * path, atol=1e-3)
    seen[[8, 9]] = np.nan
    monkeypatch.setattr(preparation, "load_face_models", lambda _: FaceModels(Passing(seen)))
    line, _ = one_video(tmp_path / "in", tmp_path / "again", "--detect-every", "1")
    assert line["rejected"] == {"no face": 1.0}


def test_a_face_that_leaves_the_crop_makes_no_clip(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = np.concatenate([np.full(LENGTH, 0.4), np.linspace(0.4, 0.8, LENGTH), np.full(LENGTH, 0.4)])
    monkeypatch.setattr(preparation, "load_face_models", lambda _: FaceModels(Passing(seen)))
    wide = np.full((3 * LENGTH, 64, 192, 3), 128, np.uint8)
    write_video(tmp_path / "in" / "wide.mp4", wide)
    line, _ = one_video(tmp_path / "in", tmp_path / "out", "--detect-every", "1")
    assert line["rejected"] == {"face leaves the crop": 1.0}
    assert [str(name)[-10:-4] for name in line["clips"]] == ["000000", "000050"]  # type: ignore[attr-defined]
