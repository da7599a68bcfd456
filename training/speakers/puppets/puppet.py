"""A photograph made ready to move: its mesh, how speech and blinks deform it, its mouth, and what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from training.clips.face_mesh import FACE_POINTS
from training.clips.rotation import rotation_angles, rotation_matrix
from training.speakers.puppets.background import fill_background
from training.speakers.puppets.expressions import closing, freedom_with_glasses, lip_gaps, resting_smile, shutting
from training.speakers.puppets.face_tables import EYE_CORNERS, SKULL, face_tables
from training.speakers.puppets.mesh import surround
from training.speakers.puppets.mouth_interior import MouthInterior, place_interior
from training.speakers.puppets.photographs import Photograph

#: Side, in pixels, that photographs are brought to at most.
LARGEST_SIDE = 640
_EYE_GROWTH = (1.04, 1.12, 1.0)  # an eye reaches a little under its lids
_EYE_DEPTH = 0.012  # widths of the picture that it lies behind them
_UPWARDS = np.diag([1.0, -1.0, 1.0])  # between y up, as here, and y down, as in pictures


@dataclass(frozen=True)
class Puppet:
    """One person's photograph with all that moves it. Tensors are float32; see `mesh` for the coordinates.

    Attributes:
        picture: (4, s, s) RGB and the person's mask, in [0, 1].
        background: (3, s, s) what is behind the person.
        points: (468 + v, 3) the mesh with closed lips.
        texture: (468 + v, 2) where each point is in the photograph, x and y down in [0, 1].
        triangles: (f, 3) faces of the mesh.
        eyes: (34, 3) outline and middle of each eye at rest, behind the lids.
        units: (u, 468, 3) how each face unit moves the face.
        lip_gaps: (u,) how far each unit parts the lips.
        shut: (468, 3) how a blink moves it.
        spread: (v, 36) how the points around the face follow its outline.
        turn: (468 + v,) share of the head's turn that a point takes.
        pivot: (3,) where the head turns.
        mouth: teeth, gums and tongue.
        tone: (3,) the middle colour of the face.
        face_width: width of the face.
        middle: (2,) the middle of the face, x and y down.
        smile: smile of the photograph from 0 to 1.1.
        rest: (3, 3) rotation of the head in the photograph, in coordinates with y down.
    """

    picture: Tensor
    background: Tensor
    points: Tensor
    texture: Tensor
    triangles: Tensor
    eyes: Tensor
    units: Tensor
    lip_gaps: Tensor
    shut: Tensor
    spread: Tensor
    turn: Tensor
    pivot: Tensor
    mouth: MouthInterior
    tone: Tensor
    face_width: float
    middle: Tensor
    smile: float
    rest: Tensor

    @classmethod
    def of(cls, photograph: Photograph) -> Puppet:
        """Makes a puppet of a photograph, in some 0.2 s."""
        tables = face_tables()
        side = min(len(photograph.picture), LARGEST_SIDE)
        picture, mask = _resized(photograph.picture, side), _person(_resized(photograph.mask, side))
        face = photograph.landmarks[:FACE_POINTS].astype(np.float64) * [1, -1, -1]
        size, rotation, shift = _similarity(tables.points[list(SKULL)], face[list(SKULL)])
        closed = face + closing(face)
        around = surround(face)
        everything = np.concatenate([face, around.points])
        outline = face[tables.oval]
        eyes = np.linalg.norm(face[EYE_CORNERS[0]] - face[EYE_CORNERS[1]]) / tables.eye_distance
        corners = (outline[:, :2] * [1, -1] * side).astype(np.int32)
        inside = cv2.fillPoly(np.zeros((side, side), np.uint8), [corners], [1]) > 0
        width, height, _ = np.ptp(outline, 0)
        units = eyes * tables.deltas @ rotation.T
        if photograph.glasses:
            units = units * freedom_with_glasses()
        tensor = _tensor
        return cls(
            picture=tensor(np.dstack([picture, mask]).transpose(2, 0, 1)),
            background=tensor(fill_background(picture, mask).transpose(2, 0, 1)),
            points=tensor(np.concatenate([closed, around.points])),
            texture=tensor(everything[:, :2] * [1, -1]),
            triangles=torch.from_numpy(np.concatenate([tables.triangles, around.triangles])),
            eyes=tensor(np.concatenate([_eye(face[ring]) for ring in tables.eye_rings])),
            units=tensor(units),
            lip_gaps=tensor(lip_gaps(units)),
            shut=tensor(shutting(face, glasses=photograph.glasses)),
            spread=tensor(around.spread),
            turn=tensor(around.turn),
            pivot=tensor(around.pivot),
            mouth=place_interior(closed, (size, rotation, shift), float(width), float(height)),
            tone=tensor(np.median(picture[inside], 0)),
            face_width=float(width),
            middle=tensor(outline.mean(0)[:2] * [1, -1]),
            smile=resting_smile(face),
            rest=tensor(_UPWARDS @ rotation @ _UPWARDS),
        )

    def seen_rotation(self, rotation: Tensor) -> Tensor:
        """Yaw, pitch and roll (B, 3) of the head in degrees that are seen when a motion's `rotation` turns it."""
        matrices = rotation_matrix(rotation) @ self.rest
        return _tensor(np.stack([rotation_angles(matrix) for matrix in matrices.double().numpy(force=True)]))


def _eye(outline: np.ndarray) -> np.ndarray:
    """An eye's outline (n, 3), which reaches under the lids, and its middle: (n + 1, 3)."""
    middle = outline.mean(0, keepdims=True)
    return np.concatenate([middle + (outline - middle) * _EYE_GROWTH, middle]) - [0, 0, _EYE_DEPTH]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pixels of uint8 as float32 in [0, 1], `side` wide."""
    resized = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.float32) / 255


def _person(mask: np.ndarray) -> np.ndarray:
    """A mask with edges of two pixels or so: those of segmentation are far softer."""
    return np.asarray(cv2.GaussianBlur(np.clip(2 * mask - 0.5, 0, 1), (0, 0), 1.2))


def _similarity(points: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The size, rotation (3, 3) and shift (3,) that take points (n, 3) nearest to where they are seen (Umeyama)."""
    middle, seen_middle = points.mean(0), seen.mean(0)
    left, sizes, right = np.linalg.svd((points - middle).T @ (seen - seen_middle))
    signs = np.array([1, 1, np.sign(np.linalg.det(right.T @ left.T))])
    rotation = right.T @ np.diag(signs) @ left.T
    size = float((sizes * signs).sum() / ((points - middle) ** 2).sum())
    return size, rotation, seen_middle - size * rotation @ middle
