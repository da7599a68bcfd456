"""Regions of a frame: masks of boxes, and how much an error weighs in the face and at the mouth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.model.config import EmoConfig

#: How far the region of the mouth, where errors weigh more, reaches beyond the mouth box on each side, in box sizes.
MOUTH_MARGIN = 0.15


@dataclass(frozen=True)
class RegionWeights:
    """Weights of the squared error by region. Outside of both regions the weight is 1.

    Attributes:
        face: weight in the face box
        mouth: weight at the mouth; where it is less than that of the face, the latter counts
    """

    face: float = 1.0
    mouth: float = 1.0


def box_mask(boxes: Tensor, resolution: int, margin: float | Tensor) -> Tensor:
    """Masks (..., 1, resolution, resolution): 1 inside of a box, else 0, as `emo_rt.media.boxes.face_region` rounds.

    Args:
        boxes: x, y, width and height in pixels (..., 4)
        resolution: height and width of the frame in pixels
        margin: how far the mask reaches beyond the box on each side, in box sizes; one number, or one for each box
    """
    columns, rows = _covered(boxes, resolution, margin)
    return (rows[..., :, None] * columns[..., None, :]).unsqueeze(-3)


def region_around(boxes: Tensor, resolution: int, margin: float | Tensor) -> Tensor:
    """Masks (..., 1, resolution, resolution) of the unions of boxes (..., f, 4); margins as in `box_mask`."""
    low = boxes[..., :2].amin(-2)
    high = (boxes[..., :2] + boxes[..., 2:]).amax(-2)
    return box_mask(torch.cat([low, high - low], -1), resolution, margin)


def latent_shares(boxes: Tensor, config: EmoConfig, margin: float) -> Tensor:
    """Share of each latent (..., 1, h, w) that lies in a box (..., 4), enlarged as in `box_mask`."""
    size = config.latent_size
    columns, rows = (
        line.unflatten(-1, (size, -1)).mean(-1) for line in _covered(boxes, config.resolution, margin)
    )  # a box is a product of two lines, and so is its mean over a latent's pixels
    return (rows[..., :, None] * columns[..., None, :]).unsqueeze(-3)


def error_weights(faces: Tensor, mouths: Tensor, config: EmoConfig, weights: RegionWeights) -> Tensor:
    """Weight of the squared error of each latent (..., 1, h, w).

    Args:
        faces: face boxes (..., 4) in pixels
        mouths: mouth boxes (..., 4) in pixels
        config: resolution of the frames and size of the latents
        weights: weight of each region
    """
    in_face = latent_shares(faces, config, margin=0.0)
    at_mouth = latent_shares(mouths, config, MOUTH_MARGIN)
    return torch.maximum(1 + (weights.face - 1) * in_face, 1 + (weights.mouth - 1) * at_mouth)


def _covered(boxes: Tensor, resolution: int, margin: float | Tensor) -> tuple[Tensor, Tensor]:
    """The columns and the rows (..., resolution) that boxes (..., 4) with their margins cover, 1 or 0."""
    margin = margin[..., None] if isinstance(margin, Tensor) else margin
    low = (boxes[..., :2] - margin * boxes[..., 2:]).round()
    high = (boxes[..., :2] + (1 + margin) * boxes[..., 2:]).round()
    pixel = torch.arange(resolution, device=boxes.device)
    inside = (pixel >= low[..., None]) & (pixel < high[..., None])  # [..., 2, resolution]
    columns, rows = inside.float().unbind(-2)
    return columns, rows
