"""From a picture file to the portrait that the model takes: read, find the face, crop, resize."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_rt.bundle import RuntimeConfig
from emo_rt.errors import InputError
from emo_rt.media.boxes import Box, check_box, portrait_crop
from emo_rt.media.face import check_face_size, find_face
from emo_rt.media.image import crop_portrait, read_scaled_image


@dataclass(frozen=True)
class Picture:
    """A picture and where its portrait is.

    Attributes:
        image: picture as it is read, RGB uint8 (height, width, 3); a huge JPEG is read at a smaller scale
        face_box: the face in it, pixels
        crop: the square around the face that becomes the portrait, whole pixels
    """

    image: np.ndarray
    face_box: Box
    crop: Box

    def portrait(self, resolution: int) -> tuple[np.ndarray, Box]:
        """The portrait, RGB uint8 (R, R, 3) with R = `resolution` pixels, and the face in its pixels."""
        return crop_portrait(self.image, self.crop, resolution), self.face_box.within(self.crop, resolution)


def read_portrait(
    path: str | Path,
    config: RuntimeConfig,
    face_box: Box | None = None,
    *,
    face: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[np.ndarray, Box]:
    """Reads a picture and crops it around a face, as `Cascade.generate` takes it.

    Example:
        portrait, face_box = emo_rt.read_portrait("me.jpg", bundle.config)

    Args:
        path: picture file
        config: config of the bundle that the portrait is for
        face_box: the face in pixels of the picture's file; None to detect it
        face: number of the face that is detected, counted from the left, from 1; None for the largest
        say: called with a line that says which face was taken, if there are several

    Returns:
        The portrait, RGB uint8 (R, R, 3), and the face in its pixels.

    Raises:
        InputError: if the picture cannot be read, there is no such face, or `face_box` lies outside of the picture or
            is too small.
    """
    return read_picture(path, config, face_box, face=face, say=say).portrait(config.resolution)


def read_picture(
    path: str | Path,
    config: RuntimeConfig,
    face_box: Box | None = None,
    *,
    face: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Picture:
    """Reads a picture and finds its portrait; arguments and errors are those of `read_portrait`."""
    if face_box is not None:
        check_box(face_box)
    image, scale = read_scaled_image(path)
    height, width = (round(side * scale) for side in image.shape[:2])
    if scale > 1:
        say(f"image {path}: {width} x {height} pixels are many; it is read at {image.shape[1]} x {image.shape[0]}")
    if face_box is None:
        face_box = find_face(image, str(path), face, say, scale=scale)
    elif not face_box.fits((width, height)):
        x, y, w, h = (f"{value:g}" for value in (face_box.x, face_box.y, face_box.width, face_box.height))
        raise InputError(
            f"face box {x},{y},{w},{h} lies outside of the picture {path}: choose one within its {width} x {height} "
            "pixels"
        )
    else:
        face_box = face_box.scaled(1 / scale)
        check_face_size(face_box, str(path), scale)
    return Picture(image, face_box, portrait_crop(image.shape[1::-1], face_box, config.face_fraction))
