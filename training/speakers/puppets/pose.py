"""Where the points of a puppet are in each frame of a motion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from training.clips.face_mesh import FACE_POINTS
from training.clips.rotation import rotation_matrix
from training.speakers.motion import Motion
from training.speakers.puppets.expressions import unit_weights
from training.speakers.puppets.face_tables import face_tables
from training.speakers.puppets.puppet import Puppet

_CAVITY_GROWTH = (1.0, 1.8, 1.0)
_ROUND_LIPS_SHADE = 0.75


class Pose(NamedTuple):
    """Points of B frames, in the coordinates of `mesh`.

    Attributes:
        mesh: (B, 468 + v, 3) the face and what is around it.
        eyes: (B, 34, 3) outline and middle of each eye, behind the lids.
        mouth: (B, m, 3) teeth, gums and tongue.
        cavity: (B, 21, 3) outline and middle of the dark behind them.
        light: (B,) share of the light that the lips let into the mouth; rounded ones take most of it.
    """

    mesh: Tensor
    eyes: Tensor
    mouth: Tensor
    cavity: Tensor
    light: Tensor


def pose(puppet: Puppet, motion: Motion, frame: float) -> Pose:
    """Poses a puppet.

    Args:
        puppet: who moves.
        motion: B frames.
        frame: width of the frame in widths of the photograph.
    """
    tables = face_tables()
    weights = unit_weights(motion, puppet.smile, puppet.lip_gaps)
    rest = puppet.points[:FACE_POINTS]
    units = torch.einsum("bu,unk->bnk", weights, puppet.units)
    face = rest + units + motion.blink[:, None, None] * puppet.shut
    outline = (face - rest)[:, tables.oval]
    around = puppet.points[FACE_POINTS:] + torch.einsum("vo,bok->bvk", puppet.spread, outline)
    mouth = puppet.mouth.points + torch.einsum("bu,unk->bnk", weights, puppet.mouth.units)
    lips = puppet.mouth.cavity + units[:, tables.inner_lips]
    lips[..., 2] = puppet.mouth.cavity_depth
    middle = lips.mean(1, keepdim=True)
    cavity = torch.cat([middle + (lips - middle) * lips.new_tensor(_CAVITY_GROWTH), middle], 1)
    turned = _Turn(puppet, motion, frame)
    return Pose(
        turned(torch.cat([face, around], 1), puppet.turn),
        turned(puppet.eyes[None].expand(len(motion), -1, -1)),
        turned(mouth),
        turned(cavity),
        1 - _ROUND_LIPS_SHADE * (1 - 2 * motion.mouth_width).clamp(0, 1),
    )


class _Turn:
    """Turns and shifts points with the head, and shifts them with the shoulders."""

    def __init__(self, puppet: Puppet, motion: Motion, frame: float) -> None:
        upwards = torch.tensor([1.0, -1.0, 1.0], device=puppet.points.device)
        self._rotation = upwards[:, None] * rotation_matrix(motion.rotation) * upwards
        self._pivot = puppet.pivot
        shifts = torch.stack([motion.translation, motion.shoulders])  # (2, B, 2)
        self._head, self._body = frame * torch.nn.functional.pad(shifts, (0, 1)) * upwards

    def __call__(self, points: Tensor, share: Tensor | None = None) -> Tensor:
        """Moves points (B, n, 3), each by its share (n,) of what the head does, or wholly."""
        turned = (points - self._pivot) @ self._rotation.mT + self._pivot + self._head[:, None]
        moved = turned if share is None else torch.lerp(points, turned, share[:, None])
        return moved + self._body[:, None]
