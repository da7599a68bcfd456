"""Reads pictures (Pillow)."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from emo_rt.errors import InputError, reason
from emo_rt.media.boxes import Box

#: Formats that are read. Pillow knows more, but hands EPS to another program.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000", "PPM")
#: Side of the smallest picture that can show a face, pixels.
MIN_IMAGE_SIDE = 32
#: Colour under transparent pixels.
MID_GREY = (128, 128, 128)


def crop_portrait(image: np.ndarray, crop: Box, resolution: int) -> np.ndarray:
    """Cuts the portrait out of a picture and resizes it.

    Args:
        image: picture, RGB uint8 (height, width, 3)
        crop: square to cut out, whole pixels of the picture
        resolution: side R of the result, pixels

    Returns:
        portrait, RGB uint8 (R, R, 3)
    """
    left, top, side = int(crop.x), int(crop.y), int(crop.width)
    square = Image.fromarray(image[top : top + side, left : left + side])
    resized = square.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture, turned upright, with mid-grey under transparent pixels.

    Args:
        path: path of the file

    Returns:
        picture, RGB uint8 (height, width, 3)

    Raises:
        InputError: if there is no such file, or it is no picture, damaged, too small or too large.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise InputError(f"image {path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures, and refuses larger ones
            with Image.open(path, formats=IMAGE_FORMATS) as file:
                image = _to_rgb(ImageOps.exif_transpose(file))
    except UnidentifiedImageError:
        raise InputError(f"image {path}: not a picture that can be read; give a PNG or JPEG file") from None
    except Image.DecompressionBombError:
        raise InputError(f"image {path}: too many pixels; scale it down to below 100 megapixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"image {path}: cannot be read ({reason(error)}); is it complete?") from error
    if min(image.size) < MIN_IMAGE_SIDE:
        width, height = image.size
        raise InputError(
            f"image {path}: {width} x {height} pixels is too small; at least {MIN_IMAGE_SIDE} on each side"
        )
    return np.array(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode in 8 bits of RGB."""
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*MID_GREY, 255))
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")
