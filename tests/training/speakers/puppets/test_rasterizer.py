"""Triangles in pixels, against the same pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from training.speakers.puppets.rasterizer import rasterize


def by_hand(points: Tensor, triangles: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The nearest triangle (side, side) of each pixel, -1 for none, and 1 / depth there, one pixel after the other."""
    index, near = torch.full((side, side), -1), torch.zeros(side, side)
    for number, corners in enumerate(points[triangles]):
        matrix = torch.cat([corners[:, :2].T, torch.ones(1, 3)]).double()
        for row in range(side):
            for column in range(side):
                weights = torch.linalg.solve(matrix, torch.tensor([column + 0.5, row + 0.5, 1.0]).double())
                depth = float(weights @ corners[:, 2].double())
                if weights.min() >= 0 and depth > near[row, column]:
                    index[row, column], near[row, column] = number, depth
    return index, near


def test_each_pixel_sees_the_nearest_triangle() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 12, 3, generator=generator) * torch.tensor([14.0, 14.0, 1.0]) + torch.tensor([-2, -2, 0.5])
    triangles = torch.arange(12).reshape(4, 3)
    fragments = rasterize(points, triangles, 10)
    for frame in range(2):
        index, near = by_hand(points[frame], triangles, 10)
        own = fragments.frame == frame
        assert set(fragments.pixel[own].tolist()) == set((index.flatten() >= 0).nonzero()[:, 0].tolist())
        assert torch.equal(fragments.triangle[own], index.flatten()[fragments.pixel[own]])
        corners = points[frame][triangles[fragments.triangle[own]]]
        # Shares that are right with perspective interpolate depth, the inverse of what lies in the plane of the screen.
        depth = (fragments.weights[own] / corners[..., 2]).sum(1)
        torch.testing.assert_close(1 / depth, near.flatten()[fragments.pixel[own]], atol=1e-4, rtol=1e-4)


def test_invisible_triangles_are_not_drawn() -> None:
    points = torch.tensor([[[0.0, 0, 1], [9, 0, 1], [0, 9, 1]]])
    triangles = torch.tensor([[0, 1, 2]])
    assert len(rasterize(points, triangles, 8).pixel) > 20
    assert len(rasterize(points, triangles, 8, torch.tensor([[False]])).pixel) == 0


def test_triangles_of_every_size_cover_a_square_once() -> None:
    for side in (3, 40, 300):
        points = torch.tensor([[[0.0, 0, 1], [side, 0, 1], [side, side, 1], [0, side, 1]]])
        fragments = rasterize(points, torch.tensor([[0, 1, 2], [0, 2, 3]]), side)
        assert fragments.pixel.tolist() == list(range(side * side))
