"""Regions of a frame: masks of boxes, and how much an error weighs in the face and at the mouth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emo_rt.media.boxes import Box, face_region, union
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


def box_mask(box: np.ndarray, resolution: int, margin: float) -> Tensor:
    """Mask (1, resolution, resolution): 1 inside of one box, else 0.

    Args:
        box: x, y, width and height in pixels (4,)
        resolution: height and width of the frame in pixels
        margin: how far the mask reaches beyond the box on each side, in box sizes
    """
    return torch.from_numpy(face_region(Box(*map(float, box)), resolution, margin))[0]


def region_around(boxes: np.ndarray, resolution: int, margin: float) -> Tensor:
    """Mask (1, resolution, resolution) of the union of boxes (f, 4), as `box_mask` makes it of one box."""
    return torch.from_numpy(face_region(union(Box(*map(float, box)) for box in boxes), resolution, margin))[0]


def latent_shares(boxes: np.ndarray, config: EmoConfig, margin: float) -> Tensor:
    """Share of each latent (f, 1, h, w) that lies in the boxes (f, 4), enlarged as in `box_mask`."""
    masks = torch.stack([box_mask(box, config.resolution, margin) for box in boxes])
    return torch.nn.functional.adaptive_avg_pool2d(masks, config.latent_size)


def error_weights(faces: np.ndarray, mouths: np.ndarray, config: EmoConfig, weights: RegionWeights) -> Tensor:
    """Weight of the squared error of each latent (f, 1, h, w).

    Args:
        faces: face boxes (f, 4) in pixels
        mouths: mouth boxes (f, 4) in pixels
        config: resolution of the frames and size of the latents
        weights: weight of each region
    """
    in_face = latent_shares(faces, config, margin=0.0)
    at_mouth = latent_shares(mouths, config, MOUTH_MARGIN)
    return torch.maximum(1 + (weights.face - 1) * in_face, 1 + (weights.mouth - 1) * at_mouth)
