"""From views of a board to two calibrated cameras: lens models, pose, outliers, and errors on views left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.agree import agree
from calibration.boards import Board
from calibration.bundle import Both, Pose, Solution, fit_boards, refine, refine_pose, residuals
from calibration.choose import FEWEST, View
from calibration.lens import LensName, Model, Optics, Points, SolveError, choose_model, fit, pose_of, view_errors
from calibration.rig import Camera, Matrix, Rig, Size, Stereo, as_table

FOLDS = 4
"""Parts of the views that are left out in turn."""
OUTLIER = 3 * 1.4826
"""MADs above the median: 3 sigmas, were the errors normal."""
LEAST_OUTLIER = 1.5
"""Times the median error below which a view is no outlier: where all fit alike, the MAD is nothing."""
HARMLESS = 0.15
"""px, error below which a view is kept, whatever the others have: that is what detectors do."""
CLEANINGS = 3
"""Times that outliers are taken out."""
RIGID = 1.3
"""Times a camera's own error that the fit of both at once may reach: more, and the cameras did not stand still to each
other, or their pictures are not of one moment. Lenses would be bent to make up for that, so they are fixed first."""


@dataclass(frozen=True, slots=True)
class Solved:
    """Two cameras and how well each view fits. Errors are px, rms over a view's points, of IR and VIS."""

    solution: Solution
    """Its boards are those of the kept views."""
    views: list[Both]
    """All of them, IR's points counted as VIS's are."""
    kept: list[int]
    """Places of the views that the solution rests on."""
    outliers: list[int]
    errors: Matrix
    """(V, 2) of all views in the final cameras."""
    held_out: Matrix
    """(V, 2) of the kept views in cameras that were found without them; not-a-number for outliers."""
    offsets: list[tuple[Matrix, Matrix]]
    """Of all views, (N, 2) px, projected less seen."""
    own_errors: tuple[float, float]
    """px, rms of either camera for itself, over the kept views."""
    is_joint: bool
    """Whether both cameras were fitted at once; False: each for itself, then their pose: they are not rigid."""
    turned: int
    """Views whose IR points had to be counted from the other end."""
    is_ambiguous: bool
    """Whether another way round of the board fits as well."""

    def rms(self, side: int) -> float:
        """px, over the kept views; 0 is IR, 1 is VIS."""
        return _rms([self.errors[place, side] for place in self.kept])

    def held_out_rms(self, side: int) -> float:
        """px, over the kept views, each left out in its turn."""
        return _rms([self.held_out[place, side] for place in self.kept])


def solve(
    views: Sequence[View],
    board: Board,
    ir_size: Size,
    vis_size: Size,
    ir_lens: LensName | None = None,
    vis_lens: LensName | None = None,
) -> Solved:
    """The cameras that fit these views. lens: None chooses by the held-out error. Raises SolveError."""
    sides = [
        [Points(board.points[sighting.ids], sighting.points) for sighting in sightings]
        for sightings in ([view.ir for view in views], [view.vis for view in views])
    ]
    models = [
        choose_model(points, size, lens)
        for points, size, lens in zip(sides, (ir_size, vis_size), (ir_lens, vis_lens), strict=True)
    ]
    sizes = ir_size, vis_size
    ir, vis = (_fit_cleaned(*one) for one in zip(models, sides, sizes, strict=True))
    agreed = agree(board, [Both(*pair) for pair in zip(*sides, strict=True)], ir, vis)
    start = Solution(ir, vis, agreed.pose, [])
    is_joint, kept = True, list(range(len(views)))
    for _ in range(CLEANINGS):
        used = [agreed.views[place] for place in kept]
        solution, own = estimate(start, used, sizes, is_joint=True), _own_errors(start, used)
        is_joint = all(_rms(_errors(solution, used)[:, side]) <= RIGID * own[side] for side in (0, 1))
        if not is_joint:
            solution = estimate(start, used, sizes, is_joint=False)
        final = _boards_fitted(solution, agreed.views)
        errors = _errors(final, agreed.views)
        clean = [place for place in kept if not _is_outlier(errors, kept)[place]]
        if len(clean) == len(kept) or len(clean) < FEWEST:
            break
        kept = clean
    return Solved(
        solution=solution,
        views=agreed.views,
        kept=kept,
        outliers=[place for place in range(len(views)) if place not in kept],
        errors=errors,
        held_out=_held_out(solution, agreed.views, kept, sizes, is_joint),
        offsets=residuals(final, agreed.views),
        own_errors=own,
        is_joint=is_joint,
        turned=agreed.turned,
        is_ambiguous=agreed.is_ambiguous,
    )


