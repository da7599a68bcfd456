"""Drawing on planes of pixels: layers, soft edges, and regions of a frame."""

from __future__ import annotations

import torch
from torch import Tensor


def plane(values: Tensor) -> Tensor:
    """Values of a frame as a plane that broadcasts: (B,) -> (B, 1, 1), (B, 3) -> (B, 3, 1, 1)."""
    return values[..., None, None]


def smooth(x: Tensor) -> Tensor:
    """A soft step of the same shape: 0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def edge(distance: Tensor) -> Tensor:
    """Coverage from 0 to 1 of a signed distance to an edge, in pixels, positive inside."""
    return (distance + 0.5).clamp(0, 1)


def colour(red: float, green: float, blue: float, device: torch.device) -> Tensor:
    """One linear colour for all frames, (1, 3, 1, 1)."""
    return torch.tensor([red, green, blue], device=device)[None, :, None, None]


def over(frame: Tensor, paint: Tensor, alpha: Tensor) -> Tensor:
    """Lays `paint` (B, 3, 1 or H, 1 or W) over a `frame` (B, 3, H, W) with coverage `alpha` (B, H, W)."""
    return torch.lerp(frame, paint.expand_as(frame), alpha[:, None])


class Region:
    """A rectangle around a point of each frame, of the same size in all B frames and wholly inside them.

    Args:
        centre: (B, 2) middles in pixels.
        width: share of the frame's width.
        height: share of the frame's height.
        resolution: side of the frames in pixels.
    """

    def __init__(self, centre: Tensor, width: float, height: float, resolution: int) -> None:
        self.size = (min(round(height * resolution), resolution), min(round(width * resolution), resolution))
        corner = centre.round().long() - torch.tensor([self.size[1] // 2, self.size[0] // 2], device=centre.device)
        limits = torch.tensor([resolution - self.size[1], resolution - self.size[0]], device=centre.device)
        corner = torch.minimum(corner.clamp(min=0), limits)
        rows = corner[:, 1, None] + torch.arange(self.size[0], device=centre.device)
        columns = corner[:, 0, None] + torch.arange(self.size[1], device=centre.device)
        self._index = (rows[:, :, None] * resolution + columns[:, None, :]).flatten(1)  # [B, h * w]

    def take(self, planes: Tensor) -> Tensor:
        """The region's pixels of planes: (B, H, W) -> (B, h, w), (B, C, H, W) -> (B, C, h, w)."""
        return planes.flatten(-2).gather(-1, self._index_of(planes)).unflatten(-1, self.size)

    def put(self, planes: Tensor, values: Tensor) -> None:
        """Writes `values` (B, h, w) or (B, C, h, w) into `planes` (B, H, W) or (B, C, H, W) in place."""
        planes.flatten(-2).scatter_(-1, self._index_of(planes), values.flatten(-2))

    def _index_of(self, planes: Tensor) -> Tensor:
        return self._index if planes.ndim == 3 else self._index[:, None].expand(-1, planes.shape[1], -1)
