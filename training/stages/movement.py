"""What a model with a warp learns about movement: from pictures, and from the landmarks of the face.

How the eyes shut is learned from the landmarks of single portraits with open eyes. So no blink has to be seen.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    binary_cross_entropy_with_logits,
    grid_sample,
    smooth_l1_loss,
)

from training.clips.face_mesh import EYES, FACE_POINTS, LIP_CORNERS, LOWER_LIP, UPPER_LIP
from training.model.controls import Lids
from training.model.warp import REACH, WARP_POINTS, moved_portrait, warp_points
from training.speakers.puppets.expressions import shutting

#: Weight of what is seen of the portrait against where it is.
SEEN_WEIGHT = 0.1

#: Part of the width in which errors are counted: a pixel of 256. Errors of less than SMALL count by their square:
#: otherwise a network that does not know where the lids are learns their median, and that is to move nothing.
UNIT, SMALL = 1 / 256, 4.0
#: How far below the lower lid nothing moves, in UNIT: at the lid itself, the upper one has come down.
BELOW_LID = 1.6
#: Weights of the landmarks of the eyes, and of all others; and of those that move, for each UNIT.
EYE_WEIGHT, FACE_WEIGHT, MOVING_WEIGHT = 0.3, 0.03, 0.33
#: Weight of a field that moves anything, anywhere.
STILL_WEIGHT = 0.05

_EYE_POINTS = sorted(point for eye in EYES for part in eye for point in part)
_LOWER_LIDS = sorted(point for _, lower, _ in EYES for point in lower)
_OPENING = (LIP_CORNERS[0], *UPPER_LIP, LIP_CORNERS[1], *reversed(LOWER_LIP))
_LOOKS = 2  # places in each direction for which a point of the warp stands


def movement_error(maps: Tensor, portrait: Tensor, frames: Tensor, weight: Tensor, lids: Lids | None = None) -> Tensor:
    """Mean difference () between frames and the portrait as it moves, as if nothing new covered it.

    Pictures are small here, a pixel for each point of the warp: so a lip lies near to where it moves.

    Args:
        maps: predicted maps of the warp (b, f, WARP_MAPS, h, w)
        portrait: the portrait (b, 3, resolution, resolution)
        frames: true frames (b·f, 3, resolution, resolution)
        weight: weight of each latent (b·f, 1, h, w)
        lids: how the eyes of the portrait shut
    """
    pixels = frames.shape[-1] // (WARP_POINTS * maps.shape[-1])
    moved, _ = moved_portrait(maps, avg_pool2d(portrait, pixels), lids)
    return _mean((moved - avg_pool2d(frames, pixels)).abs().mean(1, keepdim=True), _at_points(weight))


def landmark_error(
    maps: Tensor, landmarks: Tensor, reference: Tensor, weight: Tensor, lids: Lids | None = None
) -> Tensor:
    """Error () of a warp where the landmarks of the face are known: where they come from, and what is seen.

    The portrait is seen everywhere but between the lips.

    Args:
        maps: predicted maps of the warp (b, f, WARP_MAPS, h, w)
        landmarks: x and y of the face mesh in each frame (b, f, 468, 2), in widths of the picture; NaN if unknown
        reference: x and y of the same landmarks in the portrait (b, 468, 2)
        weight: weight of each latent (b·f, 1, h, w), which its landmarks have too
        lids: how the eyes of the portrait shut
    """
    points = warp_points(maps)
    here, there = landmarks.flatten(0, 1), reference.repeat_interleave(landmarks.shape[1], 0)
    known = here.isfinite().all(-1) & there.isfinite().all(-1)
    here, there = here.nan_to_num(), there.nan_to_num()
    away = _at(points[:, :2], here) + (here - there) / REACH
    if lids is not None:
        away = away + lids.shifts(2 * (there + REACH * away)[:, None] - 1)[:, 0] / REACH
    wrong = binary_cross_entropy_with_logits(points[:, 2], 1 - between_lips(here, points.shape[-1]), reduction="none")
    places = _at(weight, here)[..., 0] * known
    everywhere = _at_points(weight)[:, 0] * known.all(-1)[:, None, None]
    return _mean(away.abs().sum(-1), places) + SEEN_WEIGHT * _mean(wrong, everywhere)


def eyelid_error(field: Tensor, opened: Tensor, shut: Tensor) -> Tensor:
    """Error () of the fields of some portraits.

    Args:
        field: output of `Eyelids` (b, 2, h, w)
        opened: x and y of the face mesh (b, 468, 2), in widths of the picture; NaN if unknown
        shut: the same with shut eyes
    """
    _, weights, offset = _about_eyes(field.device)
    known = opened.isfinite().all(-1) & shut.isfinite().all(-1)
    wanted, places = (opened - shut).nan_to_num() / UNIT, shut.nan_to_num() + offset
    found = grid_sample(field, (2 * places - 1)[:, None], padding_mode="border", align_corners=False)[:, :, 0].mT / UNIT
    wrong = smooth_l1_loss(found, wanted, reduction="none", beta=SMALL).sum(-1)  # (b, 468)
    weight = (weights + MOVING_WEIGHT * wanted.norm(dim=-1)) * (known & ((places > 0) & (places < 1)).all(-1))
    return (wrong * weight).sum() / weight.sum().clamp(min=1e-6) + STILL_WEIGHT * (field / UNIT).square().mean()


def varied(portraits: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Portraits (b, 3, R, R) in [-1, 1] turned, sized, shifted, mirrored and lit at random; their landmarks
    (b, 468, 2), in widths of the picture; and these with shut eyes.
    """
    size, device = len(portraits), portraits.device
    angle, zoom, shift = torch.randn(4, size, device=device).split((1, 1, 2))
    angle, zoom, shift = 0.15 * angle[0], torch.exp(0.12 * zoom[0]), 0.08 * shift.T
    mirrored = torch.where(torch.rand(size, device=device) < 0.5, -zoom, zoom)
    across = torch.stack([angle.cos() * mirrored, -angle.sin() * zoom], -1)
    down = torch.stack([angle.sin() * mirrored, angle.cos() * zoom], -1)
    matrix = torch.stack([across, down], 1)  # from places in the new pictures to those in the old ones
    grid = affine_grid(torch.cat([matrix, 2 * shift[:, :, None]], 2), list(portraits.shape), align_corners=False)
    seen = grid_sample(portraits, grid, padding_mode="reflection", align_corners=False)
    light, contrast = torch.randn(size, 3, 1, 1, device=device), torch.randn(size, 1, 1, 1, device=device)
    lit = torch.exp(0.15 * light) * (0.5 * seen + 0.5).clamp(0, 1) ** torch.exp(0.25 * contrast)
    seen = 2 * lit.clamp(0, 1) - 1
    moved, *_ = _about_eyes(device)
    both = torch.stack([landmarks, landmarks + moved @ landmarks])
    there = (both - 0.5 - shift[:, None]) @ torch.linalg.inv(matrix).mT + 0.5
    return seen, there[0], there[1]


