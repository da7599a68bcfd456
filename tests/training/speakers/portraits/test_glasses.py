"""Thin lines across the nose and beside both eyes are glasses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from known_portraits import face_points

from training.speakers.portraits.glasses import frame_strength, wears_glasses


def _face(points: np.ndarray, side: int, parts: str) -> np.ndarray:
    """Skin with a vertical shade, and parts of a frame."""
    shade = np.linspace(200, 140, side)[:, None, None] * np.array([1, 0.8, 0.7])
    picture = np.broadcast_to(shade, (side, side, 3)).astype(np.uint8).copy()
    right, left = (points[corner, :2] * side for corner in (33, 263))
    across, middle = (left - right) * 0.5, (left + right) / 2
    for part, (start, end) in {"l": (0.9, 1.6), "r": (-1.6, -0.9), "b": (-0.3, 0.3)}.items():
        if part in parts:
            ends = [tuple(map(int, middle + across * place)) for place in (start, end)]
            cv2.line(picture, *ends, (30, 25, 20), max(2, side // 150), cv2.LINE_AA)  # type: ignore[call-overload]
    return picture


@pytest.mark.parametrize("side", [256, 448, 768])
@pytest.mark.parametrize("roll", [0, 12])
def test_a_frame_is_seen_at_all_sizes_and_tilted(side: int, roll: float) -> None:
    points = face_points(roll=roll)
    assert wears_glasses(_face(points, side, "lrb"), points)
    assert not wears_glasses(_face(points, side, ""), points)


@pytest.mark.parametrize("parts", ["lr", "b", "lb"])
def test_a_part_of_a_frame_is_none(parts: str) -> None:
    points = face_points()
    assert not wears_glasses(_face(points, 448, parts), points)


def test_a_darker_picture_has_the_same_frame() -> None:
    points = face_points()
    picture = _face(points, 448, "lrb")
    strength, dark = frame_strength(picture, points), frame_strength(picture // 2, points)
    assert 0.6 * strength < dark < strength
