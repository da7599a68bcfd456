"""Numbers and boxes that a user gives, as text on the command line or in a CSV file, or as values in Python.

Every function takes the `name` of the input as the user knows it (`--seed`, `seed`), for the message.
"""

from __future__ import annotations

import math
from numbers import Integral

from emo_rt.cascade.clips import MAX_SEED
from emo_rt.errors import InputError
from emo_rt.media.boxes import Box


def parse_whole(text: str, name: str, smallest: int, largest: int | None = None) -> int:
    """A whole number from `smallest` to `largest`, or without an upper limit.

    Raises:
        InputError: for any other text.
    """
    bounds = f"{smallest} or more" if largest is None else f"{smallest} to {largest}"
    try:
        value = int(text)
    except ValueError:
        raise InputError(f"{name} {text!r} is no whole number: choose {bounds}") from None
    if value < smallest or (largest is not None and value > largest):
        raise InputError(f"{name} {text!r} is out of range: choose {bounds}")
    return value


def parse_number(text: str, name: str) -> float:
    """A finite number from 0 up.

    Raises:
        InputError: for any other text, `nan` and `inf` included.
    """
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{name} {text!r} is no number: choose 0 or more") from None
    check_number(value, f"{name} {text!r}")
    return value


def parse_positive(text: str, name: str) -> float:
    """A finite number above 0.

    Raises:
        InputError: for any other text, `nan` and `inf` included.
    """
    value = parse_number(text, name)
    check_positive(value, f"{name} {text!r}")
    return value


def parse_seed(text: str, name: str) -> int:
    """A seed.

    Raises:
        InputError: for anything but a whole number from 0 to `MAX_SEED`.
    """
    return parse_whole(text, name, 0, MAX_SEED)


def parse_box(text: str, name: str) -> Box:
    """A box in whole pixels, its four numbers between commas or spaces.

    Raises:
        InputError: for any other text, a corner left of or above the picture, or a side below 1 pixel.
    """
    try:
        x, y, width, height = (int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise InputError(f"{name} {text!r} is not of the form X,Y,W,H: give whole pixels") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise InputError(f"{name} {text!r} is out of range: X and Y are 0 or more, W and H 1 or more")
    return Box(x, y, width, height)


def check_seed(seed: int, name: str) -> None:
    """Raises InputError for anything but a whole number from 0 to `MAX_SEED`."""
    if not isinstance(seed, Integral) or not 0 <= seed <= MAX_SEED:
        raise InputError(f"{name} is out of range: choose a whole number from 0 to {MAX_SEED}")


def check_number(value: float, name: str) -> None:
    """Raises InputError for a number below 0, NaN or infinity."""
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is out of range: choose 0 or more")


def check_positive(value: float, name: str) -> None:
    """Raises InputError for 0, a number below it, NaN or infinity."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is out of range: choose a number above 0")
