"""Fields over a mesh."""

from __future__ import annotations

import numpy as np

from training.speakers.puppets.fields import smooth_field

SIZE = 7
INDEX = np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
SQUARES = np.stack([INDEX[:-1, :-1], INDEX[:-1, 1:], INDEX[1:, :-1], INDEX[1:, 1:]], -1).reshape(-1, 4)
TRIANGLES = np.concatenate([SQUARES[:, [0, 1, 2]], SQUARES[:, [1, 3, 2]]])


def test_known_values_are_kept_and_the_others_lie_between() -> None:
    edges = np.concatenate([INDEX[:, 0], INDEX[:, -1]])
    values = np.concatenate([np.zeros((SIZE, 1)), np.ones((SIZE, 1))])
    field = smooth_field(SIZE * SIZE, TRIANGLES, edges, values, flat=True)[:, 0].reshape(SIZE, SIZE)
    np.testing.assert_allclose(field[:, [0, -1]], [[0, 1]] * SIZE)
    assert (np.diff(field, axis=1) > 0).all()


def test_of_two_values_for_one_point_the_first_counts() -> None:
    field = smooth_field(SIZE * SIZE, TRIANGLES, np.array([0, 48, 0]), np.array([[1.0], [0.0], [5.0]]))
    assert field[0, 0] == 1
