"""By how much near and far things part, in pictures that are laid over each other at one distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.rig import Camera, Matrix, Rig
from calibration.warp import to_pixels, to_rays

NEAREST, FARTHEST = 0.3, 1000.0
"""m, between which a distance is searched."""
STEPS = 600


def parting(rig: Rig, distances: Sequence[float], laid: float) -> Matrix:
    """(N,) px of VIS by which infrared lies off for things at these distances, where IR's middle looks.

    distances and laid, the one at which the pictures meet: m from the visible camera, inf is far away. Not-a-number
    for what one of the cameras cannot see. The rig is one of two cameras and a pose.
    """
    assert rig.ir is not None
    middle = (np.array(rig.size("ir"), np.float64) - 1) / 2
    at = _laid(rig, middle[None], laid)[0]
    own, is_sure = to_rays(_vis(rig), at[None])
    R, T = _pose(rig)
    d = np.asarray(distances, np.float64)[:, None]
    # seen from IR, as directions: a point at infinity has no place
    seen, is_seen = to_pixels(rig.ir, (own - T / d) @ R)
    apart = np.linalg.norm(_laid(rig, seen, laid) - at, axis=1)
    return np.asarray(np.where(is_seen & is_sure, apart, np.nan), np.float64)


def nearest_within(rig: Rig, limit: float) -> float | None:
    """m, the nearest distance from which infrared is less than `limit` px off when laid far away; None if none is."""
    distances = np.geomspace(FARTHEST, NEAREST, STEPS)
    apart = parting(rig, distances.tolist(), np.inf)
    beyond = np.flatnonzero(~(apart < limit))
    if not len(beyond):
        return NEAREST
    return float(distances[beyond[0] - 1]) if beyond[0] else None


def _laid(rig: Rig, pixels: Matrix, laid: float) -> Matrix:
    """Pixels of IR to where they are drawn on VIS."""
    assert rig.ir is not None
    rays, _ = to_rays(rig.ir, pixels)
    R, T = _pose(rig)
    turned = rays @ R.T
    points = turned if np.isinf(laid) else turned * ((laid - T[2]) / turned[:, 2:]) + T
    return to_pixels(_vis(rig), points)[0]


def _vis(rig: Rig) -> Camera:
    assert rig.vis is not None
    return rig.vis


def _pose(rig: Rig) -> tuple[Matrix, Matrix]:
    assert rig.pose is not None
    return np.array(rig.pose.R), np.array(rig.pose.T)
