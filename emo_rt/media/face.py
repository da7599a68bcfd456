"""Finds the face in a picture (OpenCV)."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from emo_rt.errors import InputError
from emo_rt.media.boxes import Box


@cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    """One of OpenCV's detectors of frontal faces."""
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_{name}.xml")  # type: ignore[attr-defined]


def detect_faces(image: np.ndarray) -> list[Box]:
    """Finds the faces in a picture.

    OpenCV's Haar cascades search the equalised picture, from the strictest setting to the most permissive one.

    Args:
        image: picture, RGB uint8 (height, width, 3)

    Returns:
        boxes around the faces, pixels, the largest first; an empty list if there is no face
    """
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for side in (320, 640):
        scale = side / min(width, height)
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        # The long side of a very long picture stays within bounds; its short side may then be below `side`.
        scale = min(scale, 2560 / max(width, height))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        scaled = cv2.equalizeHist(cv2.resize(grey, size, interpolation=interpolation))
        # A permissive detector sees faces in anything small, so it searches for large ones only.
        for name, neighbours, parts in (("alt2", 5, 8), ("default", 6, 8), ("alt2", 2, 4), ("default", 3, 4)):
            smallest = max(min(size) // parts, 24)
            found = _cascade(name).detectMultiScale(
                scaled, scaleFactor=1.08, minNeighbors=neighbours, minSize=(smallest, smallest)
            )
            boxes = [_clipped(Box(*(float(value / scale) for value in box)), width, height) for box in found]
            if boxes:
                return sorted(boxes, key=lambda box: box.width * box.height, reverse=True)
    return []


def _clipped(box: Box, width: int, height: int) -> Box:
    """The part of a box that lies inside a picture."""
    x, y = max(box.x, 0.0), max(box.y, 0.0)
    return Box(x, y, min(box.x + box.width, width) - x, min(box.y + box.height, height) - y)


def find_face(image: np.ndarray, name: str) -> Box:
    """Finds the largest face in a picture.

    Args:
        image: picture, RGB uint8 (height, width, 3)
        name: name of the picture, for the message

    Returns:
        box around the face, pixels

    Raises:
        InputError: if no face is found.
    """
    faces = detect_faces(image)
    if not faces:
        raise InputError(
            f"image {name}: no face found; say where it is with --face-box X,Y,WIDTH,HEIGHT in pixels of the picture"
        )
    return faces[0]
