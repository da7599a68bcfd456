"""The record of a clip: what is written can be read, and what is unknown is absent."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from small_clips import small_clip

from emo_rt.media.boxes import Box
from training.clips.clip import CLIP_FIELDS, TrainingClip, portrait_of


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    clip = small_clip()
    clip.save(tmp_path / "clip.npz")
    loaded = TrainingClip.load(tmp_path / "clip.npz", needs=CLIP_FIELDS)
    for field in fields(TrainingClip):
        value, again = getattr(clip, field.name), getattr(loaded, field.name)
        assert type(again) is type(value)
        np.testing.assert_array_equal(again, value)
        assert getattr(again, "dtype", None) == getattr(value, "dtype", None)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]


def test_what_is_unknown_is_absent_from_the_file(tmp_path: Path) -> None:
    nothing = np.zeros(0, np.float32)
    footage = replace(small_clip(), phoneme_class=nothing, rotation=nothing, head_speed=nothing, text="", blink=nothing)
    footage.save(tmp_path / "clip.npz")
    with np.load(tmp_path / "clip.npz") as archive:
        assert set(archive) == set(CLIP_FIELDS) - {"phoneme_class", "rotation", "head_speed", "text", "blink"}
    loaded = TrainingClip.load(tmp_path / "clip.npz")
    assert loaded.knows("waveform", "face_box")
    assert not loaded.knows("waveform", "rotation")
    assert (len(loaded.rotation), loaded.text) == (0, "")


@pytest.mark.parametrize(
    ("absent", "hint"),
    [
        ("frames", "no clip of `python -m training.corpus`"),
        ("waveform", "only the image stage trains on videos without sound"),
        ("head_speed", "prepare the footage with --landmarker or --reader"),
        ("phoneme_class", "footage has no such labels"),
    ],
)
def test_a_field_that_is_needed_is_named_with_a_hint(absent: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    replace(small_clip(), **{absent: np.zeros(0)}).save(path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"clip.npz has no {absent}: .*{hint}"):
        TrainingClip.load(path, needs=[absent])


def test_a_clip_that_cannot_be_saved_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.npz"
    small_clip().save(path)
    before = path.read_bytes()

    def half(file: object, **arrays: np.ndarray) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="no space left"):
        small_clip(5).save(path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]


def test_the_portrait_is_the_frame_with_the_mouth_most_closed() -> None:
    clip = replace(small_clip(), mouth_opening=np.array([0.5, 0.1, 0.9], np.float32))
    frame, face = portrait_of(clip)
    np.testing.assert_array_equal(frame, clip.frames[1])
    assert face == Box(*map(float, clip.face_box[1]))
