"""Opens the files of pictures (Pillow): those formats alone, and none that decodes to more than fits into memory."""

from __future__ import annotations

import importlib.util
import logging
import struct
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from emo_rt.errors import InputError

#: Formats that are read. Pillow knows more, but hands EPS to another program.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000", "PPM")
#: Side of the smallest picture that can show a face, pixels.
MIN_IMAGE_SIDE = 32
#: Pixels of the largest picture that is decoded whole. With the 3 bytes a pixel of the result, it takes 0.8 GB.
LARGEST_IMAGE = 100_000_000
#: The same for formats whose decoders take more than 4 bytes a pixel (measured: 16, 19, 9 and 10).
LARGEST_BY_FORMAT = {"WEBP": 40_000_000, "JPEG2000": 36_000_000, "AVIF": 64_000_000, "HEIF": 64_000_000}
#: Pixels of a JPEG that is decoded at a half, a quarter or an eighth of its size, at most: 4 s.
LARGEST_SCALED_JPEG = 600_000_000
#: Pixels of a progressive JPEG that is decoded whole, and of one that is scaled: all its coefficients lie in memory.
LARGEST_PROGRESSIVE_JPEG, LARGEST_SCALED_PROGRESSIVE_JPEG = 60_000_000, 100_000_000
#: Passes over the whole picture that a progressive JPEG may make. Encoders make about 10.
MOST_SCANS = 100

#: Brands of HEIC files, the pictures of telephones.
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

logging.getLogger("PIL").addHandler(logging.NullHandler())  # it writes to stderr what it raises as well


class TooManyPixels(Exception):
    """A picture that is not decoded; `str(error)` names its size and the limit."""


@dataclass(frozen=True)
class OpenedPicture:
    """A picture whose header was read.

    Attributes:
        image: picture, not decoded yet
        full_size: width and height that its file has; those of `image` are smaller if it is decoded at a smaller scale
    """

    image: ImageFile.ImageFile
    full_size: tuple[int, int]


def open_picture(file: BinaryIO, name: str) -> OpenedPicture:
    """Reads the header of a picture, and decides from it whether and at what scale the rest is decoded.

    A JPEG beyond the limit is decoded at a half, a quarter or an eighth of its size, at which it is cheap.

    Args:
        file: file of the picture, open at its beginning
        name: name of the file, for the message

    Raises:
        UnidentifiedImageError: if it is of no format that is read.
        TooManyPixels: if decoding it takes too much memory or time.
        InputError: for a HEIC file where pillow-heif is not installed.
    """
    image, format_name = _identified(file, name)
    width, height = image.size
    pixels = width * height
    if format_name == "JPEG":
        _scale_jpeg(image, file)
    elif pixels > (most := LARGEST_BY_FORMAT.get(format_name, LARGEST_IMAGE)):
        raise TooManyPixels(_refusal(format_name, pixels, most))
    return OpenedPicture(image, (width, height))


def _identified(file: BinaryIO, name: str) -> tuple[ImageFile.ImageFile, str]:
    """The picture and the name of its format; what `Image.open` does, but with limits of our own."""
    start = file.read(64)
    formats: tuple[str, ...] = IMAGE_FORMATS
    if _is_heic(start):
        _register_heic(name)
        formats = ("HEIF",)
    Image.preinit()
    for format_name in formats:
        if format_name not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN[format_name]
        accepted = accept is None or accept(start[:16])
        if isinstance(accepted, str) or not accepted:
            continue
        file.seek(0)
        try:
            return factory(file, name), format_name
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # another format
        except Image.DecompressionBombError:
            most = LARGEST_BY_FORMAT.get(format_name, LARGEST_IMAGE)
            raise TooManyPixels(_refusal(format_name, None, most)) from None
    raise UnidentifiedImageError(name)


def _refusal(format_name: str, pixels: int | None, most: int) -> str:
    size = "too many pixels" if pixels is None else f"{pixels / 1e6:.0f} megapixels are too many pixels"
    return f"{size} for {format_name}; scale it down to {most // 1_000_000} megapixels or less"


def _scale_jpeg(image: ImageFile.ImageFile, file: BinaryIO) -> None:
    """Has a JPEG decoded at a smaller scale if it is large."""
    width, height = image.size
    pixels = width * height
    many = bool(image.info.get("progressive")) or (pixels > LARGEST_PROGRESSIVE_JPEG and not _has_one_scan(file))
    whole, most = (
        (LARGEST_PROGRESSIVE_JPEG, LARGEST_SCALED_PROGRESSIVE_JPEG) if many else (LARGEST_IMAGE, LARGEST_SCALED_JPEG)
    )
    if pixels > most:
        raise TooManyPixels(_refusal("a progressive JPEG" if many else "JPEG", pixels, most))
    if many:
        file.seek(0)
        scans = file.read().count(b"\xff\xda")  # bytes that stand for nothing else among coefficients
        if scans > MOST_SCANS:
            raise TooManyPixels(f"a JPEG of {scans} passes takes too long to read; save it again")
    scale = next((scale for scale in (1, 2, 4, 8) if pixels <= whole * scale**2), 8)
    if scale > 1:
        image.draft(image.mode, (width // scale, height // scale))


def _has_one_scan(file: BinaryIO) -> bool:
    """Whether the first scan of a JPEG has all its components: otherwise all coefficients lie in memory."""
    file.seek(2)
    components = 0
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        body = file.read(int.from_bytes(head[2:], "big") - 2)
        if head[1] == 0xDA:
            return body[0] == components
        if 0xC0 <= head[1] <= 0xCF and head[1] not in (0xC4, 0xC8, 0xCC):
            components = body[5]
    return False


def _is_heic(start: bytes) -> bool:
    """Whether a file that begins with `start` is a HEIC picture."""
    if start[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, end - 3, 4))}
    return bool(brands & _HEIC_BRANDS) and not brands & _AVIF_BRANDS


def _register_heic(name: str) -> None:
    """Lets Pillow read HEIC.

    Raises:
        InputError: if pillow-heif is not installed.
    """
    if "HEIF" in Image.OPEN:
        return
    if importlib.util.find_spec("pillow_heif") is None:
        raise InputError(f"image {name}: a HEIC picture; pip install pillow-heif, or save it as a JPEG")
    import pillow_heif

    pillow_heif.register_heif_opener()
