"""What a user gives, checked before it is used: the name of a file, a picture, a voice."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np

from emo_rt.errors import InputError, reason

#: An address of the web; a path has one of its slashes left.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}[^/]")


def check_file(path: Path, kind: str, *, pipes: bool = False) -> None:
    """Checks that a name is that of a file with something in it.

    Args:
        path: name as the user gave it
        kind: what it is for, for the message: `image` or `audio`
        pipes: whether a named pipe is welcome, too

    Raises:
        InputError: for a file that is missing, empty or out of reach, for a directory, a device or an address.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        if _ADDRESS.match(str(path)):
            address = re.sub(":/+", "://", str(path), count=1)
            raise InputError(
                f"{kind} {address}: addresses are not read; download it first, and give the file"
            ) from None
        if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
            raise InputError(f"{kind} {path}: no such file") from None
        raise InputError(f"{kind} {path}: no such file that can be read ({reason(error)})") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{kind} {path}: is a directory; give a file in it")
    if stat.S_ISFIFO(found.st_mode):
        if not pipes:
            raise InputError(f"{kind} {path}: is a pipe; save what comes through it, and give the file")
    elif not stat.S_ISREG(found.st_mode):
        raise InputError(f"{kind} {path}: is a device; give a file")
    elif found.st_size == 0:
        raise InputError(f"{kind} {path}: the file is empty")


def is_pipe(path: Path) -> bool:
    """Whether a name is that of a pipe, as `mkfifo` and a shell's `<(command)` make it."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def check_picture(image: Any, name: str = "image") -> None:
    """Raises InputError for anything but RGB uint8 (height, width, 3) with at least a pixel."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"{name} is {_kind(image)}: give a NumPy array, RGB uint8 (height, width, 3)")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"{name} is {image.dtype} {image.shape}: give RGB uint8 (height, width, 3), 0 to 255")


def check_portrait(portrait: Any, resolution: int) -> None:
    """Raises InputError for anything but RGB uint8 (R, R, 3) with R = `resolution` pixels."""
    check_picture(portrait, "portrait")
    if portrait.shape[:2] != (resolution, resolution):
        height, width = portrait.shape[:2]
        raise InputError(
            f"portrait is an image of {width} x {height} pixels, and the bundle takes {resolution} x {resolution}: "
            "read_portrait and crop_portrait make it so"
        )


def check_voice(chunk: Any) -> None:
    """Checks a chunk of a voice.

    Args:
        chunk: mono sound, floating-point (samples,), -1 to 1

    Raises:
        InputError: for anything else, samples that are no finite numbers included.
    """
    if not isinstance(chunk, np.ndarray):
        raise InputError(f"voice has a chunk that is {_kind(chunk)}: give a list of arrays, float32 (samples,)")
    if chunk.ndim != 1:
        raise InputError(f"voice has a chunk of shape {chunk.shape}: give mono sound, float32 (samples,)")
    if not np.issubdtype(chunk.dtype, np.floating):
        raise InputError(f"voice is {chunk.dtype}: give float32 from -1 to 1 (int16 / 32768)")
    if not np.isfinite(chunk).all():
        raise InputError("voice has samples that are no finite numbers (NaN)")


def _kind(value: Any) -> str:
    """What a value is, with its article."""
    name = "None" if value is None else type(value).__name__
    return name if value is None else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
