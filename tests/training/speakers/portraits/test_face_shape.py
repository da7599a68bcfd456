"""Landmarks say how a mouth is shaped, how far eyes are open, and how a head is turned."""

from __future__ import annotations

import numpy as np
import pytest
from known_portraits import face_points

from training.speakers.portraits.face_shape import eye_heights, face_rotation, lip_distance, lip_width


def test_mouth_and_eyes_are_read() -> None:
    face = face_points(eyes=0.25, mouth=0.12)
    assert lip_distance(face) == pytest.approx(0.12, abs=1e-3)
    assert eye_heights(face) == pytest.approx((0.25, 0.25), abs=1e-2)
    face[[61, 291]] = face[[33, 263]]
    assert lip_width(face) == pytest.approx(1)


@pytest.mark.parametrize("angles", [(12, 0, 0), (0, 20, 0), (0, 0, 15), (-12, 0, 0), (0, -20, 0), (0, 0, -15)])
def test_angles_are_read_with_their_directions(angles: tuple[float, float, float]) -> None:
    yaw, pitch, roll = angles
    assert np.allclose(face_rotation(face_points(yaw=yaw, pitch=pitch, roll=roll)), angles, atol=0.5)


def test_the_directions_are_those_of_the_labels() -> None:
    """To the right of the picture the left cheek goes away; down, the chin does; clockwise, the left cheek sinks."""
    face = face_points()
    for point, axis, angle in ((454, 2, 0), (152, 2, 1), (454, 1, 2)):
        moved = face.copy()
        moved[point, axis] += 0.05
        assert face_rotation(moved)[angle] > 5
