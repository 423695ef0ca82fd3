"""Maps between two pictures of one plane, from a shift to a homography: how points give them, and how they act."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.rig import Matrix, Size

Model = Literal["shift", "similarity", "affine", "homography"]
ROUNDS = 15
"""Of reweighting; the width of what counts as near falls from four times the final one to it in the first five."""
SHRINK = 0.7
"""Of that width in each round."""

Points = NDArray[np.float64]
"""(N, 2), x and y in px."""
Numbers = NDArray[np.float64]
"""(N,)"""


def moved(matrix: Matrix, points: Points) -> Points:
    """Where a (3, 3) matrix takes points."""
    mapped = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:])


def corners(size: Size) -> Points:
    """The four corner pixels of a picture of (width, height)."""
    right, bottom = size[0] - 1.0, size[1] - 1.0
    return np.array([[0, 0], [right, 0], [0, bottom], [right, bottom]])


def corner_distances(first: Matrix, second: Matrix, size: Size) -> Points:
    """(4,) px by which two maps differ at the corners of a picture."""
    return np.asarray(np.linalg.norm(moved(first, corners(size)) - moved(second, corners(size)), axis=1))


def fitted(source: Points, target: Points, weight: Numbers, model: Model) -> Matrix:
    """The map of a kind that takes source to target best, by weighted least squares; (3, 3).

    A homography by its linear equations in centred and scaled points: near enough where perspective is weak.
    """
    middle = source.mean(axis=0)
    reach = float(np.abs(source - middle).max()) + 1e-9
    s, t = (source - middle) / reach, (target - middle) / reach
    one, zero = np.ones(len(s)), np.zeros(len(s))
    across: tuple[Numbers, ...]
    down: tuple[Numbers, ...]
    x, y, u, v = s[:, 0], s[:, 1], t[:, 0], t[:, 1]
    if model == "shift":
        across, down = (one, zero), (zero, one)
        u, v = u - x, v - y
    elif model == "similarity":
        across, down = (x, -y, one, zero), (y, x, zero, one)
    else:
        across, down = (x, y, one, zero, zero, zero), (zero, zero, zero, x, y, one)
        if model == "homography":
            across, down = (*across, -u * x, -u * y), (*down, -v * x, -v * y)
    root = np.sqrt(np.concatenate([weight, weight]))
    rows = np.concatenate([np.stack(across, axis=1), np.stack(down, axis=1)])
    p = np.linalg.lstsq(rows * root[:, None], np.concatenate([u, v]) * root, rcond=None)[0]
    if model == "shift":
        M = np.array([[1, 0, p[0]], [0, 1, p[1]], [0, 0, 1]])
    elif model == "similarity":
        M = np.array([[p[0], -p[1], p[2]], [p[1], p[0], p[3]], [0, 0, 1]])
    else:
        M = np.array([p[:3], p[3:6], [*p[6:], 1] if model == "homography" else [0, 0, 1]])
    centred = np.array([[1 / reach, 0, -middle[0] / reach], [0, 1 / reach, -middle[1] / reach], [0, 0, 1]])
    return np.asarray(np.linalg.inv(centred) @ M @ centred)


def robustly_fitted(source: Points, target: Points, weight: Numbers, model: Model, near: float) -> Matrix:
    """As `fitted`, with points that lie apart from the others let go: what is `near` px off counts a quarter.

    Geman-McClure weights, wide at first. Starts from no motion: the points must lie nearly where they belong.
    """
    M = np.eye(3)
    for width in steps(near):
        distance = np.linalg.norm(moved(M, source) - target, axis=1)
        M = fitted(source, target, weight / (1 + (distance / width) ** 2) ** 2, model)
    return M


def steps(near: float) -> list[float]:
    """px, what counts as near in each round."""
    return [max(4 * near * SHRINK**number, near) for number in range(ROUNDS)]