def estimate(start: Solution, views: Sequence[Both], sizes: tuple[Size, Size], *, is_joint: bool) -> Solution:
    """The cameras from these views, near `start`: both at once, or each for itself and then their pose."""
    if is_joint:
        return refine(_with_boards(start, views), views)
    ir = fit(start.ir.model, [view.ir for view in views], sizes[0])
    vis = fit(start.vis.model, [view.vis for view in views], sizes[1])
    return refine_pose(_with_boards(Solution(ir, vis, start.pose, []), views), views)


def rig_of(solved: Solved, ir_size: Size, vis_size: Size) -> Rig:
    """The rig, without date and quality."""
    cameras = [
        Camera(
            width=size[0],
            height=size[1],
            K=as_table(optics.K),
            lens=optics.model.name,
            dist=tuple(float(value) for value in optics.dist),
            rms=round(solved.rms(side), 4),
        )
        for side, (optics, size) in enumerate(((solved.solution.ir, ir_size), (solved.solution.vis, vis_size)))
    ]
    pose = solved.solution.pose
    T = (float(pose.tvec[0]), float(pose.tvec[1]), float(pose.tvec[2]))
    return Rig(ir=cameras[0], vis=cameras[1], pose=Stereo(R=as_table(np.asarray(cv2.Rodrigues(pose.rvec)[0])), T=T))


def _fit_cleaned(model: Model, views: Sequence[Points], size: Size) -> Optics:
    """One camera from those views that fit: a board that was found wrongly must not bend the others' pose."""
    kept = list(views)
    for _ in range(CLEANINGS):
        optics = fit(model, kept, size)
        errors = np.array([_error(optics, view) for view in kept])
        is_bad = errors > _limit(errors)
        if not is_bad.any() or (~is_bad).sum() < FEWEST:
            break
        kept = [view for view, bad in zip(kept, is_bad, strict=True) if not bad]
    return optics


def _error(optics: Optics, view: Points) -> float:
    return float(view_errors(optics, [view], [pose_of(optics, view)])[0])


def _limit(errors: Matrix) -> float:
    middle = float(np.median(errors))
    spread = float(np.median(np.abs(errors - middle)))
    return max(middle + OUTLIER * spread, LEAST_OUTLIER * middle, HARMLESS)


def _is_outlier(errors: Matrix, kept: Sequence[int]) -> NDArray[np.bool_]:
    limits = [_limit(errors[list(kept), side]) for side in (0, 1)]
    return np.asarray((errors > limits).any(axis=1))


def _with_boards(solution: Solution, views: Sequence[Both]) -> Solution:
    """The cameras with each view's board where IR sees it."""
    boards = [Pose(*pose_of(solution.ir, view.ir)) for view in views]
    return Solution(solution.ir, solution.vis, solution.pose, boards)


def _boards_fitted(solution: Solution, views: Sequence[Both]) -> Solution:
    """The cameras as they are, each board where both see it best."""
    return fit_boards(_with_boards(solution, views), views)


def _errors(solution: Solution, views: Sequence[Both]) -> Matrix:
    pairs = residuals(solution, views)
    return np.array([[float(np.sqrt((off**2).sum(axis=1).mean())) for off in pair] for pair in pairs])


def _own_errors(solution: Solution, views: Sequence[Both]) -> tuple[float, float]:
    ir = _rms([_error(solution.ir, view.ir) for view in views])
    return ir, _rms([_error(solution.vis, view.vis) for view in views])


def _held_out(
    solution: Solution, views: Sequence[Both], kept: Sequence[int], sizes: tuple[Size, Size], is_joint: bool
) -> Matrix:
    found = np.full((len(views), 2), np.nan)
    for fold in range(FOLDS):
        left_out = kept[fold::FOLDS]
        rest = [views[place] for place in kept if place not in left_out]
        if len(rest) < 4 or not left_out:
            raise SolveError(f"{len(kept)} views are left, too few to test the result; record more")
        without = estimate(solution, rest, sizes, is_joint=is_joint)
        tested = [views[place] for place in left_out]
        found[list(left_out)] = _errors(_boards_fitted(without, tested), tested)
    return found


def _rms(errors: Sequence[float] | Matrix) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))
