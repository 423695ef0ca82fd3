"""A map between two pictures whose lenses bend them differently: fitted where outlines are, right all over the picture.

Of the cameras of RoadScene the middle is laid 1 px too wide and the corners 1 px too narrow by any map without a lens.
Outlines are mostly in the middle, so a map that is fitted to them alone is off at the corners.
"""

from __future__ import annotations

import numpy as np

from calibration.models import Model, Numbers, Points, fitted, moved, steps
from calibration.rig import Matrix, Size

RASTER = 15
"""Points across and down that stand for a picture."""
STIFF = 3e-4
"""Of the weight of all points, that speaks for no bend: where they are in the middle only, nothing tells of it."""


def fitted_with_bend(
    source: Points, target: Points, weight: Numbers, model: Model, near: float, picture: Points
) -> Matrix:
    """As `robustly_fitted`, with a term that grows with the cube of the radius beside the map.

    picture: (M, 2) points all over what is laid. Returned is the map (3, 3) that is nearest to both together there.
    """
    middle = picture.mean(axis=0)
    reach = float(np.linalg.norm(picture - middle, axis=1).max()) + 1e-9

    def bent(points: Points) -> Points:
        out = (points - middle) / reach
        return np.asarray(reach * out * (out**2).sum(axis=1, keepdims=True), np.float64)

    cube, M, k = bent(source), np.eye(3), 0.0
    for width in steps(near):
        off = np.linalg.norm(moved(M, source) + k * cube - target, axis=1)
        held = weight / (1 + (off / width) ** 2) ** 2
        # What a map can follow of either is taken out first (Frisch and Waugh, doi 10.2307/1907330)
        own = source + cube - moved(fitted(source, source + cube, held, model), source)
        left = target - moved(fitted(source, target, held, model), source)
        k = float((held[:, None] * own * left).sum() / ((held[:, None] * own**2).sum() + STIFF * reach**2 * held.sum()))
        M = fitted(source, target - k * cube, held, model)
    return fitted(picture, moved(M, picture) + k * bent(picture), np.ones(len(picture)), model)


def raster(matrix: Matrix, size: Size, grid: Size) -> Points:
    """(M, 2) points evenly over a picture of (width, height), laid by a matrix, that lie on a grid of such a size."""
    across, down = (np.linspace(0, side - 1, RASTER) for side in size)
    points = moved(matrix, np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2))
    return points[((points >= 0) & (points <= np.array(grid) - 1)).all(axis=1)]
