"""The triangles that are drawn over the warped photograph, and their colours: face, eyes, teeth and what is behind."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.clips.face_mesh import FACE_POINTS
from training.speakers.puppets.face_tables import face_tables
from training.speakers.puppets.pose import Pose
from training.speakers.puppets.puppet import Puppet
from training.speakers.puppets.rasterizer import Fragments, rasterize

_TEETH = (0.90, 0.86, 0.80)
_FLESH = (0.60, 0.31, 0.30)
_CAVITY = (0.12, 0.04, 0.04)
_FADE = 6.0  # how fast the mouth darkens to its back, per width of the face
_LIT = 0.07  # widths of the face behind the lips that are lit
_LIP_MARGIN = 3.0  # pixels around the opening of the lips in which the inside of the mouth is drawn


@functools.cache
def front_triangles() -> tuple[Tensor, tuple[int, int, int, int]]:
    """The triangles (F, 3) of all that is drawn in front, and the number of those of the face, the eyes, the inside of
    the mouth and the dark behind it. The indices count the points of the face, the eyes, the mouth and the dark."""
    tables = face_tables()
    eyes, first = [], FACE_POINTS
    for ring in tables.eye_rings:
        eyes.append(_fan(len(ring)) + first)
        first += len(ring) + 1
    mouth = tables.mouth_triangles + first
    cavity = _fan(len(tables.inner_lips)) + first + len(tables.mouth_points)
    parts = [tables.triangles, np.concatenate(eyes), mouth, cavity]
    return torch.from_numpy(np.concatenate(parts)), (len(parts[0]), len(parts[1]), len(parts[2]), len(parts[3]))


def draw_front(puppet: Puppet, pose: Pose, picture: Tensor, seen: Tensor, side: int) -> tuple[Fragments, Tensor]:
    """Draws the face, the eyes and the mouth.

    Args:
        puppet: who is drawn.
        pose: B frames.
        picture: (3, s, s) colours of the photograph.
        seen: (B, n, 3) where all points of `front_triangles` are seen, as `rasterize` takes them.
        side: side of a frame in pixels.

    Returns:
        the pixels that are drawn, and their colours (n, 3).
    """
    triangles, (face, eyes, mouth, _) = (front_triangles()[0].to(seen.device), front_triangles()[1])
    fragments = _between_lips(rasterize(seen, triangles, side, _visible(seen, triangles, face + eyes)), seen, side)
    texture = torch.cat([puppet.texture[:FACE_POINTS], puppet.eyes[:, :2] * seen.new_tensor([1, -1])])
    colours = seen.new_empty(len(fragments.pixel), 3)
    skin = fragments.triangle < face + eyes
    corners = triangles[fragments.triangle[skin]]
    colours[skin] = sample(picture, (texture[corners] * fragments.weights[skin, :, None]).sum(1))
    inner = (fragments.triangle >= face + eyes) & (fragments.triangle < face + eyes + mouth)
    colours[inner] = _inside(puppet, pose, Fragments(*(part[inner] for part in fragments)), triangles)
    brightness = puppet.tone.mean()
    colours[fragments.triangle >= face + eyes + mouth] = 1.6 * brightness * seen.new_tensor(_CAVITY)
    return fragments, colours


def sample(picture: Tensor, places: Tensor) -> Tensor:
    """Colours (n, c) of a picture (c, s, s) at places (n, 2), x and y down in [0, 1]."""
    grid = (2 * places - 1)[None, None]
    return F.grid_sample(picture[None], grid, padding_mode="border", align_corners=False)[0, :, 0].T


def _visible(seen: Tensor, triangles: Tensor, outside: int) -> Tensor:
    """Which triangles (B, F) are worth drawing: of those in the mouth, the ones that the parted lips may show."""
    low, high = _lips(seen)
    corners = seen[:, triangles[outside:], :2]
    inside = ((corners.amax(2) >= low[:, None]) & (corners.amin(2) <= high[:, None])).all(-1)
    return F.pad(inside, (outside, 0), value=True)


def _between_lips(fragments: Fragments, seen: Tensor, side: int) -> Fragments:
    """The fragments without those of the mouth that stick out of a turned face."""
    low, high = _lips(seen)
    place = torch.stack([fragments.pixel % side, fragments.pixel // side], 1)
    inside = ((place >= low[fragments.frame]) & (place <= high[fragments.frame])).all(1)
    face_and_eyes = sum(front_triangles()[1][:2])
    kept = inside | (fragments.triangle < face_and_eyes)
    return Fragments(*(part[kept] for part in fragments))


def _lips(seen: Tensor) -> tuple[Tensor, Tensor]:
    """The upper left and the lower right corner (B, 2) of a box around the opening of the lips."""
    lips = seen[:, face_tables().inner_lips, :2]
    return lips.amin(1) - _LIP_MARGIN, lips.amax(1) + _LIP_MARGIN


def _inside(puppet: Puppet, pose: Pose, fragments: Fragments, triangles: Tensor) -> Tensor:
    """Colours (n, 3) of teeth and flesh, darker to the back, in the light that the face is in."""
    first = FACE_POINTS + pose.eyes.shape[1]
    corners = triangles[fragments.triangle] - first
    depth = (pose.mouth[fragments.frame[:, None], corners, 2] * fragments.weights).sum(1)
    behind = ((puppet.mouth.lips_depth - depth) / puppet.face_width).clamp(min=0)
    shade = 0.95 * pose.light[fragments.frame] * torch.exp(-_FADE * (behind - _LIT).clamp(min=0))
    teeth = puppet.mouth.is_teeth[corners[:, 0]]
    own = torch.where(teeth[:, None], shade.new_tensor(_TEETH), shade.new_tensor(_FLESH))
    brightness = (1.75 * puppet.tone.mean()).clamp(0.5, 1.05)
    light = 0.7 + 0.3 * puppet.tone / puppet.tone.mean()
    return own * shade[:, None] * brightness * light


def _fan(corners: int) -> np.ndarray:
    """Triangles (corners, 3) between an outline and its middle, which comes last."""
    index = np.arange(corners)
    return np.stack([index, (index + 1) % corners, np.full(corners, corners)], 1)
