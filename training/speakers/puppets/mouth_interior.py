"""Teeth, gums and tongue behind a photograph's lips, and the dark behind them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.speakers.puppets.face_tables import face_tables

_UPPER_LIP, _LOWER_LIP = 13, 14  # landmarks of the middle of the lips' inner edges
_TEETH_ABOVE_LIPS = 0.028  # heights of the face that the upper teeth's edge is above the line of the closed lips
_TEETH_BEHIND_LIPS = 0.035  # widths of the face
_LOWER_TEETH = (0.0, 0.022, -0.011)  # their shift up and to the back, in heights and widths of the face


class MouthInterior(NamedTuple):
    """What is inside of a person's mouth. Tensors are float32.

    Attributes:
        points: (m, 3) teeth, gums and tongue behind closed lips.
        units: (u, m, 3) how each face unit moves them.
        is_teeth: (m,) bool.
        lips_depth: z of the closed lips.
        cavity: (20, 3) the inner lips, closed, from which the dark behind them is made.
        cavity_depth: z of the dark.
    """

    points: Tensor
    units: Tensor
    is_teeth: Tensor
    lips_depth: float
    cavity: Tensor
    cavity_depth: float


def place_interior(
    closed: np.ndarray, pose: tuple[float, np.ndarray, np.ndarray], width: float, height: float
) -> MouthInterior:
    """Puts the average mouth behind the lips of a face.

    Args:
        closed: (468, 3) the face with closed lips.
        pose: size, rotation and shift that take the average face to this one.
        width: width of the face.
        height: height of the face.
    """
    tables = face_tables()
    size, rotation, shift = pose
    points = size * tables.mouth_points @ rotation.T + shift
    lips = closed[[_UPPER_LIP, _LOWER_LIP]].mean(0)
    upper = points[: tables.teeth_points][~tables.mouth_lower[: tables.teeth_points]]
    centre = float(np.median(upper[:, 0]))
    incisors = upper[np.abs(upper[:, 0] - centre) < 0.25 * np.ptp(upper[:, 0])]
    front = incisors[incisors[:, 2] > np.quantile(upper[:, 2], 0.6)]
    down = lips[1] - front[:, 1].min() - _TEETH_ABOVE_LIPS * height
    back = min(0.0, lips[2] - _TEETH_BEHIND_LIPS * width - front[:, 2].max())
    points = points + np.array([lips[0] - centre, down, back])
    points[tables.mouth_lower] += np.array(_LOWER_TEETH) * [height, height, width]
    inner = closed[tables.inner_lips]
    middle = inner.mean(0)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))

    return MouthInterior(
        points=tensor(points),
        units=tensor(size * tables.mouth_deltas @ rotation.T),
        is_teeth=torch.arange(len(points)) < tables.teeth_points,
        lips_depth=float(closed[_UPPER_LIP, 2]),
        cavity=tensor(middle + (inner - middle) * [1.25, 1, 1]),
        cavity_depth=float(middle[2] - 0.22 * width),
    )
