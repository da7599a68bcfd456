"""The mesh around a photographed face: rings for hair and neck, and a grid for the rest of the picture.

Coordinates of all puppets: x to the right, y up and z towards the viewer, in widths of the picture, from its upper left
corner.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import Delaunay

from training.clips.face_mesh import FACE_POINTS
from training.speakers.puppets.face_tables import face_tables
from training.speakers.puppets.fields import smooth_field

_RINGS = (1.10, 1.24, 1.42, 1.66, 2.0)  # sizes, in sizes of the face's outline
_MOVING_RINGS = 3  # those that stretch with the jaw
_GRID, _GRID_POINTS = (-0.2, 1.2), 18
_NECK = 0.42  # heights of the face below the chin over which the body stops to turn with the head


class Surroundings(NamedTuple):
    """The points and faces around a face of 468 points, and how they follow it.

    Attributes:
        points: (v, 3) points after those of the face.
        triangles: (f, 3) their faces, with indices that count the points of the face first.
        spread: (v, 36) how much of each outline point's shift each point takes.
        turn: (468 + v,) how much of the head's turn each point takes, those of the face included.
        pivot: (3,) where the head turns on the neck.
    """

    points: np.ndarray
    triangles: np.ndarray
    spread: np.ndarray
    turn: np.ndarray
    pivot: np.ndarray


def surround(face: np.ndarray) -> Surroundings:
    """Surrounds a face (468, 3) by a mesh that fills the picture and more."""
    outline = face[face_tables().oval]
    middle, (width, height, _) = outline.mean(0), np.ptp(outline, 0)
    behind = float(np.quantile(outline[:, 2], 0.15))
    rings = [_ring(outline, middle, behind, size) for size in _RINGS]
    points = np.concatenate([*rings, _grid(middle, width, height, behind)])
    everything = np.concatenate([face, points])
    triangles = np.concatenate([_strips(), _beyond_rings(everything)])
    chin = float(outline[:, 1].min())
    fall = np.clip((chin - 0.02 - everything[:, 1]) / (_NECK * height), 0, 1)
    return Surroundings(
        points,
        triangles,
        _spread(len(everything), triangles),
        1 - fall * fall * (3 - 2 * fall),
        np.array([middle[0], chin - 0.12 * height, behind - 0.12 * width]),
    )


def _ring(outline: np.ndarray, middle: np.ndarray, behind: float, size: float) -> np.ndarray:
    ring = middle + (outline - middle) * size
    ring[:, 2] = outline[:, 2] + (behind - outline[:, 2]) * min(1, (size - 1) / 0.3)
    return ring


def _grid(middle: np.ndarray, width: float, height: float, behind: float) -> np.ndarray:
    """The points of a grid over the picture that lie outside of all rings."""
    steps = np.linspace(*_GRID, _GRID_POINTS)
    x, y = (axis.ravel() for axis in np.meshgrid(steps, -steps))
    size = 0.5 * (_RINGS[-1] + 0.15)
    outside = ((x - middle[0]) / (size * width)) ** 2 + ((y - middle[1]) / (size * height)) ** 2 > 1
    return np.stack([x, y, np.full_like(x, behind)], 1)[outside]


def _strips() -> np.ndarray:
    """Faces between the outline and the first ring, and from ring to ring."""
    oval = face_tables().oval
    count = len(oval)
    strips = []
    inner = oval
    for ring in range(len(_RINGS)):
        outer = FACE_POINTS + count * ring + np.arange(count)
        strips.append(np.stack([inner, np.roll(inner, -1), outer], 1))
        strips.append(np.stack([np.roll(inner, -1), np.roll(outer, -1), outer], 1))
        inner = outer
    return np.concatenate(strips)


def _beyond_rings(points: np.ndarray) -> np.ndarray:
    """Faces between the last ring and the grid."""
    count = len(face_tables().oval)
    first = FACE_POINTS + count * (len(_RINGS) - 1)
    outer = np.arange(first, len(points))
    faces = outer[Delaunay(points[outer, :2]).simplices]
    inside = (faces < first + count).all(1)  # the ring is round enough: such a face lies within it
    return np.asarray(faces[~inside])


def _spread(points: int, triangles: np.ndarray) -> np.ndarray:
    oval = face_tables().oval
    still = np.arange(FACE_POINTS + len(oval) * _MOVING_RINGS, points)
    known = np.concatenate([oval, still])
    values = np.concatenate([np.eye(len(oval)), np.zeros((len(still), len(oval)))])
    return smooth_field(points, triangles, known, values, flat=True)[FACE_POINTS:]