def between_lips(landmarks: Tensor, side: int) -> Tensor:
    """Share (n, side, side) of each point of a grid that lies between the lips.

    Args:
        landmarks: x and y of the face mesh (n, 468, 2), in widths of the picture
        side: number of points along each side of the picture
    """
    looks = _LOOKS * side
    line = (torch.arange(looks, device=landmarks.device) + 0.5) / looks
    # An index of numbers would be copied to a GPU at each step, which a CUDA graph cannot capture.
    x1, y1 = torch.stack([landmarks[:, point] for point in _OPENING], 1).unbind(-1)
    x2, y2 = x1.roll(-1, 1), y1.roll(-1, 1)
    crossed = (y1[..., None] > line) != (y2[..., None] > line)  # (n, edges, rows)
    slope = (x2 - x1) / torch.where(y2 == y1, 1, y2 - y1)
    at = x1[..., None] + (line - y1[..., None]) * slope[..., None]
    right = crossed[..., None] & (at[..., None] > line)  # (n, edges, rows, columns)
    inside = right.sum(1) % 2
    return avg_pool2d(inside.float(), _LOOKS)


def _at(pictures: Tensor, places: Tensor) -> Tensor:
    """Values (n, k, c) of pictures (n, c, h, w) at places (n, k, 2), x and y in widths of the picture."""
    grid = (2 * places - 1)[:, None]
    return grid_sample(pictures, grid, padding_mode="border", align_corners=False)[:, :, 0].mT


def _at_points(weight: Tensor) -> Tensor:
    """Weights (n, 1, h, w) of latents as those of the points of the warp."""
    return weight.repeat_interleave(WARP_POINTS, -1).repeat_interleave(WARP_POINTS, -2)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean () of the values by their weights; the mean of none is 0."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-9)


@functools.cache
def _about_eyes(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The matrix (468, 468) from landmarks to their shifts when eyes shut, their weights (468,), and how far from each
    a field is looked at (468, 2).
    """
    moved = shutting(np.eye(FACE_POINTS))  # it is linear
    weights = torch.full((FACE_POINTS,), FACE_WEIGHT)
    weights[_EYE_POINTS] = EYE_WEIGHT
    offset = torch.zeros(FACE_POINTS, 2)
    offset[_LOWER_LIDS, 1] = BELOW_LID * UNIT
    return torch.from_numpy(moved).float().to(device), weights.to(device), offset.to(device)
