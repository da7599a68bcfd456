"""How a frame shows the portrait itself (*ours*): where its pixels move, and how much of them is seen.

Whoever predicts pictures predicts the mean of those that may come, and the mean of pictures is a blur. The mean of
movements is a movement: what moves stays as sharp as the portrait.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, pixel_shuffle

from training.model.conditions import Conditions
from training.model.controls import Lids
from training.model.vae import VAE

#: Points of the movement along each side of a latent.
WARP_POINTS = 4

#: Maps that the Backbone predicts beside new latents: at each point how far right and down, and how much is seen.
WARP_MAPS = 3 * WARP_POINTS**2

#: How far a predicted 1 reaches, as a share of the picture's width. A larger reach is learned faster.
REACH = 0.4


def composed(prediction: Tensor, conditions: Conditions, vae: VAE) -> Tensor:
    """What a prediction of the Backbone means: with a warp, the portrait as it moves, and something new where none of
    it is seen.

    What is new is never added to the portrait's own pixels: a doubt about where they are would blur them.
    Guidance comes before: it then reaches further with a movement, and does not blend two pictures.

    Args:
        prediction: output of the Backbone (b, f, c, h, w), or (b, f, c + WARP_MAPS, h, w) with a warp; without b, if
            there is one portrait.
        conditions: conditions of the clips. Only a model with a warp has a `portrait` there.
        vae: its shortcut encodes what moves.

    Returns:
        what the config's `prediction_type` names, (b, f, c, h, w) or (f, c, h, w).
    """
    if conditions.portrait is None:
        return prediction
    new, maps = prediction[..., :-WARP_MAPS, :, :], prediction[..., -WARP_MAPS:, :, :]
    moved, share = moved_portrait(maps, conditions.portrait, conditions.lids)
    painted = vae.decode_by_shortcut(new.flatten(0, -4))
    frames = share * moved + (1 - share) * painted
    return vae.encode_by_shortcut(frames).reshape(new.shape).to(new.dtype)


def moved_portrait(maps: Tensor, portrait: Tensor, lids: Lids | None = None) -> tuple[Tensor, Tensor]:
    """The portrait as it moves, and how much of it each frame shows.

    Maps of zeros, as a new model gives them, mean nine tenths of the portrait, unmoved.

    Args:
        maps: predicted maps (b, f, WARP_MAPS, h, w), or (f, WARP_MAPS, h, w) for one portrait.
        portrait: the portrait (b, 3, R, R), at least WARP_POINTS pixels for each latent.
        lids: how its eyes shut in each frame; None leaves them as they are.

    Returns:
        pictures (b·f, 3, R, R), and shares (b·f, 1, R, R) from 0 to 1.
    """
    size = portrait.shape[-2:]
    points = warp_points(maps)
    if points.shape[-2:] != size:
        points = interpolate(points, size, mode="bilinear", align_corners=False)
    unmoved = affine_grid(torch.eye(2, 3, device=maps.device)[None], [1, 1, *size], align_corners=False)
    grid = unmoved + 2 * REACH * points[:, :2].movedim(1, -1)  # a picture is 2 wide there
    if lids is not None:
        grid = lids.shut(grid)
    repeated = portrait.float().repeat_interleave(len(points) // len(portrait), 0)
    moved = grid_sample(repeated, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return moved, points[:, 2:].sigmoid()


def warp_points(maps: Tensor) -> Tensor:
    """The points of predicted maps (..., WARP_MAPS, h, w) as pictures (n, 3, h · WARP_POINTS, w · WARP_POINTS).

    Their channels: how far right and how far down of there a point's pixel is in the portrait, in REACH; and the
    logit of how much of it is seen.
    """
    points = pixel_shuffle(maps.flatten(0, -4).float(), WARP_POINTS)
    return torch.cat([points[:, :2], points[:, 2:] + math.log(9)], 1)
