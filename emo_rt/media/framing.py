"""Framing: what the video shows of a picture, the square around the face, or all of it with that square pasted back.

Inside of the square, the picture fades into the generated frame: at the border there is only the picture, and so
there is no edge to see. Outside of the square, every frame is the picture, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from emo_rt.errors import InputError
from emo_rt.media.boxes import Box

CROP, ORIGINAL = "crop", "original"
FRAMINGS = (CROP, ORIGINAL)
#: Longer and shorter side of the largest video of a whole picture, pixels: one core encodes it faster than it plays.
LARGEST_SIZE = (1920, 1080)
#: Smallest side of the region that frames are pasted into, pixels.
SMALLEST_REGION = 32
#: Narrowest and widest band in which the picture fades into the frame, as shares of the region's side.
FADES = (1 / 32, 1 / 8)


class Canvas:
    """A picture at the size of the video, and the region of it that frames are pasted into.

    A picture that is larger than `LARGEST_SIZE`, upright or not, is scaled down. Both sides are even, as H.264 wants
    them: a picture that is not scaled loses an odd column or row at its end.

    Args:
        image: picture, RGB uint8 (height, width, 3)
        crop: square that the portrait was cut out of, pixels of the picture
        face_box: the face, pixels of the picture; the fade keeps clear of it where there is room
        name: name of the picture, for the message

    Attributes:
        picture: picture at the size of the video, RGB uint8 (height, width, 3)
        scaled: whether it is smaller than the one that was given
        region: what the crop covers of it, whole pixels

    Raises:
        InputError: if the region is too small to show a face.
    """

    def __init__(self, image: np.ndarray, crop: Box, face_box: Box, name: str) -> None:
        height, width = image.shape[:2]
        scale = min(LARGEST_SIZE[0] / max(width, height), LARGEST_SIZE[1] / min(width, height))
        self.scaled = scale < 1
        self.picture = _scaled(image, scale) if self.scaled else image[: height // 2 * 2, : width // 2 * 2]
        self.region = self._covered(image, crop)
        columns, rows = int(self.region.width), int(self.region.height)
        if min(columns, rows) < SMALLEST_REGION:
            raise InputError(
                f"image {name}: the square around the face has {columns} x {rows} pixels of a video of "
                f"{self.size[0]} x {self.size[1]}, too few to paste into ({SMALLEST_REGION} x {SMALLEST_REGION} is the "
                "least); cut the picture closer to the face, or use --framing crop"
            )
        x, y = int(self.region.x), int(self.region.y)
        self._slices = (slice(y, y + rows), slice(x, x + columns))
        self._behind = np.ascontiguousarray(self.picture[self._slices])
        face = face_box.within(crop, 1)  # in shares of the crop's side
        across = _weights((x, x + columns), self.size[0], (face.x, 1 - face.x - face.width))
        down = _weights((y, y + rows), self.size[1], (face.y, 1 - face.y - face.height))
        self._weight = np.outer(down, across)
        self._weight_behind = 1 - self._weight

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the video, pixels."""
        return self.picture.shape[1], self.picture.shape[0]

    def _covered(self, image: np.ndarray, crop: Box) -> Box:
        """The region of the picture that a crop of the image covers."""
        edges = []
        for start, length, before, after in (
            (crop.x, crop.width, image.shape[1], self.size[0]),
            (crop.y, crop.height, image.shape[0], self.size[1]),
        ):
            scale = after / before if self.scaled else 1.0
            edges.append((round(start * scale), min(round((start + length) * scale), after)))
        (left, right), (top, bottom) = edges
        return Box(left, top, right - left, bottom - top)

    def paste(self, squares: np.ndarray) -> Iterator[np.ndarray]:
        """Pastes generated frames into the picture. The picture is copied once; each frame draws its region alone.

        Args:
            squares: frames, RGB uint8 (k, R, R, 3)

        Yields:
            k frames, RGB uint8 (height, width, 3), each valid until the next one
        """
        frame = self.picture.copy()
        rows, columns = self._weight.shape
        filtering = cv2.INTER_AREA if columns < squares.shape[2] else cv2.INTER_CUBIC
        for square in squares:
            resized = cv2.resize(square, (columns, rows), interpolation=filtering)
            frame[self._slices] = cv2.blendLinear(resized, self._behind, self._weight, self._weight_behind)
            yield frame


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """The picture in another size, with even sides."""
    height, width = image.shape[:2]
    size = (max(round(width * scale / 2), 1) * 2, max(round(height * scale / 2), 1) * 2)
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _weights(covered: tuple[int, int], length: int, rooms: tuple[float, float]) -> np.ndarray:
    """The weight of a frame along one axis: it grows from 0 at the border of the region to 1, without a kink.

    Where the region ends with the picture there is nothing to fade into, and the weight is 1.

    Args:
        covered: start and end of the region, pixels
        length: length of the picture, pixels
        rooms: room between the face and each of the two borders, as a share of the region

    Returns:
        weights, float32 (end - start,)
    """
    start, end = covered
    weights = np.ones(end - start)
    depths = np.arange(end - start)  # the outermost pixels are the picture itself
    for inside, room, depth in ((start > 0, rooms[0], depths), (end < length, rooms[1], depths[::-1])):
        if inside:
            share = np.clip(depth / (np.clip(room, *FADES) * (end - start)), 0, 1)
            weights *= share * share * (3 - 2 * share)
    return weights.astype(np.float32)
