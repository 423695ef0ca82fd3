"""How sure a calibration is: how far the results scatter when its views are drawn again and again with replacement.

B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1), 1979. The residuals cannot
tell: a board that is never tilted fits any focal length.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from calibration.agree import angle_deg
from calibration.bundle import PART, Solution, drawn
from calibration.lens import project, undistorted
from calibration.rig import Matrix, Size
from calibration.solve import Solved, estimate

DRAWS = 25
"""A sigma of 25 draws is right to 14 %."""
CURVES = 200
"""Draws by the curvature, which cost nothing."""
GRID = 5
"""Points a side at which the overlay is judged."""
FAR = 1e6
"""m, for infinity."""


@dataclass(frozen=True, slots=True)
class Sigmas:
    """Standard errors."""

    ir_focal_percent: float
    vis_focal_percent: float
    ir_centre_px: float
    vis_centre_px: float
    rotation_deg: float
    baseline_mm: float
    overlay_px: float
    """Of VIS: where a point of the IR picture is laid, at the boards' median distance."""
    overlay_far_px: float
    """The same for what is far away."""


def bootstrap(solved: Solved, ir_size: Size, vis_size: Size, *, draws: int = DRAWS, seed: int = 0) -> Sigmas:
    """The sigmas of a solution, from its kept views; each the larger of what redrawing and what the curvature says.

    A fit that starts from the solution stays too near where nothing holds it (measured without tilt: 1 % for an error
    of 5), and the curvature knows nothing of errors that whole views have in common.
    """
    sizes = ir_size, vis_size
    random = np.random.default_rng(seed)
    views = [solved.views[place] for place in solved.kept]
    redrawn: list[Solution] = []
    while len(redrawn) < draws:
        places = random.integers(len(views), size=len(views))
        if len(set(places)) < 4:
            continue
        redrawn.append(estimate(solved.solution, [views[place] for place in places], sizes, is_joint=solved.is_joint))
    by_views = _scatter(redrawn, solved, ir_size)
    by_curvature = _scatter(drawn(solved.solution, views, CURVES, random), solved, ir_size)
    return Sigmas(*(max(one, PART * other) for one, other in zip(by_views, by_curvature, strict=True)))


def _scatter(cameras: list[Solution], solved: Solved, ir_size: Size) -> list[float]:
    """The numbers of `Sigmas`, in its order."""
    R = _matrix(solved.solution)
    turns = [angle_deg(R.T @ _matrix(one)) for one in cameras]
    near, far = (
        _spread([overlay(one, ir_size, distance) for one in cameras]) for distance in (board_distance(solved), FAR)
    )
    return [
        _focal([one.ir.K for one in cameras]),
        _focal([one.vis.K for one in cameras]),
        _spread([one.ir.K[:2, 2][None] for one in cameras]),
        _spread([one.vis.K[:2, 2][None] for one in cameras]),
        float(np.sqrt(np.mean(np.square(turns)))),
        1000 * _spread([one.pose.tvec[None] for one in cameras]),
        near,
        far,
    ]


def overlay(solution: Solution, ir_size: Size, distance: float) -> Matrix:
    """(25, 2) px of VIS to which points all over the IR picture belong, of things at a distance in m."""
    across, down = (np.linspace(0, side - 1, GRID) for side in ir_size)
    pixels = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    rays = undistorted(solution.ir, pixels)
    points = np.column_stack([rays, np.ones(len(rays))]) * distance
    return project(solution.vis, points, solution.pose.rvec, solution.pose.tvec)


def board_distance(solved: Solved) -> float:
    """m, median over the kept views, of the board's first point from the IR camera."""
    return float(np.median([board.tvec[2] for board in solved.solution.boards]))


def _matrix(solution: Solution) -> Matrix:
    return np.asarray(cv2.Rodrigues(solution.pose.rvec)[0], np.float64)


def _focal(Ks: list[Matrix]) -> float:
    """Percent, of the worse of the two focal lengths."""
    both = np.array([[K[0, 0], K[1, 1]] for K in Ks])
    return float((100 * both.std(axis=0) / both.mean(axis=0)).max())


def _spread(drawn: list[Matrix]) -> float:
    """Standard error of points (N, d), over all of them: the root of the mean of their variances, summed over d."""
    return float(np.sqrt(np.array(drawn).var(axis=0).sum(axis=1).mean()))
