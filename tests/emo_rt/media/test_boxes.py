"""Boxes around faces, the crop around one, and the face region."""

from __future__ import annotations

import numpy as np
import pytest

from emo_rt.media.boxes import Box, face_region, portrait_crop, union


def test_a_square_portrait_is_kept_whole() -> None:
    for width in (90, 179):
        assert portrait_crop((256, 256), Box(20, 20, width, width), 0.5) == Box(0, 0, 256, 256)
    assert portrait_crop((256, 256), Box(20, 20, 60, 60), 0.5).width == 120


def test_the_crop_is_centred_on_the_face_as_far_as_the_picture_goes() -> None:
    assert portrait_crop((1000, 800), Box(450, 350, 100, 100), 0.5) == Box(400, 300, 200, 200)
    assert portrait_crop((1000, 800), Box(0, 0, 100, 100), 0.5) == Box(0, 0, 200, 200)
    assert portrait_crop((1000, 800), Box(900, 700, 100, 100), 0.5) == Box(800, 600, 200, 200)
    assert portrait_crop((1000, 800), Box(300, 100, 600, 600), 0.5) == Box(200, 0, 800, 800)


def test_a_box_follows_its_crop() -> None:
    assert Box(450, 350, 100, 100).within(Box(400, 300, 200, 200), 128) == Box(32, 32, 64, 64)


def test_the_union_holds_every_box() -> None:
    assert union([Box(10, 20, 5, 5), Box(12, 15, 10, 4)]) == Box(10, 15, 12, 10)
    with pytest.raises(ValueError, match="no boxes"):
        union([])


def test_the_face_region_is_the_enlarged_box() -> None:
    region = face_region(Box(10, 12, 10, 5), 32, 0.2)
    assert region.shape == (1, 1, 32, 32)
    assert region.dtype == np.float32
    expected = np.zeros((32, 32), np.float32)
    expected[11:18, 8:22] = 1
    np.testing.assert_array_equal(region[0, 0], expected)


def test_the_face_region_is_clipped() -> None:
    assert face_region(Box(-10, -10, 60, 60), 32, 0.2).min() == 1
    assert face_region(Box(40, 40, 5, 5), 32, 0.0).max() == 0
