"""Small files that claim to be huge, huge pictures that are cheap to scale down, HEIC, and damage."""

from __future__ import annotations

import importlib.util
import io
import struct
import sys
import threading
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin
from samples import drawn_face

import emo_rt
from emo_rt.errors import InputError
from emo_rt.media import picture_file
from emo_rt.media.image import read_image
from emo_rt.media.portrait import read_picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width: int, height: int) -> bytes:
    """The header of a picture of one bit a pixel, and no more."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def webp(width: int, height: int) -> bytes:
    """The header of a lossless WebP."""
    bits = (width - 1) | (height - 1) << 14 | 1 << 28
    body = b"WEBPVP8L" + struct.pack("<IBI", 12, 0x2F, bits) + bytes(7)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def resized(content: bytes, old: bytes, new: bytes) -> bytes:
    """A file with another size in its header."""
    assert content.count(old) >= 1
    return content.replace(old, new)


def tiff(width: int, height: int) -> bytes:
    small = saved(Image.new("L", (64, 48)), "TIFF")
    content = bytearray(small)
    for tag, value in ((256, width), (257, height)):
        at = bytes(content).index(struct.pack("<HHI", tag, 4, 1))
        content[at + 8 : at + 12] = struct.pack("<I", value)
    return bytes(content)


def jpeg2000(width: int, height: int) -> bytes:
    small = saved(Image.new("L", (64, 48)), "JPEG2000")
    content = resized(small, struct.pack(">II", 48, 64), struct.pack(">II", height, width))
    return resized(content, struct.pack(">II", 64, 48), struct.pack(">II", width, height))


@pytest.mark.parametrize(
    ("make", "side", "most"),
    [
        (png, 10_001, 100),
        (png, 13_000, 100),
        (png, 40_000, 100),
        (tiff, 12_000, 100),
        (webp, 6_400, 40),
        (webp, 16_383, 40),
        (jpeg2000, 6_100, 36),
        (jpeg2000, 30_000, 36),
    ],
)
def test_a_small_file_that_claims_many_pixels_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[int, int], bytes], side: int, most: int
) -> None:
    """The limit that is named is the one that holds."""
    decoded: list[tuple[int, int]] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self.size))
    path = tmp_path / "bomb"
    path.write_bytes(make(side, side))
    with pytest.raises(InputError, match=rf"image .*bomb: .*too many pixels.* to {most} megapixels or less"):
        read_image(path)
    assert decoded == []


def test_a_tile_of_a_tiff_is_no_larger_than_a_picture(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    content = saved(Image.new("L", (64, 64)), "TIFF", tiffinfo=tags)
    at = content.index(struct.pack("<HHI", 273, 4, 1))  # where the strips are: a width and a length of tiles instead
    (tmp_path / "tile.tif").write_bytes(
        content[:at]
        + struct.pack("<HHII", 322, 4, 1, 60_000)
        + struct.pack("<HHII", 323, 4, 1, 60_000)
        + content[at + 24 :]
    )
    with pytest.raises(InputError, match="image "):
        read_image(tmp_path / "tile.tif")


def test_a_large_jpeg_is_read_at_a_smaller_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn_face(256)
    image.save(tmp_path / "me.jpg", quality=95)
    whole = read_image(tmp_path / "me.jpg")
    for limit, side in ((256 * 256, 256), (128 * 128, 128), (128 * 128 - 1, 64), (40 * 40, 32)):
        monkeypatch.setattr(picture_file, "LARGEST_IMAGE", limit)
        pixels = read_image(tmp_path / "me.jpg")
        assert pixels.shape == (side, side, 3)
        expected = np.asarray(Image.fromarray(whole).resize((side, side), Image.Resampling.BOX), int)
        assert np.abs(pixels - expected).mean() < 4
    monkeypatch.setattr(picture_file, "LARGEST_SCALED_JPEG", 256 * 256 - 1)
    with pytest.raises(InputError, match=r"too many pixels for JPEG"):
        read_image(tmp_path / "me.jpg")


def test_a_photograph_of_200_megapixels_is_read(tmp_path: Path) -> None:
    """As telephones take it; the limit that holds for other formats is half of that."""
    Image.new("L", (16_320, 12_240), 99).save(tmp_path / "large.jpg", quality=10)
    opened = picture_file.open_picture(open(tmp_path / "large.jpg", "rb"), "large.jpg")  # noqa: SIM115
    assert opened.full_size == (16_320, 12_240)
    assert opened.image.size == (8_160, 6_120)


def test_boxes_count_in_the_pixels_of_the_file(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_face(512).save(tmp_path / "me.jpg", quality=95)
    config = emo_rt.Bundle.load(bundle).config
    box = emo_rt.Box(140, 100, 232, 330)
    whole = read_picture(tmp_path / "me.jpg", config, box)
    monkeypatch.setattr(picture_file, "LARGEST_IMAGE", 256 * 256)
    said: list[str] = []
    half = read_picture(tmp_path / "me.jpg", config, box, say=said.append)
    assert half.face_box == emo_rt.Box(70, 50, 116, 165)
    assert half.crop == whole.crop.scaled(0.5)
    assert said == [f"image {tmp_path / 'me.jpg'}: 512 x 512 pixels are many; it is read at 256 x 256"]
    with pytest.raises(InputError, match=r"choose one within its 512 x 512 pixels"):
        read_picture(tmp_path / "me.jpg", config, emo_rt.Box(0, 0, 513, 100))
    with pytest.raises(InputError, match=r"the face at 0,0,60,60 is below"):
        read_picture(tmp_path / "me.jpg", config, emo_rt.Box(0, 0, 60, 60))


def test_a_progressive_jpeg_of_a_thousand_passes_is_refused(tmp_path: Path) -> None:
    content = saved(drawn_face(64), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    (tmp_path / "passes.jpg").write_bytes(content[:-2] + content[last:-2] * 1000 + content[-2:])
    with pytest.raises(InputError, match=r"a JPEG of 10\d\d passes takes too long"):
        read_image(tmp_path / "passes.jpg")
    (tmp_path / "usual.jpg").write_bytes(content)
    assert read_image(tmp_path / "usual.jpg").shape == (64, 64, 3)


def test_what_needs_all_coefficients_has_the_limit_of_progressive_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_file, "LARGEST_PROGRESSIVE_JPEG", 64 * 64)
    monkeypatch.setattr(picture_file, "LARGEST_SCALED_PROGRESSIVE_JPEG", 128 * 128)
    drawn_face(128).save(tmp_path / "me.jpg", progressive=True)
    assert read_image(tmp_path / "me.jpg").shape == (64, 64, 3)
    drawn_face(256).save(tmp_path / "me.jpg", progressive=True)
    with pytest.raises(InputError, match="too many pixels for a progressive JPEG"):
        read_image(tmp_path / "me.jpg")
    drawn_face(256).save(tmp_path / "me.jpg")
    assert read_image(tmp_path / "me.jpg").shape == (256, 256, 3)


HEIC = struct.pack(">I4s4sI", 24, b"ftyp", b"heic", 0) + b"mif1heic" + bytes(40)


def test_heic_without_its_reader_names_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else find_spec(name))
    (tmp_path / "me.heic").write_bytes(HEIC)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(InputError, match=r"me.heic: a HEIC picture; pip install pillow-heif, or save it as a JPEG"):
        read_image(tmp_path / "me.heic")


def test_heic_is_read_where_its_reader_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pillow-heif, which registers itself as the real one does."""

    class Reader(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self) -> None:
            self._mode, self._size = "RGB", (64, 48)

        def load(self) -> Any:
            self.im = Image.new("RGB", self._size, (200, 100, 50)).im
            return super().load()

    reader: Any = types.ModuleType("pillow_heif")
    reader.register_heif_opener = lambda: Image.register_open("HEIF", Reader, lambda start: start[4:8] == b"ftyp")
    reader.__spec__ = importlib.util.spec_from_loader("pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", reader)
    monkeypatch.setitem(Image.OPEN, "HEIF", None)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    (tmp_path / "me.heic").write_bytes(HEIC)
    assert (read_image(tmp_path / "me.heic") == (200, 100, 50)).all()
    monkeypatch.setitem(picture_file.LARGEST_BY_FORMAT, "HEIF", 2000)
    with pytest.raises(InputError, match="too many pixels for HEIF"):
        read_image(tmp_path / "me.heic")


