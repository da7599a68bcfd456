"""From a picture to a photograph: a square around the one face in it, or the reason why it cannot talk."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from emo_rt.media.boxes import Box
from training.speakers.portraits.face_shape import eye_heights, face_rotation, lip_distance
from training.speakers.portraits.glasses import wears_glasses
from training.speakers.portraits.landmarker import PortraitLandmarker
from training.speakers.puppets.photographs import Photograph

# Side of the square in sizes of the face box, where the picture is large enough.
_FACES_IN_SIDE = 2.3
# Sides of a photograph in pixels. Only smaller squares are enlarged.
_SMALLEST_SIDE, _LARGEST_SIDE = 256, 768
# Width of the narrowest face in pixels, and in sides of the square.
_NARROWEST_FACE, _NARROWEST_SHARE = 80, 0.22
# A face of this share of the widest face's width is a second person.
_SECOND_FACE = 0.25
# Distance of landmarks from the border, in sides.
_MARGIN = 0.01
# Largest rotation of the head to the side, up or down and in the picture's plane, in degrees.
_LARGEST_YAW, _LARGEST_PITCH, _LARGEST_ROLL = 16, 25, 20
# Height of an eye in its widths, below which it is closed.
_CLOSED_EYE = 0.12
# Distance of the lips in heights of the face, above which the mouth is wide open.
_OPEN_MOUTH = 0.13
# Mean standard deviation of the three colours, of 255.
_LEAST_COLOUR = 4
# Share of the face that the mask covers.
_COVERED_FACE = 0.9


class RejectedPortrait(Exception):
    """A picture that cannot become a photograph; `str(error)` is the reason, the same words for each such picture."""


def make_photograph(picture: np.ndarray, name: str, identity: str, landmarker: PortraitLandmarker) -> Photograph:
    """Cuts a photograph out of a picture.

    Args:
        picture: uint8 RGB (height, width, 3).
        name: name of the photograph.
        identity: who is seen.
        landmarker: what sees the face.

    Raises:
        RejectedPortrait: if there is not one face, or the face is too small, cut off, turned away, has closed eyes or
            a wide open mouth, the picture has no colour, or the mask misses the face.
    """
    crop = square_around(_only_face(landmarker.faces(picture)), picture.shape[1], picture.shape[0])
    left, top, side = int(crop.x), int(crop.y), int(crop.width)
    square = picture[top : top + side, left : left + side]
    if np.std(square.astype(np.float32), axis=2).mean() < _LEAST_COLOUR:
        raise RejectedPortrait("no colour")
    if (wanted := min(max(side, _SMALLEST_SIDE), _LARGEST_SIDE)) != side:
        resized = Image.fromarray(square).resize((wanted, wanted), Image.Resampling.LANCZOS)
        square = np.asarray(resized)
    square = np.ascontiguousarray(square)
    landmarks = landmarker.landmarks(square)
    if landmarks is None:
        raise RejectedPortrait("no landmarks")
    check_face(landmarks)
    mask = landmarker.person(square)
    if covered_face(landmarks, mask) < _COVERED_FACE:
        raise RejectedPortrait("the mask misses the face")
    return Photograph(name, identity, square, mask, landmarks, wears_glasses(square, landmarks))


def square_around(face: Box, width: int, height: int) -> Box:
    """The square around a face, in whole pixels inside of the picture.

    Args:
        face: box from the brows to the chin in pixels.
        width: width of the picture in pixels.
        height: height of the picture in pixels.

    Raises:
        RejectedPortrait: if the face is too small.
    """
    side = min(round(_FACES_IN_SIDE * max(face.width, face.height)), width, height)
    if face.width < max(_NARROWEST_FACE, _NARROWEST_SHARE * side):
        raise RejectedPortrait("the face is too small")
    centre = face.x + face.width / 2, face.y + 0.47 * face.height  # hair needs more room than the neck
    left, top = (int(np.clip(c - side / 2, 0, size - side)) for c, size in zip(centre, (width, height), strict=True))
    return Box(left, top, side, side)


def check_face(landmarks: np.ndarray) -> None:
    """Raises `RejectedPortrait` for a face (478, 3) that is cut off or turned, with closed eyes or an open mouth."""
    if landmarks[:, :2].min() < _MARGIN or landmarks[:, :2].max() > 1 - _MARGIN:
        raise RejectedPortrait("the face is cut off")
    yaw, pitch, roll = np.abs(face_rotation(landmarks))
    if yaw > _LARGEST_YAW or pitch > _LARGEST_PITCH or roll > _LARGEST_ROLL:
        raise RejectedPortrait("the head is turned")
    if min(eye_heights(landmarks)) < _CLOSED_EYE:
        raise RejectedPortrait("the eyes are closed")
    if lip_distance(landmarks) > _OPEN_MOUTH:
        raise RejectedPortrait("the mouth is wide open")


def covered_face(landmarks: np.ndarray, mask: np.ndarray) -> float:
    """Share of the landmarks' convex hull that a mask (s, s) covers."""
    points = (landmarks[:, :2] * len(mask)).astype(np.int32)
    face = cv2.fillConvexPoly(np.zeros_like(mask), cv2.convexHull(points), 255) > 0
    return float((mask[face] > 127).mean())


def _only_face(faces: list[Box]) -> Box:
    if not faces:
        raise RejectedPortrait("no face")
    if len(faces) > 1 and faces[1].width > _SECOND_FACE * faces[0].width:
        raise RejectedPortrait("several people")
    return faces[0]
