"""What a model with a warp learns about movement: from pictures, and from the landmarks of the face."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, grid_sample

from training.clips.face_mesh import EYES, LIP_CORNERS, LOWER_LIP, UPPER_LIP
from training.model.warp import REACH, WARP_POINTS, moved_portrait, warp_points

#: Weight of what is seen of the portrait against where it is.
SEEN_WEIGHT = 0.1

#: Weight of the error at the eyelids beside that of the whole face.
EYELID_WEIGHT = 8.0
#: Weight of open eyes against shut ones, which are rare.
OPEN_EYES = 0.1

_OPENING = (LIP_CORNERS[0], *UPPER_LIP, LIP_CORNERS[1], *reversed(LOWER_LIP))
_LOOKS = 2  # places in each direction for which a point of the warp stands


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
    return _mean((moved - avg_pool2d(frames, pixels)).abs().mean(1, keepdim=True), _at_points(weight))


def landmark_error(maps: Tensor, landmarks: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
    """Error () of a warp where the landmarks of the face are known: where they come from, and what is seen.

    The portrait is seen everywhere but between the lips.

    Args:
        maps: predicted maps of the warp (b, f, WARP_MAPS, h, w)
        landmarks: x and y of the face mesh in each frame (b, f, 468, 2), in widths of the picture; NaN if unknown
        reference: x and y of the same landmarks in the portrait (b, 468, 2)
        weight: weight of each latent (b·f, 1, h, w), which its landmarks have too
    """
    points = warp_points(maps)
    here, known, away = _misplaced(points, landmarks, reference)
    wrong = binary_cross_entropy_with_logits(points[:, 2], 1 - between_lips(here, points.shape[-1]), reduction="none")
    places = _at(weight, here)[..., 0] * known
    everywhere = _at_points(weight)[:, 0] * known.all(-1)[:, None, None]
    return _mean(away.abs().sum(-1), places) + SEEN_WEIGHT * _mean(wrong, everywhere)


def eyelid_error(maps: Tensor, landmarks: Tensor, reference: Tensor, closing: Tensor) -> Tensor:
    """Error () of where a warp takes the eyelids from, against the corners of the eyes. Among all landmarks they hardly
    count: they are few, blink seldom, and move less than the head.

    Args:
        maps: as in `landmark_error`
        landmarks: as in `landmark_error`
        reference: as in `landmark_error`
        closing: how far the eyes are shut in each frame (b, f), from 0 to 1
    """
    points, weight = warp_points(maps), OPEN_EYES + closing.flatten()[:, None]
    errors = []
    for upper, lower, corners in EYES:
        # An index of numbers would be copied to a GPU at each step, which a CUDA graph cannot capture.
        chosen = [
            torch.stack([each[..., k, :] for k in (*corners, *upper, *lower)], -2) for each in (landmarks, reference)
        ]
        _, known, away = _misplaced(points, *chosen)
        of_corners, of_lids = away.split((len(corners), len(upper) + len(lower)), 1)
        wrong = (of_lids - of_corners.mean(1, keepdim=True)).abs().sum(-1)
        errors.append(_mean(wrong, (known.all(1, keepdim=True) * weight).expand_as(wrong)))
    return torch.stack(errors).mean()


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


def _misplaced(points: Tensor, landmarks: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places of landmarks in each frame (n, k, 2), whether they are known (n, k), and how far right and down of their
    true place in the portrait a warp takes them from (n, k, 2), in REACH.

    Args:
        points: points of the warp (n, 3, side, side)
        landmarks: x and y in each frame (b, f, k, 2), in widths of the picture
        reference: x and y in the portrait (b, k, 2)
    """
    here, there = landmarks.flatten(0, 1), reference.repeat_interleave(landmarks.shape[1], 0)
    known = here.isfinite().all(-1) & there.isfinite().all(-1)
    here, there = here.nan_to_num(), there.nan_to_num()
    return here, known, _at(points[:, :2], here) + (here - there) / REACH


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
