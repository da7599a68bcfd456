"""A face is found at any size, and a picture without one is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from samples import drawn_face

from emo_rt.errors import InputError
from emo_rt.media.face import detect_faces, find_face


@pytest.mark.parametrize("side", [64, 128, 256, 1500])
def test_a_face_is_found_at_any_size(side: int) -> None:
    box = find_face(np.asarray(drawn_face(side)), "face.png")
    assert box.fits((side, side))
    assert box.x + box.width / 2 == pytest.approx(side / 2, abs=0.06 * side)
    assert 0.4 * side < box.width < 0.8 * side


def test_the_largest_face_comes_first() -> None:
    picture = Image.new("RGB", (500, 260), (90, 110, 140))
    picture.paste(drawn_face(150), (10, 50))
    picture.paste(drawn_face(256), (230, 2))
    boxes = detect_faces(np.asarray(picture))
    assert boxes[0].x > 230
    assert boxes[0].width == max(box.width for box in boxes)


def test_no_face_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"wall\.png.*--face-box"):
        find_face(np.full((200, 200, 3), 200, np.uint8), "wall.png")
