"""Smooth fields over a mesh: values that are known at some points, carried on to the others."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import splu


def smooth_field(
    points: int, triangles: np.ndarray, known: np.ndarray, values: np.ndarray, *, flat: bool = False
) -> np.ndarray:
    """The smoothest values at all points that keep the known ones.

    Args:
        points: number of points n.
        triangles: (f, 3) indices of the mesh's points.
        known: (k,) indices of the points whose values are known; of an index that comes twice the first value counts.
        values: (k, c) their values.
        flat: whether the slope of the field is as small as can be; if not, its bend is, so that it starts and ends
            gently at known points.

    Returns:
        values (n, c); zero at points that no triangle has.
    """
    known, first = np.unique(known, return_index=True)
    values = values[first]
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    joined = sparse.coo_matrix((np.ones(len(edges)), edges.T), (points, points)).tocsr()
    joined.data[:] = 1  # an edge of two triangles counts once
    laplacian = sparse.diags(np.asarray(joined.sum(1)).ravel()) - joined
    system = laplacian if flat else laplacian @ laplacian
    system = (system + 1e-6 * sparse.eye(points)).tocsr()
    unknown = np.setdiff1d(np.arange(points), known)
    field = np.zeros((points, values.shape[1]))
    field[known] = values
    rows = system[unknown]
    field[unknown] = splu(rows[:, unknown].tocsc()).solve(-(rows[:, known] @ values))
    return field
