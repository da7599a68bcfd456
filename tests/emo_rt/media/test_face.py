"""The largest face is taken or the one that is asked for, and a picture without one is refused in one clear line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from samples import drawn_face

from emo_rt.errors import InputError
from emo_rt.media import face
from emo_rt.media.boxes import Box
from emo_rt.media.face import check_face_size, find_face
from emo_rt.media.face_detector import Face

PICTURE = np.zeros((300, 400, 3), np.uint8)
MIDDLE = Face(Box(150, 20, 90, 90), 0.9)
LEFT = Face(Box(10, 30, 60, 60), 0.8)
RIGHT = Face(Box(300, 10, 40, 40), 0.92)
TINY = Face(Box(260, 200, 20, 20), 0.9)
CLOUD = Face(Box(5, 5, 200, 200), 0.6)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the detector find these faces."""

    def arrange(*faces: Face) -> None:
        largest_first = sorted(faces, key=lambda face: face.box.width, reverse=True)
        monkeypatch.setattr(face, "detect_faces", lambda image: largest_first)

    return arrange


def test_the_largest_face_of_a_picture_is_taken_and_told() -> None:
    picture = Image.new("RGB", (500, 260), (90, 110, 140))
    picture.paste(drawn_face(150), (10, 50))
    picture.paste(drawn_face(256), (230, 2))
    told: list[str] = []
    box = find_face(np.asarray(picture), "two.png", say=told.append)
    assert 230 < box.x < 300
    assert len(told) == 1
    assert "image two.png: face 2 of 2 from the left, at 2" in told[0]
    assert find_face(np.asarray(picture), "two.png", 1).x < 100


@pytest.mark.parametrize(
    ("number", "box", "place"),
    [
        (None, MIDDLE.box, "face 2 of 3 from the left, at 150,20,90,90, the largest; choose another with --face N"),
        (1, LEFT.box, "face 1 of 3 from the left, at 10,30,60,60"),
        (3, RIGHT.box, "face 3 of 3 from the left, at 300,10,40,40"),
    ],
)
def test_faces_count_from_the_left_without_doubtful_and_tiny_ones(
    found: Callable[..., None], number: int | None, box: Box, place: str
) -> None:
    found(TINY, RIGHT, CLOUD, MIDDLE, LEFT)
    told: list[str] = []
    assert find_face(PICTURE, "p.png", number, told.append) == box
    assert place in told[0]
    assert ("--face" in told[0]) == (number is None)


def test_one_face_needs_no_word(found: Callable[..., None]) -> None:
    found(MIDDLE, CLOUD, TINY)
    told: list[str] = []
    assert find_face(PICTURE, "p.png", say=told.append) == find_face(PICTURE, "p.png", 1, told.append) == MIDDLE.box
    assert not told


@pytest.mark.parametrize(
    ("faces", "number", "words"),
    [
        ([], None, "no face found; say where it is with --face-box X,Y,WIDTH,HEIGHT, or face_box in Python"),
        ([CLOUD], None, r"no face found for certain; what resembles one most is at 5,5,200,200 \(60% sure\): if it is"),
        ([TINY], None, "the face at 260,200,20,20 is below 32 pixels: give a larger picture of it"),
        ([MIDDLE], 7, "there is no face 7; 1 is the only one"),
        ([MIDDLE, LEFT], 7, "there is no face 7; choose 1 to 2, counted from the left"),
        ([MIDDLE, LEFT], 0, "there is no face 0; choose 1 to 2"),
    ],
)
def test_what_is_not_animated_says_why(
    found: Callable[..., None], faces: list[Face], number: int | None, words: str
) -> None:
    found(*faces)
    with pytest.raises(InputError, match=rf"^image p\.png: {words}") as error:
        find_face(PICTURE, "p.png", number)
    assert "\n" not in str(error.value)


def test_a_picture_without_a_face_is_refused() -> None:
    with pytest.raises(InputError, match=r"wall\.png.*--face-box"):
        find_face(np.full((200, 200, 3), 200, np.uint8), "wall.png")


def test_a_given_box_has_32_pixels() -> None:
    check_face_size(Box(0, 0, 32, 32), "p.png")
    with pytest.raises(InputError, match=r"image p\.png: the face at 60,60,1,1 is below 32 pixels"):
        check_face_size(Box(60, 60, 1, 1), "p.png")
