"""What MediaPipe's landmarks say of a face: mouth, eyes and rotation. Faces are (478, 3) as in `Photograph`."""

from __future__ import annotations

import numpy as np

# Landmarks, by MediaPipe's numbers.
_FOREHEAD, _CHIN, _RIGHT_CHEEK, _LEFT_CHEEK = 10, 152, 234, 454
_UPPER_LIP, _LOWER_LIP, _RIGHT_MOUTH, _LEFT_MOUTH = 13, 14, 61, 291
_RIGHT_EYE, _LEFT_EYE = (159, 145, 33, 133), (386, 374, 263, 362)  # upper lid, lower lid, outer and inner corner


def lip_distance(face: np.ndarray) -> float:
    """Distance of the lips' inner edges, in heights of the face."""
    return _distance(face, _UPPER_LIP, _LOWER_LIP) / _distance(face, _FOREHEAD, _CHIN)


def lip_width(face: np.ndarray) -> float:
    """Distance of the corners of the mouth, in distances of the eyes' outer corners."""
    return _distance(face, _RIGHT_MOUTH, _LEFT_MOUTH) / _distance(face, _RIGHT_EYE[2], _LEFT_EYE[2])


def eye_heights(face: np.ndarray) -> tuple[float, float]:
    """Heights of the right and the left eye between the lids, in their widths."""
    right, left = (_distance(face, *eye[:2]) / _distance(face, *eye[2:]) for eye in (_RIGHT_EYE, _LEFT_EYE))
    return right, left


def face_rotation(face: np.ndarray) -> tuple[float, float, float]:
    """Yaw to the right of the picture, pitch down and roll clockwise in degrees.

    They are those of the lines between the cheeks and from forehead to chin, so a frontal face has some pitch.
    """
    across, down = face[_LEFT_CHEEK] - face[_RIGHT_CHEEK], face[_CHIN] - face[_FOREHEAD]
    yaw, pitch, roll = np.degrees(np.arctan2([across[2], down[2], across[1]], [across[0], down[1], across[0]]))
    return float(yaw), float(pitch), float(roll)


def _distance(face: np.ndarray, first: int, second: int) -> float:
    return float(np.linalg.norm(face[first, :2] - face[second, :2]))
