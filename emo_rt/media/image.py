"""Reads pictures (Pillow): upright, in 8 bits of sRGB."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

from emo_rt.errors import InputError, reason
from emo_rt.media.boxes import Box, check_box
from emo_rt.media.inputs import check_file, check_picture
from emo_rt.media.picture_file import MIN_IMAGE_SIDE, TooManyPixels, open_picture

#: Colour under transparent pixels.
MID_GREY = (128, 128, 128)
#: Pixels that are converted at once, so that only the picture itself takes memory.
_BAND = 4_000_000
#: Difference from sRGB, of 255, up to which a colour profile is sRGB, and the pixels stay as they are.
_SRGB_TOLERANCE = 2
#: What a picture with an orientation in its EXIF is turned by: quarter turns to the left, and mirrored before.
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}


def crop_portrait(image: np.ndarray, crop: Box, resolution: int) -> np.ndarray:
    """Cuts the portrait out of a picture and resizes it.

    Args:
        image: picture, RGB uint8 (height, width, 3)
        crop: square to cut out, whole pixels of the picture
        resolution: side R of the result, pixels

    Returns:
        portrait, RGB uint8 (R, R, 3)

    Raises:
        InputError: for anything but a picture and a box.
    """
    check_picture(image)
    check_box(crop, "crop")
    left, top, side = int(crop.x), int(crop.y), int(crop.width)
    square = Image.fromarray(image[top : top + side, left : left + side])
    resized = square.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture, turned upright, in sRGB, with mid-grey under transparent pixels.

    A colour profile in the file is applied. A JPEG above 100 megapixels (60 if it is progressive) is read at a half, a
    quarter or an eighth of its size.

    Args:
        path: path of the file

    Returns:
        picture, RGB uint8 (height, width, 3)

    Raises:
        InputError: if there is no such file, or it is no picture, damaged, too small or too large.
    """
    return read_scaled_image(path)[0]


def read_scaled_image(path: str | Path) -> tuple[np.ndarray, float]:
    """What `read_image` reads, and how many pixels of the file each of its pixels stands for, along a side: 1 or more.

    Raises:
        InputError: see `read_image`.
    """
    path = Path(path)
    check_file(path, "image")
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures, and of tags that are out of place
            opened = open_picture(file, str(path))
            scale = opened.full_size[0] / opened.image.size[0]
            pixels = _pixels(opened.image, path)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"image {path}: not a picture that can be read; give a PNG or JPEG file") from None
    except (TooManyPixels, Image.DecompressionBombError) as error:
        raise InputError(f"image {path}: {reason(error)}") from None
    except Exception as error:  # of a damaged file, Pillow's readers raise whatever they come upon
        raise InputError(f"image {path}: cannot be read ({reason(error)}); is it complete?") from error
    return pixels, scale


def _pixels(image: ImageFile.ImageFile, path: Path) -> np.ndarray:
    """Decodes a picture: RGB uint8 (height, width, 3), upright. It needs the memory of both, and no more.

    Raises:
        InputError: if it is too small.
    """
    width, height = image.size
    if min(width, height) < MIN_IMAGE_SIDE:
        raise InputError(
            f"image {path}: {width} x {height} pixels is too small; at least {MIN_IMAGE_SIDE} on each side"
        )
    image.load()
    bits = _grey_bits(image)
    transform = _to_srgb(image)
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(_BAND // width, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = image.crop((0, top, width, bottom))
        pixels[top:bottom] = np.asarray(_to_rgb(band, bits, transform))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    image.close()
    turns, mirrored = _TURNS.get(orientation, (0, False))
    upright = np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)
    return np.ascontiguousarray(upright)


def _to_rgb(image: Image.Image, bits: tuple[int, bool], transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """A picture of any mode in 8 bits of sRGB.

    Args:
        image: picture, or a part of one
        bits: see `_grey_bits`
        transform: see `_to_srgb`
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if _is_deep(image):
        depth, inverted = bits
        values = np.asarray(image).astype(np.int64) & 0xFFFFFFFF if depth == 32 else np.asarray(image).astype(np.int64)
        grey = (values >> (depth - 8)).clip(0, 255).astype(np.uint8)
        return _in_srgb(Image.fromarray(255 - grey if inverted else grey), transform)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = _in_srgb(image.convert("RGB"), transform)
        image.putalpha(alpha)
        background = Image.new("RGBA", image.size, (*MID_GREY, 255))
        return Image.alpha_composite(background, image).convert("RGB")
    return _in_srgb(image, transform)


def _in_srgb(image: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """An opaque picture in sRGB."""
    if transform is None:
        return image.convert("RGB")
    converted = ImageCms.applyTransform(image.convert(transform.input_mode), transform)
    assert converted is not None  # as it is where it does not work in place
    return converted


def _is_deep(image: Image.Image) -> bool:
    """Whether a picture is grey with more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def _grey_bits(image: ImageFile.ImageFile) -> tuple[int, bool]:
    """The bits that a pixel of deep grey has, and whether 0 is white.

    Scanners and microscopes write 12 bits as 16, and Pillow 16 as 32, which would be black: the brightest pixel tells.
    """
    if not _is_deep(image):
        return 8, False
    darkest, brightest = (int(value) for value in image.getextrema())  # type: ignore[arg-type]
    depth = next((depth for depth in (8, 12, 16) if brightest < 1 << depth), 32) if darkest >= 0 else 32
    return depth, getattr(image, "tag_v2", {}).get(262) == 0


def _to_srgb(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """The way from a picture's colour profile to sRGB; None if it has none, is sRGB already, or is damaged."""
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
        grey = image.mode in ("1", "L", "LA", "La") or _is_deep(image)
        if mode is None or (mode == "L") != grey or (mode == "CMYK") != (image.mode == "CMYK"):
            return None  # a profile of another kind of picture
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode != "CMYK":
            samples = _colours(mode)
            changed = np.asarray(ImageCms.applyTransform(samples, transform), int)
            if np.abs(changed - np.asarray(samples.convert("RGB"), int)).max() <= _SRGB_TOLERANCE:
                return None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform


def _colours(mode: str) -> Image.Image:
    """Colours from all of a cube, or all greys, one a pixel."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3))
