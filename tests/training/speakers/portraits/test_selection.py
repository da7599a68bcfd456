"""What becomes a photograph, and why the rest does not."""

from __future__ import annotations

import numpy as np
import pytest
from known_portraits import KnownFaces, colourful, face_points

from emo_rt.media.boxes import Box
from training.speakers.portraits.selection import (
    RejectedPortrait,
    make_photograph,
    square_around,
)


def test_a_photograph_is_the_square_around_the_face() -> None:
    picture = np.concatenate([colourful(300), colourful(300, seed=1)], 1)
    box = Box(1.2, 0.3, 0.4, 0.4)  # in the right half
    photograph = make_photograph(picture, "anna_1", "anna", KnownFaces(face_points(), (box,)))
    assert (photograph.name, photograph.identity) == ("anna_1", "anna")
    assert np.array_equal(photograph.picture, picture[8:284, 282:558])
    assert photograph.mask.shape == photograph.picture.shape[:2]
    assert np.array_equal(photograph.landmarks, face_points())


@pytest.mark.parametrize(("side", "expected"), [(240, 256), (400, 400), (1000, 768)])
def test_only_small_squares_are_enlarged(side: int, expected: int) -> None:
    assert make_photograph(colourful(side), "a", "a", KnownFaces(face_points())).picture.shape == (
        expected,
        expected,
        3,
    )


def test_the_square_stays_inside_of_the_picture() -> None:
    assert square_around(Box(0, 0, 100, 100), 640, 480) == Box(0, 0, 230, 230)
    assert square_around(Box(560, 400, 80, 80), 640, 480) == Box(456, 296, 184, 184)
    assert square_around(Box(100, 100, 300, 300), 640, 480) == Box(10, 0, 480, 480)


BOX = Box(0.3, 0.3, 0.4, 0.4)


@pytest.mark.parametrize(
    ("landmarker", "reason"),
    [
        (KnownFaces(face_points(), ()), "no face"),
        (KnownFaces(face_points(), (BOX, Box(0, 0, 0.2, 0.2))), "several people"),
        (KnownFaces(face_points(), (Box(0.4, 0.4, 0.2, 0.2),)), "the face is too small"),
        (KnownFaces(None), "no landmarks"),
        (KnownFaces(face_points(scale=1.8)), "the face is cut off"),
        (KnownFaces(face_points(yaw=20)), "the head is turned"),
        (KnownFaces(face_points(eyes=0.1)), "the eyes are closed"),
        (KnownFaces(face_points(mouth=0.2)), "the mouth is wide open"),
        (KnownFaces(face_points(), covered=0.5), "the mask misses the face"),
    ],
)
def test_what_cannot_talk_is_rejected_with_a_reason(landmarker: KnownFaces, reason: str) -> None:
    with pytest.raises(RejectedPortrait) as rejection:
        make_photograph(colourful(), "a", "a", landmarker)
    assert str(rejection.value) == reason


def test_a_small_face_far_behind_is_no_second_person() -> None:
    assert make_photograph(colourful(), "a", "a", KnownFaces(face_points(), (BOX, Box(0, 0, 0.05, 0.05))))


def test_a_picture_without_colour_is_rejected() -> None:
    grey = np.repeat(colourful()[..., :1], 3, 2)
    with pytest.raises(RejectedPortrait, match="no colour"):
        make_photograph(grey, "a", "a", KnownFaces(face_points()))
