"""Generated squares are pasted into the picture without an edge, and nothing else of it changes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from emo_rt.errors import InputError
from emo_rt.media.boxes import Box
from emo_rt.media.framing import Canvas

CROP, FACE = Box(70, 40, 128, 128), Box(102, 72, 64, 64)
#: Steps that a viewer does not see, of 255.
INVISIBLE = 2


def slope(width: int = 320, height: int = 240) -> np.ndarray:
    """A picture that gets brighter to the right and redder downwards, a step of a few grey levels a pixel at most."""
    x, y = np.meshgrid(np.linspace(40, 200, width), np.linspace(40, 200, height))
    return np.stack([y, x, np.full_like(x, 90)], axis=-1).astype(np.uint8)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)


def pasted(canvas: Canvas, squares: np.ndarray) -> np.ndarray:
    return np.stack([frame.copy() for frame in canvas.paste(squares)])


def steps(frame: np.ndarray) -> np.ndarray:
    """The larger step of each pixel to the next one to the right and below, over the channels."""
    signed = frame.astype(int)
    return np.maximum(
        np.abs(np.diff(signed, axis=0))[:, :-1].max(axis=2), np.abs(np.diff(signed, axis=1))[:-1].max(axis=2)
    )


def test_outside_of_the_region_every_frame_is_the_picture() -> None:
    image = noise(320, 240)
    before = image.copy()
    frames = pasted(Canvas(image, CROP, FACE, "p.png"), np.stack([noise(32, 32), 255 - noise(32, 32)]))
    assert frames.shape == (2, 240, 320, 3)
    outside = np.ones((240, 320), bool)
    outside[40:168, 70:198] = False
    for frame in frames:
        np.testing.assert_array_equal(frame[outside], image[outside])
        assert (frame[56:152, 86:182] != image[56:152, 86:182]).mean() > 0.9
    assert not np.array_equal(*frames)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("tone", [-20, -10, 10, 20])
def test_a_square_of_another_tone_has_no_edge(tone: int) -> None:
    image = slope()
    square = np.clip(image[40:168, 70:198].astype(int) + tone, 0, 255).astype(np.uint8)
    (frame,) = pasted(Canvas(image, CROP, FACE, "p.png"), square[None])
    difference = np.abs(frame.astype(int) - image)
    assert max(difference[40, 70:198].max(), difference[167, 70:198].max()) == 0  # the outermost pixels
    assert max(difference[40:168, 70].max(), difference[40:168, 197].max()) == 0
    assert difference.max() == abs(tone)
    assert steps(frame).max() <= steps(image).max() + INVISIBLE
    hard = image.copy()
    hard[40:168, 70:198] = square
    assert steps(hard).max() >= abs(tone) - steps(image).max()  # pasted without a fade, it has one


def test_the_middle_is_the_frame_itself() -> None:
    square = noise(128, 128)
    (frame,) = pasted(Canvas(slope(), CROP, FACE, "p.png"), square[None])
    np.testing.assert_array_equal(frame[56:152, 86:182], square[16:112, 16:112])


def test_the_fade_keeps_clear_of_the_face_where_there_is_room() -> None:
    square = noise(128, 128)
    near = Box(76, 46, 116, 116)  # 6 pixels from every border, less than the widest fade
    (frame,) = pasted(Canvas(slope(), CROP, near, "p.png"), square[None])
    np.testing.assert_array_equal(frame[46:162, 76:192], square[6:122, 6:122])
    touching = Canvas(slope(), CROP, CROP, "p.png")  # without room there is a fade nevertheless
    (frame,) = pasted(touching, square[None])
    np.testing.assert_array_equal(frame[40, 70:198], slope()[40, 70:198])


@pytest.mark.parametrize("crop", [Box(0, 0, 128, 128), Box(192, 112, 128, 128), Box(0, 112, 128, 128)])
def test_there_is_no_fade_where_the_region_ends_with_the_picture(crop: Box) -> None:
    image, square = slope(), noise(128, 128)
    face = Box(crop.x + 32, crop.y + 32, 64, 64)
    (frame,) = pasted(Canvas(image, crop, face, "p.png"), square[None])
    x, y = int(crop.x), int(crop.y)
    on_the_side = square[32:96, :2] if x == 0 else square[32:96, -2:]
    np.testing.assert_array_equal(frame[y + 32 : y + 96, :2] if x == 0 else frame[y + 32 : y + 96, -2:], on_the_side)
    inner = frame[y : y + 128, x + 127 if x == 0 else x]
    np.testing.assert_array_equal(inner, image[y : y + 128, x + 127 if x == 0 else x])


def test_a_square_picture_is_replaced_whole() -> None:
    square = noise(128, 128)
    (frame,) = pasted(Canvas(noise(128, 128), Box(0, 0, 128, 128), Box(32, 32, 64, 64), "p.png"), 255 - square[None])
    np.testing.assert_array_equal(frame, 255 - square)


def test_odd_sides_lose_their_last_pixel_and_large_ones_are_scaled() -> None:
    odd = noise(321, 241)
    canvas = Canvas(odd, Box(193, 113, 128, 128), Box(225, 145, 64, 64), "p.png")
    assert canvas.size == (320, 240)
    np.testing.assert_array_equal(canvas.picture, odd[:240, :320])
    assert canvas.region == Box(193, 113, 127, 127)
    for size, expected in (
        ((4000, 3000), (1440, 1080)),
        ((3000, 4001), (1080, 1440)),
        ((3840, 2160), (1920, 1080)),
        ((1921, 1081), (1920, 1080)),
        ((5000, 701), (1920, 270)),
        ((1800, 1800), (1080, 1080)),
    ):
        image = np.zeros((size[1], size[0], 3), np.uint8)
        large = Canvas(image, Box(size[0] - 701, size[1] - 701, 701, 701), Box(size[0] - 500, 100, 200, 200), "p.png")
        assert large.size == expected
        assert large.region.x + large.region.width == expected[0]
        assert large.region.y + large.region.height == expected[1]


def test_a_frame_lies_where_the_portrait_was_in_a_scaled_picture() -> None:
    """Pasting the portrait itself back changes next to nothing, whatever the scale."""
    image = np.array(Image.fromarray(noise(40, 30)).resize((4000, 3000), Image.Resampling.BICUBIC))
    for crop in (Box(1001, 333, 1777, 1777), Box(0, 1223, 1777, 1777)):
        portrait = np.asarray(
            Image.fromarray(image[int(crop.y) : int(crop.y) + 1777, int(crop.x) : int(crop.x) + 1777]).resize(
                (512, 512)
            )
        )
        canvas = Canvas(image, crop, Box(crop.x + 500, crop.y + 500, 777, 777), "p.png")
        (frame,) = pasted(canvas, portrait[None])
        assert np.abs(frame.astype(int) - canvas.picture).mean() < 1


@pytest.mark.parametrize(
    ("size", "crop"), [((640, 480), Box(10, 10, 20, 20)), ((8000, 6000), Box(10, 10, 100, 100)), ((40, 8000), None)]
)
def test_a_face_too_small_to_paste_is_refused(size: tuple[int, int], crop: Box | None) -> None:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    crop = crop or Box(0, 0, 40, 40)
    with pytest.raises(InputError, match=r"p\.png: the square around the face has .* --framing crop") as error:
        Canvas(image, crop, crop, "p.png")
    assert "\n" not in str(error.value)
