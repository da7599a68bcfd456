"""The face that is animated: which of those that are found in a picture, and why none of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emo_rt.errors import InputError
from emo_rt.media.boxes import Box
from emo_rt.media.face_detector import CERTAIN, detect_faces

#: Pixels of the narrowest face that is animated; a smaller one would be blown up to a blur.
SMALLEST_FACE = 32

#: What to do where no face is taken.
_SAY_WHERE = (
    "say where it is with --face-box X,Y,WIDTH,HEIGHT, or face_box in Python and in a batch, in pixels of the picture"
)


def find_face(
    image: np.ndarray,
    name: str,
    number: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    *,
    scale: float = 1.0,
) -> Box:
    """Finds the face in a picture: the largest that is certainly one, or the one with a number.

    Faces below `SMALLEST_FACE` pixels do not count where there is a larger one.

    Example:
        box = find_face(read_image("us.jpg"), "us.jpg", number=2, say=print)

    Args:
        image: picture, RGB uint8 (height, width, 3)
        name: name of the picture, for the messages
        number: number of the face, counted from the left, from 1; None for the largest
        say: called with a line that says which face was taken, if there are several
        scale: pixels of the picture's file that a pixel of `image` stands for, along a side; the messages count in them

    Returns:
        box around the face, pixels of `image`

    Raises:
        InputError: if no face is found, what is found may be something else, all faces are below `SMALLEST_FACE`
            pixels, there is none of that number, or `image` is no picture.
    """
    found = detect_faces(image)
    faces = [face.box for face in found if face.confidence >= CERTAIN]
    if not faces and found:
        likeliest = max(found, key=lambda face: face.confidence)
        raise InputError(
            f"image {name}: no face found for certain; what resembles one most is at {_corner(likeliest.box, scale)} "
            f"({likeliest.confidence:.0%} sure): if it is one, {_SAY_WHERE}"
        )
    if not faces:
        raise InputError(f"image {name}: no face found; {_SAY_WHERE}")
    largest = faces[0]
    check_face_size(largest, name, scale)
    faces = sorted((box for box in faces if _is_large(box)), key=lambda box: box.x + box.width / 2)
    if number is not None and not 1 <= number <= len(faces):
        choice = "1 is the only one" if len(faces) == 1 else f"choose 1 to {len(faces)}, counted from the left"
        raise InputError(f"image {name}: there is no face {number}; {choice}")
    chosen = largest if number is None else faces[number - 1]
    if len(faces) > 1:
        which = "" if number is not None else ", the largest; choose another with --face N, or face=N in Python"
        place = f"face {faces.index(chosen) + 1} of {len(faces)} from the left, at {_corner(chosen, scale)}"
        say(f"image {name}: {place}{which}")
    return chosen


def check_face_size(box: Box, name: str, scale: float = 1.0) -> None:
    """Raises InputError for a face below `SMALLEST_FACE` pixels in the picture `name`."""
    if not _is_large(box):
        raise InputError(
            f"image {name}: the face at {_corner(box, scale)} is below {SMALLEST_FACE} pixels: "
            "give a larger picture of it"
        )


def _is_large(box: Box) -> bool:
    return min(box.width, box.height) >= SMALLEST_FACE


def _corner(box: Box, scale: float) -> str:
    """A box as `--face-box` takes it, in pixels of the picture's file."""
    box = box.scaled(scale)
    return ",".join(f"{value:.0f}" for value in (box.x, box.y, box.width, box.height))
