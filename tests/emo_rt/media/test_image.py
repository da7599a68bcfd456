"""Every kind of picture is read as the same pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin
from samples import drawn_face

from emo_rt.media.boxes import Box
from emo_rt.media.image import crop_portrait, read_image


def test_a_picture_is_read_as_it_is(tmp_path: Path) -> None:
    image = drawn_face(64)
    image.save(tmp_path / "face.png")
    np.testing.assert_array_equal(read_image(tmp_path / "face.png"), np.asarray(image))


@pytest.mark.parametrize("name", ["grey.png", "palette.gif", "cmyk.jpg", "cmyk.tif", "deep.png", "bits.png"])
def test_every_kind_of_picture_looks_the_same(tmp_path: Path, name: str) -> None:
    face = drawn_face(64)
    grey = face.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    picture = {
        "grey.png": grey,
        "palette.gif": face.convert("P", palette=Image.Palette.ADAPTIVE),
        "cmyk.jpg": face.convert("CMYK"),
        "cmyk.tif": face.convert("CMYK"),
        "deep.png": deep,
        "bits.png": face.convert("1"),
    }[name]
    picture.save(tmp_path / name)
    pixels = read_image(tmp_path / name).astype(float)
    expected = {"grey.png": grey, "deep.png": grey, "bits.png": face.convert("1")}.get(name, face).convert("RGB")
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels - np.asarray(expected, float)).mean() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_mid_grey(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 32, 64))
    if mode == "P":
        image = image.quantize(2)
    elif mode == "LA":
        image = image.convert("LA")
    image.save(tmp_path / "clear.png")
    pixels = read_image(tmp_path / "clear.png").astype(int)
    assert np.abs(pixels[:, 40:] - 128).max() <= 2
    assert pixels[:, :30].max() <= 2


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64).astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(np.asarray(image), -1))


def test_the_crop_is_resized() -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    image[20:60, 30:70] = 255
    portrait = crop_portrait(image, Box(30, 20, 40, 40), 32)
    assert portrait.shape == (32, 32, 3)
    assert portrait.dtype == np.uint8
    assert portrait.min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_of_turning_is_known(tmp_path: Path, orientation: int) -> None:
    image = drawn_face(64).crop((0, 0, 64, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as file:
        expected = np.asarray(ImageOps.exif_transpose(file))
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), expected)


def profile(primaries: list[tuple[float, float, float]], gamma: float) -> bytes:
    """An ICC profile of three primaries, XYZ under D50, and one curve; without primaries one of greys."""

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = [(b"desc", text), (b"wtpt", xyz((0.9642, 1.0, 0.8249)))]
    tags += [(b"kTRC", curve)] if not primaries else [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    tags += list(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=bool(primaries)))
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags:
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4s4s4s4s4s",
        start + len(body),
        bytes(4),
        b"\x02\x10\0\0",
        b"mntr",
        b"RGB " if primaries else b"GRAY",
        b"XYZ ",
    )
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


#: Primaries of Adobe RGB (1998) and ProPhoto RGB.
ADOBE = [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)]
PROPHOTO = [(0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249)]


@pytest.mark.parametrize(
    ("primaries", "gamma", "stored"), [(ADOBE, 2.2, (172, 136, 114)), (PROPHOTO, 1.8, (147, 126, 101))]
)
@pytest.mark.parametrize("name", ["skin.png", "skin.tif", "skin.webp"])
def test_skin_keeps_its_colour_whatever_the_profile(
    tmp_path: Path, name: str, primaries: list[tuple[float, float, float]], gamma: float, stored: tuple[int, int, int]
) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.new("RGB", (64, 64), stored).save(tmp_path / name, icc_profile=profile(primaries, gamma), **options)
    pixels = read_image(tmp_path / name).astype(int)
    assert np.abs(pixels - (185, 137, 113)).max() <= 3


def test_a_profile_is_applied_to_what_is_not_transparent(tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 64), (172, 136, 114, 255))
    image.paste((0, 0, 0, 0), (0, 0, 32, 64))
    image.save(tmp_path / "clear.png", icc_profile=profile(ADOBE, 2.2))
    pixels = read_image(tmp_path / "clear.png").astype(int)
    assert (pixels[:, :32] == 128).all()
    assert np.abs(pixels[:, 32:] - (185, 137, 113)).max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_profile_of_greys_is_applied(tmp_path: Path, mode: str) -> None:
    image = Image.new("L", (64, 64), 55)  # of linear light
    made = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    made.save(tmp_path / "grey.png", icc_profile=profile([], 1.0))
    assert np.abs(read_image(tmp_path / "grey.png").astype(int) - 128).max() <= 3


def test_srgb_and_damaged_profiles_leave_pixels_as_they_are(tmp_path: Path) -> None:
    image = drawn_face(64)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    adobe = profile(ADOBE, 2.2)
    for icc in (srgb, b"no profile", adobe[:200], adobe[:100] + bytes(900)):
        image.save(tmp_path / "face.png", icc_profile=icc)
        np.testing.assert_array_equal(read_image(tmp_path / "face.png"), np.asarray(image))
    grey = image.convert("L")  # with the profile of a picture in colour
    grey.save(tmp_path / "face.png", icc_profile=adobe)
    np.testing.assert_array_equal(read_image(tmp_path / "face.png")[..., 0], np.asarray(grey))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("name", ["deep.tif", "deep.png"])
def test_deep_grey_is_not_black(tmp_path: Path, name: str, bits: int) -> None:
    grey = np.asarray(drawn_face(64).convert("L"))
    Image.fromarray(grey.astype(np.uint16) << (bits - 8)).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], grey)


def packed_tiff(values: np.ndarray, white_is_zero: bool) -> bytes:
    """A grey TIFF of 12 bits a pixel, as scanners write it: 3 bytes for 2 pixels."""
    height, width = values.shape
    pairs = values.reshape(-1, 2).astype(np.uint32)
    words = pairs[:, 0] << 12 | pairs[:, 1]
    data = np.stack([words >> 16, words >> 8 & 255, words & 255], axis=1).astype(np.uint8).tobytes()
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 0 if white_is_zero else 1), (273, 0), (277, 1)]
    tags += [(278, height), (279, len(data))]
    start = 8 + 2 + 12 * len(tags) + 4
    table = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4) + data


def test_a_scan_of_12_bits_is_not_black(tmp_path: Path) -> None:
    grey = np.asarray(drawn_face(64).convert("L")).astype(np.uint16)
    (tmp_path / "scan.tif").write_bytes(packed_tiff(grey << 4, white_is_zero=False))
    np.testing.assert_array_equal(read_image(tmp_path / "scan.tif")[..., 0], grey)


def test_deep_grey_whose_zero_is_white_is_no_negative(tmp_path: Path) -> None:
    grey = np.asarray(drawn_face(64).convert("L"))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    Image.fromarray((255 - grey).astype(np.uint16) * 257).save(tmp_path / "scan.tif", tiffinfo=tags)
    np.testing.assert_array_equal(read_image(tmp_path / "scan.tif")[..., 0], grey)
