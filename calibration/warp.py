"""Where each pixel of one camera's picture lies in the other's: one map, made once, applied once a frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.rig import Camera, Matrix, Rig, Side, rescaled

FEATHER = 0.03
"""Width of the soft border of the other camera's field of view, of the picture's smaller side."""
OUTSIDE = -1e4
"""px, coordinate of what the other camera does not see."""
CONVERGED = 0.5
"""px, by which the inverse of a lens may be wrong before the pixel counts as not seen."""
STEPS = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-10)


@dataclass(frozen=True, slots=True)
class Warp:
    """How the other picture is laid onto the reference's."""

    at: NDArray[np.float32]
    """(H, W, 2), for each pixel of the reference x and y in the other picture, px; `OUTSIDE` where it is not seen."""
    weight: NDArray[np.float32]
    """(H, W) in 0..1: 1 inside the other's field of view, falling softly to 0 at its border, 0 outside."""

    @property
    def coverage(self) -> float:
        """Share of the reference picture that the other camera sees."""
        return float((self.weight > 0).mean())


def make_warp(
    rig: Rig,
    ir_size: tuple[int, int],
    vis_size: tuple[int, int],
    *,
    reference: Side = "vis",
    depth: float | None = None,
    nudge: tuple[float, float] = (0.0, 0.0),
) -> Warp:
    """The map from the reference's picture into the other's.

    Sizes are (width, height) of the streams; the rig follows them. depth: m from the reference camera of the plane on
    which the pictures meet, None for the rig's own, inf for far away. nudge: px of the reference by which the other
    picture is moved right and down. Raises RigError if a size has another aspect ratio than the rig.
    """
    fitted = rescaled(rig, ir_size, vis_size)
    size, other = (vis_size, ir_size) if reference == "vis" else (ir_size, vis_size)
    grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), axis=-1).astype(np.float64)
    pixels = (grid - nudge).reshape(-1, 2)
    if fitted.plane is not None:
        H = np.array(fitted.plane.H)
        at, is_seen = _by_homography(pixels, np.linalg.inv(H) if reference == "vis" else H)
    else:
        distance = depth if depth is not None else rig.depth if rig.depth is not None else np.inf
        at, is_seen = _by_rays(fitted, pixels, reference, distance)
    is_seen &= ((at > -0.5) & (at < np.array(other) - 0.5)).all(axis=1)  # false for not-a-number, too
    at[~is_seen] = OUTSIDE
    shape = size[1], size[0]
    return Warp(at.reshape(*shape, 2).astype(np.float32), _feathered(is_seen.reshape(shape)))


def plane_homography(rig: Rig, depth: float) -> Matrix:
    """Pixels of IR to pixels of VIS for a plane at `depth` m before the IR camera, facing it; lenses left out.

    H(d) = K_vis (R + T n^T / d) K_ir^-1, n = (0, 0, 1): Hartley and Zisserman, result 13.1, with x_vis = R x_ir + T.
    """
    assert rig.ir is not None
    assert rig.vis is not None
    assert rig.pose is not None
    R, T = np.array(rig.pose.R), np.array(rig.pose.T)
    H = np.array(rig.vis.K) @ (R + np.outer(T, (0, 0, 1)) / depth) @ np.linalg.inv(np.array(rig.ir.K))
    return np.asarray(H / H[2, 2])


def to_rays(camera: Camera, pixels: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
    """(N, 2) pixels to (N, 3) rays with z = 1, and where the lens could be inverted."""
    K, dist = np.array(camera.K), np.array(camera.dist, np.float64)
    points = pixels.reshape(-1, 1, 2)
    if camera.lens == "fisheye":
        flat = cv2.fisheye.undistortPoints(points, K, dist)
    else:
        flat = cv2.undistortPoints(points, K, dist, criteria=STEPS)
    rays = np.concatenate([np.asarray(flat, np.float64).reshape(-1, 2), np.ones((len(pixels), 1))], axis=1)
    again, is_valid = to_pixels(camera, rays)
    with np.errstate(invalid="ignore"):
        return rays, is_valid & (np.abs(again - pixels).max(axis=1) < CONVERGED)


def to_pixels(camera: Camera, points: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
    """(N, 3) points before the camera to (N, 2) pixels, and which of them the lens model can speak of."""
    K, dist = np.array(camera.K), np.array(camera.dist, np.float64)
    is_before = points[:, 2] > 1e-9
    flat = points / np.where(is_before, points[:, 2], 1.0)[:, None]
    radius = np.hypot(flat[:, 0], flat[:, 1])
    is_valid = is_before & (radius < _reach(camera))
    flat[~is_valid] = (0.0, 0.0, 1.0)
    zero = np.zeros(3)
    if camera.lens == "fisheye":
        seen, _ = cv2.fisheye.projectPoints(flat.reshape(-1, 1, 3), zero, zero, K, dist)
    else:
        seen, _ = cv2.projectPoints(flat.reshape(-1, 1, 3), zero, zero, K, dist)
    return np.asarray(seen, np.float64).reshape(-1, 2), is_valid


def _reach(camera: Camera) -> float:
    """Largest r = tan(angle) up to which the lens polynomial grows; beyond, it folds the world into the picture."""
    if camera.lens == "fisheye" or not camera.dist:
        return np.inf
    k1, k2, _, _, k3, *rest = (*camera.dist, 0.0, 0.0)[: max(5, len(camera.dist))]
    r = np.linspace(0.0, 10.0, 4001)
    s = r * r
    grown = r * (1 + s * (k1 + s * (k2 + s * k3)))
    if len(rest) >= 3:
        k4, k5, k6 = rest[:3]
        grown = grown / (1 + s * (k4 + s * (k5 + s * k6)))
    falls = np.flatnonzero(np.diff(grown) <= 0)
    return float(r[falls[0]]) if len(falls) else np.inf


def _by_rays(rig: Rig, pixels: Matrix, reference: Side, depth: float) -> tuple[Matrix, NDArray[np.bool_]]:
    assert rig.ir is not None
    assert rig.vis is not None
    assert rig.pose is not None
    R, T = np.array(rig.pose.R), np.array(rig.pose.T)
    if reference == "vis":
        own, other, R, T = rig.vis, rig.ir, R.T, -R.T @ T
    else:
        own, other = rig.ir, rig.vis
    rays, is_valid = to_rays(own, pixels)
    at, is_seen = to_pixels(other, rays @ R.T + T / depth)  # T / inf is 0: only directions are left
    return at, is_valid & is_seen


def _by_homography(pixels: Matrix, H: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
    mapped = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ H.T
    at_centre = mapped[len(mapped) // 2, 2]
    is_seen = mapped[:, 2] * np.sign(at_centre) > 1e-9 * abs(at_centre)  # not beyond the horizon
    return mapped[:, :2] / np.where(is_seen, mapped[:, 2], 1.0)[:, None], is_seen


def _feathered(is_seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1 inside, 0 outside, a smooth step between; the picture's own border is no border of the field of view."""
    if is_seen.all():
        return np.ones(is_seen.shape, np.float32)
    width = max(1.0, FEATHER * min(is_seen.shape))
    reach = int(np.ceil(width)) + 1
    padded = cv2.copyMakeBorder(is_seen.astype(np.uint8), reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    far = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[reach:-reach, reach:-reach]
    share = np.clip(far / width, 0.0, 1.0)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
