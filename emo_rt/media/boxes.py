"""Boxes around faces, the square that is cropped around one, and the face region that the Face Locator takes.

The face region is the paper's mask M, the union of the face boxes over a clip (section 3.1, Face Locator).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

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
