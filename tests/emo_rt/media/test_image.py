"""Every kind of picture is read as the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
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
