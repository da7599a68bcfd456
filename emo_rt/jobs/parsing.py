"""Numbers and boxes that a user gives, as text on the command line or in a CSV file, or as values in Python.

Every function takes the `name` of the input as the user knows it (`--seed`, `seed`), for the message.
"""

from __future__ import annotations

import math
import os
from numbers import Integral, Real

from emo_rt.cascade.clips import MAX_SEED
from emo_rt.errors import InputError
from emo_rt.limits import MAX_GUIDANCE_SCALE, MAX_SPEED
from emo_rt.media.boxes import Box

#: Largest number of CPU threads: more than there are cores help nobody, and some thousand never get started.
MAX_THREADS = max(128, os.cpu_count() or 1)
#: Largest number of pixels on a side of a picture, whatever its format.
MAX_PIXELS = 2**31
#: Characters of a wrong value that a message shows.
_SHOWN = 40


def shown(value: object) -> str:
    """A wrong value as a message shows it: in quotes if it is text, and not for pages."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 10]}...{text[-7:]}"


def parse_whole(text: str, name: str, smallest: int, largest: int | None = None) -> int:
    """A whole number from `smallest` to `largest`, or without an upper limit.

    Raises:
        InputError: for any other text.
    """
    bounds = f"{smallest} or more" if largest is None else f"{smallest} to {largest}"
    try:
        value = int(text)
    except ValueError:
        raise InputError(f"{name} {shown(text)} is no whole number: choose {bounds}") from None
    if value < smallest or (largest is not None and value > largest):
        raise InputError(f"{name} {shown(text)} is out of range: choose {bounds}")
    return value


def parse_number(text: str, name: str, largest: float | None = None) -> float:
    """A finite number from 0 to `largest`, or without an upper limit.

    Raises:
        InputError: for any other text, `nan` and `inf` included.
    """
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{name} {shown(text)} is no number: choose {_bounds(largest)}") from None
    check_number(value, f"{name} {shown(text)}", largest)
    return value


def parse_positive(text: str, name: str) -> float:
    """A finite number above 0.

    Raises:
        InputError: for any other text, `nan` and `inf` included.
    """
    value = parse_number(text, name)
    check_positive(value, f"{name} {shown(text)}")
    return value


def parse_seed(text: str, name: str) -> int:
    """A seed.

    Raises:
        InputError: for anything but a whole number from 0 to `MAX_SEED`.
    """
    return parse_whole(text, name, 0, MAX_SEED)


def parse_speed(text: str, name: str) -> float:
    """A speed of the head, degrees per frame.

    Raises:
        InputError: for anything but a number from 0 to `MAX_SPEED`.
    """
    return parse_number(text, name, MAX_SPEED)


def parse_guidance_scale(text: str, name: str) -> float:
    """A guidance scale.

    Raises:
        InputError: for anything but a number from 0 to `MAX_GUIDANCE_SCALE`.
    """
    return parse_number(text, name, MAX_GUIDANCE_SCALE)


def parse_threads(text: str, name: str) -> int:
    """A number of CPU threads.

    Raises:
        InputError: for anything but a whole number from 1 to `MAX_THREADS`.
    """
    return parse_whole(text, name, 1, MAX_THREADS)


def parse_box(text: str, name: str) -> Box:
    """A box in whole pixels, its four numbers between commas or spaces.

    Raises:
        InputError: for any other text, a corner left of or above the picture, or a side below 1 pixel.
    """
    try:
        x, y, width, height = (int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise InputError(f"{name} {shown(text)} is not of the form X,Y,W,H: give whole pixels") from None
    if min(x, y) < 0 or min(width, height) < 1 or max(x, y, width, height) > MAX_PIXELS:
        raise InputError(f"{name} {shown(text)} is out of range: X and Y are 0 or more, W and H 1 or more")
    return Box(x, y, width, height)


def check_seed(seed: int, name: str) -> None:
    """Raises InputError for anything but a whole number from 0 to `MAX_SEED`."""
    if not isinstance(seed, Integral) or not 0 <= seed <= MAX_SEED:
        raise InputError(f"{name} is out of range: choose a whole number from 0 to {MAX_SEED}")


def check_threads(threads: int, name: str) -> None:
    """Raises InputError for anything but a whole number from 1 to `MAX_THREADS`."""
    if not isinstance(threads, Integral) or not 1 <= threads <= MAX_THREADS:
        raise InputError(f"{name} is out of range: choose 1 to {MAX_THREADS}")


def check_number(value: float, name: str, largest: float | None = None) -> None:
    """Raises InputError for a number below 0 or above `largest`, NaN or infinity, and for anything else."""
    if not _is_finite(value) or value < 0 or (largest is not None and value > largest):
        raise InputError(f"{name} is out of range: choose {_bounds(largest)}")


def check_positive(value: float, name: str) -> None:
    """Raises InputError for 0, a number below it, NaN or infinity, and for anything else."""
    if not _is_finite(value) or value <= 0:
        raise InputError(f"{name} is out of range: choose a number above 0")


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # a whole number that no float can be
        return False


def _bounds(largest: float | None) -> str:
    return "0 or more" if largest is None else f"0 or more, and {largest:g} at most"
