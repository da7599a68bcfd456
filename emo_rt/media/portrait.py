"""From a picture file to the portrait that the model takes: read, find the face, crop, resize."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from emo_rt.bundle import RuntimeConfig
from emo_rt.errors import InputError
from emo_rt.media.boxes import Box, portrait_crop
from emo_rt.media.face import check_face_size, find_face
from emo_rt.media.image import crop_portrait, read_image


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
        face_box: the face in pixels of the picture; None to detect it
        face: number of the face that is detected, counted from the left, from 1; None for the largest
        say: called with a line that says which face was taken, if there are several

    Returns:
        The portrait, RGB uint8 (R, R, 3), and the face in its pixels.

    Raises:
        InputError: if the picture cannot be read, there is no such face, or `face_box` lies outside of the picture or
            is too small.
    """
    image = read_image(path)
    height, width = image.shape[:2]
    if face_box is None:
        face_box = find_face(image, str(path), face, say)
    elif not face_box.fits((width, height)):
        x, y, w, h = (f"{value:g}" for value in (face_box.x, face_box.y, face_box.width, face_box.height))
        raise InputError(
            f"face box {x},{y},{w},{h} lies outside of the picture {path}: choose one within its {width} x {height} "
            "pixels"
        )
    else:
        check_face_size(face_box, str(path))
    crop = portrait_crop((width, height), face_box, config.face_fraction)
    return crop_portrait(image, crop, config.resolution), face_box.within(crop, config.resolution)
