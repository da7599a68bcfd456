"""Boxes around faces: the square that becomes the portrait, and the face region that the Face Locator takes.

The face region is the paper's mask M, the union of the face boxes over a clip (section 3.1, Face Locator).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_rt.errors import InputError

#: Smallest and largest share of a square picture's width that the face takes in a picture composed as a portrait.
PORTRAIT_FACE_FRACTIONS = (0.35, 0.7)


@dataclass(frozen=True)
class Box:
    """A rectangle in a picture.

    Attributes:
        x: left edge, pixels
        y: upper edge, pixels
        width: width, pixels
        height: height, pixels
    """

    x: float
    y: float
    width: float
    height: float

    def within(self, crop: Box, resolution: int) -> Box:
        """This box in the pixels of the square `crop` after the crop is resized to `resolution` pixels."""
        scale = resolution / crop.width
        return Box((self.x - crop.x) * scale, (self.y - crop.y) * scale, self.width * scale, self.height * scale)

    def scaled(self, scale: float) -> Box:
        """This box in a picture that is `scale` times as large."""
        if scale == 1:
            return self
        return Box(self.x * scale, self.y * scale, self.width * scale, self.height * scale)

    def fits(self, image_size: tuple[int, int]) -> bool:
        """Whether the box is at least a pixel wide and high and lies inside a picture of (width, height) pixels."""
        width, height = image_size
        return (
            self.x >= 0
            and self.y >= 0
            and self.width >= 1
            and self.height >= 1
            and self.x + self.width <= width
            and self.y + self.height <= height
        )


def check_box(box: Any, name: str = "face box") -> None:
    """Raises InputError for anything but a `Box`."""
    if not isinstance(box, Box):
        raise InputError(f"{name} is {box!r:.60}: give emo_rt.Box(x, y, width, height), in pixels")


def union(boxes: Iterable[Box]) -> Box:
    """The smallest box around all `boxes`.

    Raises:
        ValueError: if there is no box.
    """
    boxes = list(boxes)
    if not boxes:
        raise ValueError("the union of no boxes")
    x, y = min(box.x for box in boxes), min(box.y for box in boxes)
    right, bottom = max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes)
    return Box(x, y, right - x, bottom - y)


def face_region(box: Box, resolution: int, margin: float) -> np.ndarray:
    """The mask of where the face may be.

    Args:
        box: box around the face, pixels
        resolution: side R of the mask, pixels
        margin: margin around the box on each side, as a share of its size

    Returns:
        mask, float32 (1, 1, R, R), 1 inside and 0 outside
    """
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
    """The square of a picture that becomes the portrait.

    It is centred on the face as far as the picture allows. A picture that is a square portrait already is kept whole.

    Args:
        image_size: (width, height) of the picture, pixels
        face_box: box around the face, pixels
        face_fraction: width of the face, as a share of the square's side

    Returns:
        square, whole pixels

    Raises:
        InputError: if `face_box` is no `Box`.
    """
    check_box(face_box)
    width, height = image_size
    smallest, largest = PORTRAIT_FACE_FRACTIONS
    if width == height and smallest <= face_box.width / width <= largest:
        return Box(0, 0, width, height)
    wanted = max(face_box.width / face_fraction, face_box.height)
    side = min(max(round(wanted), 1), width, height)
    x = min(max(round(face_box.x + face_box.width / 2 - side / 2), 0), width - side)
    y = min(max(round(face_box.y + face_box.height / 2 - side / 2), 0), height - side)
    return Box(x, y, side, side)
