"""Judges read folders of clips and of videos, and say in one line what they lack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from made_readings import talking_clip
from PIL import Image

from training.evaluation.judges import face_mesh, identity
from training.evaluation.judges.judged_clips import JudgedClip, JudgedClips
from training.evaluation.judges.readings import (
    read_identity_readings,
    read_mesh_readings,
    write_readings,
)

ROOT = Path(__file__).parents[4]


class BrightFaces:
    """Sees a face in every picture that is not black; the brighter it is, the wider is the mouth open."""

    def faces(self, picture: np.ndarray) -> list[object]:
        raise AssertionError("a judge needs no box")

    def landmarks(self, picture: np.ndarray) -> np.ndarray | None:
        if not picture.any():
            return None
        face = np.zeros((478, 3), np.float32)
        face[[10, 152, 234, 454], :2] = [[0.5, 0], [0.5, 1], [0, 0.5], [1, 0.5]]
        face[[33, 133, 362, 263], :2] = [[0.2, 0.3], [0.4, 0.3], [0.6, 0.3], [0.8, 0.3]]
        face[[159, 145, 386, 374], :2] = [[0.3, 0.28], [0.3, 0.32], [0.7, 0.28], [0.7, 0.32]]
        face[[61, 291, 13, 14], :2] = [[0.3, 0.7], [0.6, 0.7], [0.5, 0.7], [0.5, 0.7 + picture.mean() / 1000]]
        return face

    def person(self, picture: np.ndarray) -> np.ndarray:
        raise AssertionError("a judge needs no mask")

    def point(self, picture: np.ndarray) -> np.ndarray | None:
        return picture.mean() / 255 * np.ones(128) if picture.any() else None


def _frames(*levels: int) -> np.ndarray:
    return np.stack([np.full((16, 16, 3), level, np.uint8) for level in levels])


def test_the_face_mesh_reads_every_frame(tmp_path: Path) -> None:
    readings = face_mesh.read_meshes([JudgedClip("a", _frames(50, 0, 200), "a")], BrightFaces())
    write_readings(tmp_path / "mesh.json", readings)
    (reading,) = read_mesh_readings(tmp_path / "mesh.json").values()
    np.testing.assert_allclose(reading.opening, [0.05, np.nan, 0.2], atol=1e-4)
    np.testing.assert_allclose(reading.width, [0.5, np.nan, 0.5], atol=1e-4)
    np.testing.assert_allclose(reading.eyes, [0.2, np.nan, 0.2], atol=1e-4)
    np.testing.assert_allclose(reading.rotation[[0, 2]], 0, atol=1e-4)
    assert np.isnan(reading.rotation[1]).all()


def test_the_recogniser_looks_at_some_frames_and_at_the_photograph(tmp_path: Path) -> None:
    Image.fromarray(_frames(102)[0]).save(tmp_path / "anna-1.jpg")
    clips = [JudgedClip("a", _frames(51, 255, 0, 255, 51), "anna", "anna-1"), JudgedClip("b", _frames(0, 0), "b")]
    readings = identity.read_identities(clips, BrightFaces(), None, 3)
    assert not len(readings["a"].portrait)
    with pytest.raises(ValueError, match=r"\.jpg, which a clip shows, cannot be read"):
        identity.read_identities(clips, BrightFaces(), tmp_path / "gone", 3)
    write_readings(tmp_path / "identity.json", identity.read_identities(clips[:1], BrightFaces(), tmp_path, 3))
    reading = read_identity_readings(tmp_path / "identity.json")["a"]
    np.testing.assert_allclose(reading.frames, np.full((2, 128), 0.2))
    np.testing.assert_allclose(reading.portrait, 0.4, atol=0.01)
    assert reading.person == "anna"


def test_clips_without_a_photograph_need_none(tmp_path: Path) -> None:
    reading = identity.read_identities([JudgedClip("a", _frames(0, 51), "a")], BrightFaces(), tmp_path, 2)["a"]
    assert reading.frames.shape == (1, 128)
    assert not len(reading.portrait)


def _write_video(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width = frames.shape[1:3]
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def test_videos_are_judged_too(tmp_path: Path) -> None:
    _write_video(tmp_path / "anna.mp4", _frames(60, 60, 200))
    clips = JudgedClips(tmp_path)
    (clip,) = clips
    assert (len(clips), clip.name, clip.person, clip.photograph) == (1, "anna", "anna", "")
    np.testing.assert_allclose(clip.frames.mean((1, 2, 3)), [60, 60, 200], atol=3)


def test_clips_say_who_is_seen_in_both_forms(tmp_path: Path) -> None:
    talking_clip(person="anna").save(tmp_path / "a.npz")
    talking_clip(person="anna").save(tmp_path / "b.labels.npz")
    talking_clip().save(tmp_path / "c.npz")
    seen = [(clip.name, len(clip.frames), clip.person, clip.photograph) for clip in JudgedClips(tmp_path)]
    assert seen == [("a", 60, "anna", "anna-1"), ("b", 60, "anna", "anna-1"), ("c", 60, "c", "")]


@pytest.mark.parametrize("judge", [face_mesh, identity])
def test_what_is_missing_is_said_in_one_line(
    judge: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    monkeypatch.setattr(identity.importlib.util, "find_spec", lambda _: None)
    (tmp_path / "empty").mkdir()
    (tmp_path / "clips").mkdir()
    talking_clip().save(tmp_path / "clips" / "a.npz")
    out = tmp_path / "out" / "readings.json"
    for folder, words in (
        ("gone", "no such folder"),
        ("empty", "neither clips (.npz) nor videos"),
        ("clips", "needed"),
    ):
        assert judge.main([str(tmp_path / folder), str(out)]) == 2  # type: ignore[attr-defined]
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert words in error
        assert not out.parent.exists()


@pytest.mark.parametrize("judge", ["face_mesh", "identity"])
def test_a_judge_loads_little(judge: str) -> None:
    code = f"import sys, training.evaluation.judges.{judge}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not {"torch", "onnxruntime", "diffusers", "scipy", "cv2", "av"} & set(loaded.split())
