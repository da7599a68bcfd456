"""The average face: its mesh, how each face unit moves it, and the teeth and tongue behind its lips.

`face_tables.npz` has MediaPipe's mesh of 468 landmarks fitted to the base mesh of MakeHuman (CC0), whose 52 face units
of ARKit are carried over to the landmarks. Coordinates are x to the right, y up and z towards the viewer.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Landmarks of the lips' outer edges.
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409)
MOUTH_CORNERS = (61, 291)

EYE_CORNERS = (33, 263)

#: Landmarks that move with the skull alone.
SKULL = (33, 133, 263, 362, 1, 4, 5, 6, 168, 197, 195, 98, 327, 2, 10, 151, 9, 8, 234, 454, 127, 356, 61, 291)
NOSE = (1, 4, 5, 6, 168, 197, 195, 98, 327, 2, 164)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 46, 53, 52, 65, 55, 285, 295, 282, 283, 276)
BELOW_EYES = (111, 117, 118, 119, 120, 121, 128, 340, 346, 347, 348, 349, 350, 357, 6, 168, 197, 5, 4, 1)
#: Landmarks of the folds around both eyes, within which lids move behind glasses.
EYE_FOLDS = (
    *(113, 225, 224, 223, 222, 221, 189, 244, 226, 31, 228, 229, 230, 231, 232, 233),
    *(342, 445, 444, 443, 442, 441, 413, 464, 446, 261, 448, 449, 450, 451, 452, 453),
)


@dataclass(frozen=True)
class FaceTables:
    """Arrays of the average face.

    Attributes:
        units: names of the u = 52 face units.
        points: (468, 3) the landmarks.
        deltas: (u, 468, 3) how each unit moves them.
        triangles: (f, 3) faces of the mesh, open at the eyes and the mouth.
        oval: (36,) landmarks of the outline of the face, in order.
        eye_rings: landmarks of the outline of each eye, in order.
        inner_lips: landmarks of the outline of the open mouth, in order.
        eye_distance: distance between the outer corners of the eyes.
        mouth_points: (m, 3) teeth, gums and tongue.
        mouth_deltas: (u, m, 3) how each unit moves them.
        mouth_triangles: (g, 3) faces of teeth, gums and tongue.
        mouth_lower: (m,) whether a point moves with the jaw.
        teeth_points: number of points, the first ones, that are teeth.
    """

    units: tuple[str, ...]
    points: np.ndarray
    deltas: np.ndarray
    triangles: np.ndarray
    oval: np.ndarray
    eye_rings: tuple[np.ndarray, np.ndarray]
    inner_lips: np.ndarray
    eye_distance: float
    mouth_points: np.ndarray
    mouth_deltas: np.ndarray
    mouth_triangles: np.ndarray
    mouth_lower: np.ndarray
    teeth_points: int

    def unit(self, name: str) -> list[int]:
        """Indices of a unit: one, or two for the left and the right side.

        Raises:
            KeyError: if there is no such unit.
        """
        found = [index for index, unit in enumerate(self.units) if unit in (name, f"{name}Left", f"{name}Right")]
        if not found:
            raise KeyError(name)
        return found


@functools.cache
def face_tables() -> FaceTables:
    """The tables, read once."""
    with np.load(Path(__file__).with_name("face_tables.npz")) as file:
        return FaceTables(
            units=tuple(map(str, file["units"])),
            points=file["landmarks"].astype(np.float64),
            deltas=file["deltas"].astype(np.float64),
            triangles=file["triangles"].astype(np.int64),
            oval=file["oval"],
            eye_rings=(file["left_eye"], file["right_eye"]),
            inner_lips=file["inner_lips"],
            eye_distance=float(file["interocular"]),
            mouth_points=file["mouth_vertices"].astype(np.float64),
            mouth_deltas=file["mouth_deltas"].astype(np.float64),
            mouth_triangles=file["mouth_triangles"].astype(np.int64),
            mouth_lower=file["mouth_lower"],
            teeth_points=int(file["teeth_vertices"]),
        )