def test_heic_is_read_by_pillow_heif(tmp_path: Path) -> None:
    reader = pytest.importorskip("pillow_heif")
    reader.register_heif_opener()
    drawn_face(128).save(tmp_path / "me.heic", quality=90)
    pixels = read_image(tmp_path / "me.heic").astype(int)
    assert np.abs(pixels - np.asarray(drawn_face(128), int)).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000", "PPM"])
def test_damage_is_an_input_error(tmp_path: Path, kind: str) -> None:
    content = saved(drawn_face(64), kind)
    path = tmp_path / "damaged"
    refused = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        damaged = bytearray(content[: len(content) if seed % 2 else int(random.integers(20, len(content)))])
        for at in random.integers(0, len(damaged), 8):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_image(path)
        except InputError as error:
            refused.append(str(error))
    assert refused
    assert not [line for line in refused if "\n" in line or not line.startswith(f"image {path}: ")]


def test_a_reader_that_fails_in_its_own_way_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_face(64).save(tmp_path / "me.png")
    for error in (RuntimeError("Failed to decode"), KeyError("x"), MemoryError(), OverflowError("too large")):

        def fail(self: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        with pytest.raises(InputError, match=r"image .*me.png: cannot be read \(.*\); is it complete"):
            read_image(tmp_path / "me.png")


def test_pictures_can_be_read_in_threads(tmp_path: Path) -> None:
    drawn_face(64).save(tmp_path / "me.png")
    failed: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(5):
                read_image(tmp_path / "me.png")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
