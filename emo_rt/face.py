"""Where the face is: detection, the square crop around it, and the face region that the Face Locator takes.

The face region is the paper's mask M, the union of the face boxes over a clip (section 3.1, Face Locator).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from PIL import Image

from emo_rt.errors import InputError

# A square picture whose face takes this much of its width was composed as a portrait already.
PORTRAIT_FACE_FRACTIONS = (0.35, 0.7)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; `x`, `y` is its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def within(self, crop: Box, resolution: int) -> Box:
        """This box in the pixels of `crop` (a square) after that was resized to `resolution`."""
        scale = resolution / crop.width
        return Box((self.x - crop.x) * scale, (self.y - crop.y) * scale, self.width * scale, self.height * scale)

    def fits(self, image_size: tuple[int, int]) -> bool:
        """Whether the box is not empty and lies inside a picture of (width, height) pixels."""
        width, height = image_size
        return (
            self.x >= 0
            and self.y >= 0
            and self.width >= 1
            and self.height >= 1
            and self.x + self.width <= width
            and self.y + self.height <= height
        )


def union(boxes: Iterable[Box]) -> Box:
    """The smallest box around all `boxes`.

    Raises:
        ValueError: if there is none.
    """
    boxes = list(boxes)
    if not boxes:
        raise ValueError("the union of no boxes")
    x, y = min(box.x for box in boxes), min(box.y for box in boxes)
    right, bottom = max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes)
    return Box(x, y, right - x, bottom - y)


def face_region(box: Box, resolution: int, margin: float) -> np.ndarray:
    """The mask of `box` enlarged by `margin` of its size on each side: float32 (1, 1, R, R), 1 inside and 0 outside."""
    edges = (
        box.x - margin * box.width,
        box.y - margin * box.height,
        box.x + (1 + margin) * box.width,
        box.y + (1 + margin) * box.height,
    )
    left, top, right, bottom = (min(max(round(edge), 0), resolution) for edge in edges)
    region = np.zeros((1, 1, resolution, resolution), dtype=np.float32)
    region[:, :, top:bottom, left:right] = 1.0
    return region


def portrait_crop(image_size: tuple[int, int], face_box: Box, face_fraction: float) -> Box:
    """The square of a picture of (width, height) pixels that becomes the portrait; whole pixels.

    Centred on the face as well as the picture allows, with the face about `face_fraction` of its side wide. A picture
    that is already a square portrait is kept whole.
    """
    width, height = image_size
    smallest, largest = PORTRAIT_FACE_FRACTIONS
    if width == height and smallest <= face_box.width / width <= largest:
        return Box(0, 0, width, height)
    wanted = max(face_box.width / face_fraction, face_box.height)
    side = min(max(round(wanted), 1), width, height)
    x = min(max(round(face_box.x + face_box.width / 2 - side / 2), 0), width - side)
    y = min(max(round(face_box.y + face_box.height / 2 - side / 2), 0), height - side)
    return Box(x, y, side, side)


def crop_portrait(image: np.ndarray, crop: Box, resolution: int) -> np.ndarray:
    """The `crop` of an RGB picture uint8 (height, width, 3), resized: uint8 (R, R, 3)."""
    left, top, side = int(crop.x), int(crop.y), int(crop.width)
    square = Image.fromarray(image[top : top + side, left : left + side])
    resized = square.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(resized)


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
