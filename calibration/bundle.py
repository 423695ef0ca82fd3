"""Both cameras, their pose to each other and all boards fitted at once: Levenberg and Marquardt, robust.

Fixing each camera first and then seeking the pose is the usual way, but what one camera cannot tell (how its centre
trades against the board's tilt) the other one can. Measured on simulated views: half the error of the rotation, a
third of that of the baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from calibration.lens import Model, Optics, Points, project
from calibration.rig import Matrix

HUBER = 2.5
"""Sigmas beyond which an error counts by its size instead of its square."""
ROUNDS = 30
"""Steps of a pass, at most."""
PART = 10.0
"""Draws are this much nearer than one standard error."""
SETTLED = 1e-7
"""Share by which the cost may still fall when the fit ends."""


Loose = Literal["boards", "pose", "all"]
"""What a fit may move: each includes those before it."""


@dataclass(frozen=True, slots=True)
class Both:
    """A board seen by both cameras."""

    ir: Points
    vis: Points


@dataclass(frozen=True, slots=True)
class Pose:
    """A rotation vector and a translation, m."""

    rvec: Matrix
    """(3,)"""
    tvec: Matrix


@dataclass(frozen=True, slots=True)
class Solution:
    """Two cameras, x_vis = R x_ir + T, and each view's board in the IR camera's frame."""

    ir: Optics
    vis: Optics
    pose: Pose
    boards: list[Pose]


def residuals(solution: Solution, views: Sequence[Both]) -> list[tuple[Matrix, Matrix]]:
    """(N, 2) px, projected less seen, of each view in IR and VIS."""
    found = []
    for view, board in zip(views, solution.boards, strict=True):
        rvec, tvec, *_ = _composed(board, solution.pose)
        ir = project(solution.ir, view.ir.board, board.rvec, board.tvec) - view.ir.seen
        found.append((ir, project(solution.vis, view.vis.board, rvec, tvec) - view.vis.seen))
    return found


def refine(start: Solution, views: Sequence[Both]) -> Solution:
    """The solution that fits all views best, near `start`.

    First the cameras' pose alone: were all let loose at once from a pose that is off by a degree, a lens would bend
    to make up for it, and stay bent. Each camera's errors weigh by their own sigma, taken anew each time.
    """
    solution = start
    for loose in ("pose", "all", "all"):
        solution = _descended(solution, views, _spread(solution, views), loose)
    return solution


def refine_pose(start: Solution, views: Sequence[Both]) -> Solution:
    """The same cameras, their pose to each other and the boards where they fit best."""
    once = _descended(start, views, _spread(start, views), "pose")
    return _descended(once, views, _spread(once, views), "pose")


def fit_boards(start: Solution, views: Sequence[Both]) -> Solution:
    """The same cameras, each board where both see it best."""
    return _descended(start, views, _spread(start, views), "boards")


def drawn(solution: Solution, views: Sequence[Both], draws: int, random: np.random.Generator) -> list[Solution]:
    """Cameras that fit about as well, as often as that is likely: by the curvature of the cost, a tenth of the way.

    Their scatter times `PART` is one standard error each way. Only a tenth, so that a number which is not known at all
    (a focal length without any tilt) does not leave the range in which a camera is a camera.
    """
    _, blocks = _normal_equations(solution, views, _spread(solution, views), "all")
    information: Matrix = np.sum([block[0] for block in blocks], axis=0)
    for _, cross, own, _, _ in blocks:
        information = information - cross @ np.linalg.lstsq(own, cross.T, rcond=None)[0]
    size = 1 / np.sqrt(np.maximum(np.diag(information), 1e-30))  # all of one size, or the small ones would drown
    values, vectors = np.linalg.eigh(information * np.outer(size, size))
    roots = size[:, None] * vectors / np.sqrt(np.maximum(values, 1e-12))
    steps = random.normal(size=(draws, len(values))) @ roots.T / PART
    still = [np.zeros(6)] * len(solution.boards)
    return [_moved(solution, step, still) for step in steps]


def _descended(start: Solution, views: Sequence[Both], scale: tuple[float, float], loose: Loose) -> Solution:
    """Steps that each lower the cost, until it hardly falls."""
    solution, damping = start, 1e-3
    cost, blocks = _normal_equations(solution, views, scale, loose)
    for _ in range(ROUNDS):
        moved = _moved(solution, *_step(blocks, damping))
        lower, next_blocks = _normal_equations(moved, views, scale, loose)
        if not lower < cost:  # so written that not-a-number is refused, too
            damping *= 10
            if damping > 1e8:
                break
            continue
        is_settled = cost - lower < SETTLED * cost
        solution, cost, blocks, damping = moved, lower, next_blocks, max(damping / 10, 1e-9)
        if is_settled:
            break
    return solution


Block = tuple[Matrix, Matrix, Matrix, Matrix, Matrix]
"""Of one view: J_s^T J_s, J_s^T J_b, J_b^T J_b, J_s^T r, J_b^T r; s what all share, b the board's pose."""


def _spread(solution: Solution, views: Sequence[Both]) -> tuple[float, float]:
    """px, robust sigma of the errors of either camera."""
    both = residuals(solution, views)
    sides = (np.concatenate([pair[side].ravel() for pair in both]) for side in (0, 1))
    ir, vis = (float(max(1.4826 * np.median(np.abs(side)), 1e-3)) for side in sides)
    return ir, vis


