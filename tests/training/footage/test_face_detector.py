"""What MediaPipe gives becomes boxes and angles."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from training.clips.rotation import rotation_angles, rotation_matrix
from training.footage.face_detector import MediaPipeDetector, faces_of_landmarks


def test_angles_undo_the_scenes_rotation_matrix() -> None:
    angles = torch.tensor([[20.0, -12.0, 7.0], [-35.0, 15.0, -20.0]], dtype=torch.float64)
    for wanted, matrix in zip(angles.numpy(), rotation_matrix(angles).numpy(), strict=True):
        np.testing.assert_allclose(rotation_angles(3.0 * matrix), wanted, atol=1e-9)


def test_landmarks_give_boxes_and_rotation() -> None:
    """MediaPipe's space has y up: what turns its head down is a positive pitch of ours."""
    places = np.full((478, 2), 0.5)
    places[[10, 152, 234, 454]] = [[0.5, 0.2], [0.5, 0.8], [0.3, 0.5], [0.7, 0.5]]
    places[[61, 291, 0, 17]] = [[0.45, 0.65], [0.55, 0.65], [0.5, 0.6], [0.5, 0.7]]
    lips = [146, 91, 181, 84, 314, 405, 321, 375, 185, 40, 39, 37, 267, 269, 270, 409]
    places[lips] = [0.5, 0.65]
    down = np.eye(4)
    cosine, sine = np.cos(np.deg2rad(10)), np.sin(np.deg2rad(10))
    down[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]  # z, towards the viewer, turns to -y
    small = [SimpleNamespace(x=0.1 + 0.01 * x, y=0.1 + 0.01 * y) for x, y in places]
    large = [SimpleNamespace(x=x, y=y) for x, y in places]
    result = SimpleNamespace(face_landmarks=[small, large], facial_transformation_matrixes=[np.eye(4), down])
    first, second = faces_of_landmarks(result, 200, 100)
    assert first.mouth_box is not None
    assert first.rotation is not None
    np.testing.assert_allclose([first.box.x, first.box.y, first.box.width, first.box.height], [60, 20, 80, 60])
    mouth = first.mouth_box
    np.testing.assert_allclose([mouth.x, mouth.y, mouth.width, mouth.height], [90, 60, 20, 10])
    np.testing.assert_allclose(first.rotation, [0, 10, 0], atol=1e-6)
    assert second.box.width < 1


def test_the_package_is_named_if_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "face.task").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    with pytest.raises(ValueError, match="--landmarker needs the package mediapipe"):
        MediaPipeDetector(tmp_path / "face.task")
