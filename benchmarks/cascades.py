"""OpenCV's cascades of 2001's kind, which emo-rt searched with before YuNet: what its detector is compared with."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from emo_rt.media.boxes import Box


def cascade_faces(image: np.ndarray) -> list[Box]:
    """The faces in a picture by Haar cascades, from the strictest setting to the most permissive one.

    Args:
        image: picture, RGB uint8 (height, width, 3)

    Returns:
        boxes around the faces, pixels, the largest first; an empty list if there is no face
    """
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for side in (320, 640):
        scale = min(side / min(width, height), 2560 / max(width, height))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        scaled = cv2.equalizeHist(cv2.resize(grey, size, interpolation=interpolation))
        # A permissive detector sees faces in anything small, so it searches for large ones only.
        for name, neighbours, parts in (("alt2", 5, 8), ("default", 6, 8), ("alt2", 2, 4), ("default", 3, 4)):
            smallest = max(min(size) // parts, 24)
            found = _cascade(name).detectMultiScale(scaled, 1.08, neighbours, minSize=(smallest, smallest))
            boxes = [Box(*(float(value / scale) for value in box)) for box in found]
            if boxes:
                return sorted(boxes, key=lambda box: box.width, reverse=True)
    return []


@cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_{name}.xml")  # type: ignore[attr-defined]