def _composed(board: Pose, pose: Pose) -> list[Matrix]:
    """The board's pose to VIS, and the derivatives by both: of rotation by four, of translation by four."""
    parts = cv2.composeRT(board.rvec, board.tvec, pose.rvec, pose.tvec)
    rvec, tvec, *slopes = (np.asarray(part, np.float64) for part in parts)
    return [rvec.ravel(), tvec.ravel(), *slopes]


def _shared(model: Model) -> int:
    return 4 + len(model.free)


def _normal_equations(
    solution: Solution, views: Sequence[Both], scale: tuple[float, float], loose: Loose
) -> tuple[float, list[Block]]:
    cost, blocks = 0.0, []
    ir_size, vis_size = _shared(solution.ir.model), _shared(solution.vis.model)
    size = ir_size + vis_size + 6
    for view, board in zip(views, solution.boards, strict=True):
        rvec, tvec, *parts = _composed(board, solution.pose)
        by_board = np.block([[parts[0], parts[1]], [parts[4], parts[5]]])  # d(rvec, tvec) / d(board's)
        by_pose = np.block([[parts[2], parts[3]], [parts[6], parts[7]]])
        off_ir, own_ir, at_ir = _linear(solution.ir, view.ir, board.rvec, board.tvec)
        off_vis, own_vis, at_vis = _linear(solution.vis, view.vis, rvec, tvec)
        shared = np.zeros((len(off_ir) + len(off_vis), size))
        shared[: len(off_ir), :ir_size] = own_ir
        shared[len(off_ir) :, ir_size : ir_size + vis_size] = own_vis
        shared[len(off_ir) :, ir_size + vis_size :] = at_vis @ by_pose
        own = np.concatenate([at_ir, at_vis @ by_board])
        off = np.concatenate([off_ir / scale[0], off_vis / scale[1]])
        per_row = np.concatenate([np.full(len(off_ir), 1 / scale[0]), np.full(len(off_vis), 1 / scale[1])])
        size_of = np.abs(off)
        cost += float(np.where(size_of <= HUBER, off**2, HUBER * (2 * size_of - HUBER)).sum())
        root = np.sqrt(np.minimum(1.0, HUBER / np.maximum(size_of, 1e-12)))
        off, shared, own = off * root, shared * (per_row * root)[:, None], own * (per_row * root)[:, None]
        shared[:, : {"boards": size, "pose": size - 6, "all": 0}[loose]] = 0.0
        blocks.append((shared.T @ shared, shared.T @ own, own.T @ own, shared.T @ off, own.T @ off))
    return cost, blocks


def _linear(optics: Optics, view: Points, rvec: Matrix, tvec: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Errors (2N,), and their derivatives by fx fy cx cy and the loose coefficients, and by the board's pose."""
    points = view.board.reshape(-1, 1, 3)
    free = [4 + place for place in optics.model.free]
    if optics.model.name == "fisheye":  # columns: fx fy cx cy k1..k4 rotation translation skew
        seen, slopes = cv2.fisheye.projectPoints(points, rvec, tvec, optics.K, optics.dist)
        columns, pose = [0, 1, 2, 3, *free], slice(8, 14)
    else:  # columns: rotation translation fx fy cx cy k1 k2 p1 p2 k3
        seen, slopes = cv2.projectPoints(points, rvec, tvec, optics.K, optics.dist)
        columns, pose = [6 + place for place in (0, 1, 2, 3, *free)], slice(0, 6)
    by = np.asarray(slopes, np.float64)
    return (np.asarray(seen, np.float64).reshape(-1, 2) - view.seen).ravel(), by[:, columns], by[:, pose]


def _step(blocks: Sequence[Block], damping: float) -> tuple[Matrix, list[Matrix]]:
    """What to add to the shared numbers and to each board's pose; the boards are eliminated first (Schur)."""
    left: Matrix = np.sum([block[0] for block in blocks], axis=0)
    right: Matrix = np.sum([block[3] for block in blocks], axis=0)
    left = left + np.diag(damping * np.diag(left) + 1e-12)
    solved: list[Matrix] = []
    for _, cross, own, _, off in blocks:
        damped = own + np.diag(damping * np.diag(own) + 1e-12)
        both = np.asarray(np.linalg.solve(damped, np.column_stack([cross.T, off])), np.float64)
        solved.append(both)
        left = left - cross @ both[:, :-1]
        right = right - cross @ both[:, -1]
    shared = np.linalg.lstsq(left, -right, rcond=None)[0].astype(np.float64)
    return shared, [-(both[:, -1] + both[:, :-1] @ shared) for both in solved]


def _moved(solution: Solution, shared: Matrix, boards: Sequence[Matrix]) -> Solution:
    ir_size, vis_size = _shared(solution.ir.model), _shared(solution.vis.model)
    moved = [Pose(b.rvec + step[:3], b.tvec + step[3:]) for b, step in zip(solution.boards, boards, strict=True)]
    ir = _moved_optics(solution.ir, shared[:ir_size])
    vis = _moved_optics(solution.vis, shared[ir_size : ir_size + vis_size])
    step = shared[ir_size + vis_size :]
    return Solution(ir, vis, Pose(solution.pose.rvec + step[:3], solution.pose.tvec + step[3:]), moved)


def _moved_optics(optics: Optics, step: Matrix) -> Optics:
    K, dist = optics.K.copy(), optics.dist.copy()
    K[[0, 1, 0, 1], [0, 1, 2, 2]] += step[:4]
    dist[list(optics.model.free)] += step[4:]
    return Optics(optics.model, K, dist)
