"""Which triangle each pixel sees: a depth buffer in plain torch, for many frames at once, on any device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Sides of the squares of pixels that triangles are tested in: each triangle takes the smallest one that holds it.
_SIDES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 24, 34, 50, 80, 130, 260, 520, 1040, 2080)
_PIXELS_AT_ONCE = 2_000_000  # tested pixels that are in memory
_DEPTH_STEPS = 2**31 - 1
_INDEX_BITS = 31


class Fragments(NamedTuple):
    """The n pixels that see a triangle.

    Attributes:
        frame: (n,) index of the frame.
        pixel: (n,) index of the pixel in its frame, row by row.
        triangle: (n,) index of the triangle.
        weights: (n, 3) shares of the triangle's corners in what is seen, with perspective.
    """

    frame: Tensor
    pixel: Tensor
    triangle: Tensor
    weights: Tensor


def rasterize(points: Tensor, triangles: Tensor, side: int, visible: Tensor | None = None) -> Fragments:
    """Finds the nearest triangle in the middle of each pixel.

    Args:
        points: (B, V, 3) x and y in pixels, and 1 / depth, in each frame.
        triangles: (F, 3) indices of the corners.
        side: side of the square frames in pixels.
        visible: (B, F) triangles that are drawn; None draws all.
    """
    corners = points[:, triangles].flatten(0, 1)  # (B * F, 3 corners, 3)
    x, y, near = corners.unbind(-1)
    area = _cross(x, y)
    left, right = (x.amin(1) - 0.5).ceil().clamp(min=0), (x.amax(1) - 0.5).floor().clamp(max=side - 1)
    top, bottom = (y.amin(1) - 0.5).ceil().clamp(min=0), (y.amax(1) - 0.5).floor().clamp(max=side - 1)
    extent = torch.maximum(right - left, bottom - top) + 1
    drawn = (area.abs() > 1e-6) & (near.amin(1) > 0) & (right >= left) & (bottom >= top)
    if visible is not None:
        drawn &= visible.flatten()
    nearest = torch.full((len(points) * side * side,), torch.iinfo(torch.int64).max, device=points.device)
    depth_scale = _DEPTH_STEPS / near.amax().clamp(min=1e-9)
    chosen = drawn.nonzero()[:, 0]
    sizes = torch.bucketize(extent[chosen], torch.tensor(_SIDES, dtype=extent.dtype, device=points.device))
    for size in sizes.unique().tolist():
        square = torch.arange(_SIDES[size] ** 2, device=points.device)
        across, down = square % _SIDES[size], square // _SIDES[size]
        for some in chosen[sizes == size].split(max(1, _PIXELS_AT_ONCE // len(square))):
            column, row = left[some, None] + across, top[some, None] + down
            weights = _weights(x[some], y[some], area[some], column + 0.5, row + 0.5)
            inside = (weights.amin(0) >= 0) & (column <= right[some, None]) & (row <= bottom[some, None])
            which, where = inside.nonzero(as_tuple=True)
            index = some[which]
            depth = torch.stack([weights[corner, which, where] * near[index, corner] for corner in range(3)]).sum(0)
            pixel = (row[which, where] * side + column[which, where]).long() + index // len(triangles) * side**2
            # The nearest has the smallest key: far in its high bits, and the triangle in its low ones.
            far = (_DEPTH_STEPS - depth.double() * depth_scale).long().clamp(min=0)
            nearest.scatter_reduce_(0, pixel, (far << _INDEX_BITS) + index, "amin")
    return _fragments(nearest, points, triangles, side)


def _fragments(nearest: Tensor, points: Tensor, triangles: Tensor, side: int) -> Fragments:
    seen = (nearest != torch.iinfo(torch.int64).max).nonzero()[:, 0]
    index = nearest[seen] & (2**_INDEX_BITS - 1)
    frame, triangle, pixel = index // len(triangles), index % len(triangles), seen % side**2
    x, y, near = points[frame[:, None], triangles[triangle]].unbind(-1)
    across, down = (pixel % side + 0.5)[:, None], (pixel // side + 0.5)[:, None]
    weights = _weights(x, y, _cross(x, y), across, down)[:, :, 0].T * near
    return Fragments(frame, pixel, triangle, weights / weights.sum(1, keepdim=True))


def _cross(x: Tensor, y: Tensor) -> Tensor:
    """Twice the signed areas (n,) of triangles (n, 3)."""
    return (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])


def _weights(x: Tensor, y: Tensor, area: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Shares (3, n, p) of the corners at p places of each of n triangles."""
    inverse = 1 / area[:, None]
    x, y = x[:, :, None], y[:, :, None]
    second = ((across - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (down - y[:, 0])) * inverse
    third = ((x[:, 1] - x[:, 0]) * (down - y[:, 0]) - (across - x[:, 0]) * (y[:, 1] - y[:, 0])) * inverse
    return torch.stack([1 - second - third, second, third])
