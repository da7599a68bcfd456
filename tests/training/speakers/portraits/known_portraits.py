"""Faces whose landmarks are known, and a landmarker that sees them in colourful pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from emo_rt.media.boxes import Box

#: Middle, width and height of the face in sides of the picture.
MIDDLE, WIDTH, HEIGHT = np.array([0.5, 0.52]), 0.4, 0.56


def face_points(
    eyes: float = 0.3, mouth: float = 0.0, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    """Landmarks (478, 3) of a face.

    Args:
        eyes: height of the eyes in their widths.
        mouth: distance of the lips in heights of the face.
        yaw: angle to the right of the picture in degrees.
        pitch: angle down in degrees.
        roll: angle clockwise in degrees.
        scale: size of the face.
    """
    angle = np.linspace(0, 2 * np.pi, 478)
    points = np.stack([np.cos(angle) / 2, np.sin(angle) / 2, np.zeros(478)], 1)
    points[[10, 152, 234, 454]] = [[0, -0.5, 0], [0, 0.5, 0], [-0.5, 0, 0], [0.5, 0, 0]]
    points[[13, 14]] = [[0, 0.25 - mouth / 2, 0], [0, 0.25 + mouth / 2, 0]]
    for side, (upper, lower, right, left) in {-0.22: (159, 145, 33, 133), 0.22: (386, 374, 362, 263)}.items():
        height = eyes * 0.2 * WIDTH / HEIGHT
        points[[upper, lower]] = [[side, -0.1 - height / 2, 0], [side, -0.1 + height / 2, 0]]
        points[[right, left]] = [[side - 0.1, -0.1, 0], [side + 0.1, -0.1, 0]]
    points *= np.array([WIDTH, HEIGHT, 1]) * scale
    for first, second, degrees in ((0, 2, yaw), (1, 2, pitch), (0, 1, roll)):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        a, b = points[:, first].copy(), points[:, second].copy()
        points[:, first], points[:, second] = a * cosine - b * sine, a * sine + b * cosine
    points[:, :2] += MIDDLE
    return points.astype(np.float32)


class KnownFaces:
    """Sees one face in the middle of every picture whose upper left corner is not black.

    Args:
        points: landmarks of the face; None finds none.
        boxes: boxes of faces in sides of the picture.
        covered: share of the picture's width that the mask covers.
    """

    def __init__(
        self, points: np.ndarray | None = None, boxes: tuple[Box, ...] | None = None, covered: float = 1.0
    ) -> None:
        self._points, self._covered = points, covered
        corner = MIDDLE - np.array([WIDTH, HEIGHT]) / 2
        self._boxes = (Box(*corner, WIDTH, HEIGHT),) if boxes is None else boxes

    def faces(self, picture: np.ndarray) -> list[Box]:
        side = min(picture.shape[:2]) * bool(picture[0, 0].any())
        return [Box(*(side * value for value in (box.x, box.y, box.width, box.height))) for box in self._boxes if side]

    def landmarks(self, picture: np.ndarray) -> np.ndarray | None:
        return self._points

    def person(self, picture: np.ndarray) -> np.ndarray:
        mask = np.zeros(picture.shape[:2], np.uint8)
        mask[:, : int(self._covered * mask.shape[1])] = 255
        return mask


def colourful(side: int = 300, seed: int = 0) -> np.ndarray:
    """A picture uint8 (side, side, 3) of coarse coloured noise."""
    coarse = np.random.default_rng(seed).integers(40, 220, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side)))


def write_portrait(path: Path, seed: int = 0, face: bool = True) -> Path:
    """Writes a picture in which `KnownFaces` sees a face, or none."""
    picture = colourful(seed=seed).copy()
    picture[0, 0] *= face
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path
