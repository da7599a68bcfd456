"""Head rotation: from angles to matrices, and how fast it changes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def head_speed(rotation: np.ndarray) -> np.ndarray:
    """Head speed (t,) in degrees per frame: the angle between the rotations of a frame and of the frame before.

    The first frame has the speed of the second.

    Args:
        rotation: yaw, pitch and roll (t, 3) in degrees
    """
    matrices = rotation_matrix(torch.tensor(rotation, dtype=torch.float64))
    steps = matrices[1:] @ matrices[:-1].mT
    # The sine is needed too: the cosine alone cannot resolve small angles in finite precision.
    sine = (steps - steps.mT).flatten(1).norm(dim=1) / 8**0.5
    cosine = (steps.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    angles = torch.rad2deg(torch.atan2(sine, cosine))
    speeds = torch.cat([angles[:1], angles]) if len(angles) else torch.zeros(len(rotation))
    return speeds.numpy().astype(np.float32)


def rotation_matrix(degrees: Tensor) -> Tensor:
    """Matrices (b, 3, 3) from the head's coordinates to the viewer's: yaw first, then pitch, then roll.

    Args:
        degrees: yaw, pitch and roll (b, 3) in degrees
    """
    sines, cosines = torch.sin(torch.deg2rad(degrees)), torch.cos(torch.deg2rad(degrees))
    (sy, sp, sr), (cy, cp, cr) = sines.unbind(-1), cosines.unbind(-1)
    zero, one = torch.zeros_like(sy), torch.ones_like(sy)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, -1).unflatten(-1, (3, 3))

    yaw = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    pitch = matrix(one, zero, zero, zero, cp, sp, zero, -sp, cp)
    roll = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    return roll @ pitch @ yaw


def rotation_angles(matrix: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll (3,) in degrees of a matrix (3, 3) that rotates, and may scale.

    It is the inverse of `rotation_matrix`.
    """
    matrix = matrix / np.cbrt(np.linalg.det(matrix))
    yaw = np.arctan2(-matrix[2, 0], matrix[2, 2])
    pitch = np.arcsin(np.clip(-matrix[2, 1], -1, 1))
    roll = np.arctan2(-matrix[0, 1], matrix[1, 1])
    return np.rad2deg(np.array([yaw, pitch, roll]))
