"""Finding the face in a picture (OpenCV)."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from emo_rt.errors import InputError
from emo_rt.media.boxes import Box


@cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_{name}.xml")  # type: ignore[attr-defined]


def detect_faces(image: np.ndarray) -> list[Box]:
    """Faces in an RGB picture uint8 (height, width, 3), the largest first; an empty list if there is none.

    OpenCV's Haar cascades on the equalised picture, from the strictest setting to the most willing.
    """
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for side in (320, 640):
        scale = side / min(width, height)
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        # A very long picture stays within bounds: its short side may then be below `side`.
        scale = min(scale, 2560 / max(width, height))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        scaled = cv2.equalizeHist(cv2.resize(grey, size, interpolation=interpolation))
        # A willing detector sees faces in anything small, so that it is asked for large ones only.
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
    x, y = max(box.x, 0.0), max(box.y, 0.0)
    return Box(x, y, min(box.x + box.width, width) - x, min(box.y + box.height, height) - y)


def find_face(image: np.ndarray, name: str) -> Box:
    """The largest face of an RGB picture uint8 (height, width, 3); `name` is the picture's, for the message.

    Raises:
        InputError: if no face is found.
    """
    faces = detect_faces(image)
    if not faces:
        raise InputError(
            f"image {name}: no face found; say where it is with --face-box X,Y,WIDTH,HEIGHT in pixels of the picture"
        )
    return faces[0]
