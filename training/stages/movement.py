"""What a model with a warp learns about movement: from pictures, and from the landmarks of the face."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, softplus

from training.clips.face_mesh import LOWER_LIP, UPPER_LIP
from training.model.warp import REACH, WARP_POINTS, moved_portrait, warp_points

#: Weight of what is seen of the portrait against where it is.
SEEN_WEIGHT = 0.02

#: Gap between the lips, in points of the warp, from which the inside of the mouth is seen.
PARTED = 1.5


def movement_error(maps: Tensor, portrait: Tensor, frames: Tensor, weight: Tensor) -> Tensor:
    """Mean difference () between frames and the portrait as it moves, as if nothing new covered it.

    Pictures are small here, a pixel for each point of the warp: so a lip lies near to where it moves.

    Args:
        maps: predicted maps of the warp (b, f, WARP_MAPS, h, w)
        portrait: the portrait (b, 3, resolution, resolution)
        frames: true frames (b·f, 3, resolution, resolution)
        weight: weight of each latent (b·f, 1, h, w)
    """
    pixels = frames.shape[-1] // (WARP_POINTS * maps.shape[-1])
    moved, _ = moved_portrait(maps, avg_pool2d(portrait, pixels))
    weight = weight.repeat_interleave(WARP_POINTS, -1).repeat_interleave(WARP_POINTS, -2)
    return (weight * (moved - avg_pool2d(frames, pixels)).abs()).sum() / (3 * weight.sum())


def landmark_error(maps: Tensor, landmarks: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
    """Error () of a warp at the landmarks of the face: where they come from, and that they are seen.

    Between parted lips, the portrait is not seen. Landmarks that are NaN do not count.

    Args:
        maps: predicted maps of the warp (b, f, WARP_MAPS, h, w)
        landmarks: x and y of the face mesh in each frame (b, f, 468, 2), in widths of the picture
        reference: x and y of the same landmarks in the portrait (b, 468, 2)
        weight: weight of each latent (b·f, 1, h, w), which its landmarks have too
    """
    points = warp_points(maps)
    here, there = landmarks.flatten(0, 1), reference.repeat_interleave(landmarks.shape[1], 0)
    right, down, shown = _at(points, here).unbind(-1)
    distance = (torch.stack([right, down], -1) + (here - there) / REACH).abs().sum(-1)
    hidden = softplus(-shown)
    upper, lower = here[:, list(UPPER_LIP)], here[:, list(LOWER_LIP)]
    between = torch.cat([torch.lerp(upper, lower, share) for share in (0.25, 0.5, 0.75)], 1)
    parted = (lower - upper).norm(dim=-1) > PARTED / points.shape[-1]
    covered = softplus(_at(points, between)[..., 2])
    known = _at(weight, here)[..., 0] * (here.isfinite().all(-1) & there.isfinite().all(-1))
    return _mean(distance, known) + SEEN_WEIGHT * (_mean(hidden, known) + _mean(covered, parted.repeat(1, 3).float()))


def _at(points: Tensor, places: Tensor) -> Tensor:
    """Values (n, k, c) of pictures (n, c, h, w) at places (n, k, 2), x and y in widths of the picture."""
    grid = (2 * places.nan_to_num() - 1)[:, None]
    return grid_sample(points, grid, padding_mode="border", align_corners=False)[:, :, 0].mT


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean () of the values by their weights; values without a weight may be NaN, and the mean of none is 0."""
    return (torch.where(weights > 0, values, 0) * weights).sum() / weights.sum().clamp(min=1e-9)
