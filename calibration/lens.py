"""One camera's own numbers from views of a board: which lens model, focal lengths, centre and distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from calibration.rig import Matrix, Size
from engines.base import CrotalusError

LensName = Literal["pinhole", "fisheye"]
FOLDS = 4
"""Parts of the views that are left out in turn."""
GAIN = 0.03
"""Share by which a richer lens model must lower the held-out error, or it must be `SURE`: two k3 that fit equally well
differ by tens of px in the corners that no board reached."""
SURE = 2.0
"""Standard errors of the mean by which the squared errors must fall, where they fall by less than `GAIN`."""
FISHEYE_GAIN = 0.1
"""The same for a fisheye, which is another kind of lens and not a richer one."""
STEPS = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-9)


class SolveError(CrotalusError, ValueError):
    """Views from which no rig follows; the text says what they lack."""


@dataclass(frozen=True, slots=True)
class Model:
    """A lens: its formula and how many of its coefficients are let loose, the others stay 0."""

    name: LensName
    free: tuple[int, ...]
    """Places in OpenCV's order: k1 k2 p1 p2 k3 of the pinhole, k1..k4 of the fisheye."""

    @property
    def size(self) -> int:
        """Number of coefficients in the file."""
        return 5 if self.name == "pinhole" else 4

    def __str__(self) -> str:
        names = ("k1", "k2", "p1", "p2", "k3") if self.name == "pinhole" else ("k1", "k2", "k3", "k4")
        return f"{self.name} {' '.join(names[place] for place in self.free)}".strip()


PINHOLES = tuple(Model("pinhole", free) for free in ((), (0,), (0, 1, 2, 3), (0, 1, 2, 3, 4)))
FISHEYES = tuple(Model("fisheye", free) for free in ((0, 1), (0, 1, 2, 3)))
"""From stiff to loose."""


@dataclass(frozen=True, slots=True)
class Points:
    """A board as one camera saw it in one view."""

    board: Matrix
    """(N, 3) m"""
    seen: Matrix
    """(N, 2) px"""


@dataclass(frozen=True, slots=True)
class Optics:
    """A camera's own numbers."""

    model: Model
    K: Matrix
    """(3, 3) px"""
    dist: Matrix
    """(5,) or (4,)"""


def project(optics: Optics, points: Matrix, rvec: Matrix, tvec: Matrix) -> Matrix:
    """(N, 2) px of (N, 3) points at a pose."""
    shaped = points.reshape(-1, 1, 3)
    if optics.model.name == "fisheye":
        seen, _ = cv2.fisheye.projectPoints(shaped, rvec, tvec, optics.K, optics.dist)
    else:
        seen, _ = cv2.projectPoints(shaped, rvec, tvec, optics.K, optics.dist)
    return np.asarray(seen, np.float64).reshape(-1, 2)


def pose_of(optics: Optics, view: Points) -> tuple[Matrix, Matrix]:
    """Rotation vector and translation of a board, by its points in one camera."""
    rays = undistorted(optics, view.seen)
    is_found, rvec, tvec = cv2.solvePnP(view.board, rays, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE)
    if not is_found:
        raise SolveError("a view of the board has no pose; leave it out")
    rvec, tvec = cv2.solvePnPRefineLM(view.board, rays, np.eye(3), None, rvec, tvec)
    return np.asarray(rvec, np.float64).ravel(), np.asarray(tvec, np.float64).ravel()


def undistorted(optics: Optics, seen: Matrix) -> Matrix:
    """(N, 2) px as rays (x / z, y / z)."""
    points = seen.reshape(-1, 1, 2)
    if optics.model.name == "fisheye":
        flat = cv2.fisheye.undistortPoints(points, optics.K, optics.dist)
    else:
        flat = cv2.undistortPoints(points, optics.K, optics.dist, criteria=STEPS)
    return np.asarray(flat, np.float64).reshape(-1, 2)


def view_errors(optics: Optics, views: Sequence[Points], poses: Sequence[tuple[Matrix, Matrix]]) -> Matrix:
    """(V,) px, rms of each view."""
    squares = [
        ((project(optics, v.board, *pose) - v.seen) ** 2).sum(axis=1).mean()
        for v, pose in zip(views, poses, strict=True)
    ]
    return np.sqrt(np.array(squares))


def fit(model: Model, views: Sequence[Points], size: Size) -> Optics:
    """The camera that shows all these views best. Raises SolveError where there is none."""
    boards = [view.board.astype(np.float32).reshape(-1, 1, 3) for view in views]
    seen = [view.seen.astype(np.float32).reshape(-1, 1, 2) for view in views]
    try:
        if model.name == "fisheye":
            return _fit_fisheye(model, views, size)
        _, K, dist, _, _ = cv2.calibrateCamera(
            boards, seen, size, np.eye(3), np.zeros(5), flags=_pinhole_flags(model), criteria=STEPS
        )
    except cv2.error as error:
        raise SolveError(
            f"no camera fits these {len(views)} views: tilt the board more, and fill the picture"
        ) from error
    optics = Optics(model, np.asarray(K, np.float64), np.asarray(dist, np.float64).ravel()[:5])
    if not (np.isfinite(optics.K).all() and np.isfinite(optics.dist).all()):
        raise SolveError(f"no camera fits these {len(views)} views: tilt the board more, and fill the picture")
    return optics


def held_out_errors(model: Model, views: Sequence[Points], size: Size) -> Matrix:
    """(V,) px, rms of each view in a camera that was found without it."""
    errors = np.zeros(len(views))
    for fold in range(min(FOLDS, len(views) // 2)):
        left_out = range(fold, len(views), min(FOLDS, len(views) // 2))
        optics = fit(model, [view for place, view in enumerate(views) if place not in left_out], size)
        for place in left_out:
            errors[place] = view_errors(optics, [views[place]], [pose_of(optics, views[place])])[0]
    return errors


def choose_model(views: Sequence[Points], size: Size, lens: LensName | None) -> Model:
    """The stiffest model that no richer one beats on views left out; a fisheye must beat a pinhole by 10 %.

    lens: None chooses between the two, too. Raises SolveError if none fits.
    """
    chosen: Model | None = None
    best = np.empty(0)
    for model in (*(PINHOLES if lens != "fisheye" else ()), *(FISHEYES if lens != "pinhole" else ())):
        if chosen is not None and chosen.name != model.name and not _may_beat(chosen, views, size):
            break
        try:
            squares = held_out_errors(model, views, size) ** 2
        except (SolveError, cv2.error):
            continue
        if chosen is None or _beats(squares, best, is_other_kind=model.name != chosen.name):
            chosen, best = model, squares
    if chosen is None:
        raise SolveError(f"no camera fits these {len(views)} views: tilt the board more, and fill the picture")
    return chosen


def _may_beat(pinhole: Model, views: Sequence[Points], size: Size) -> bool:
    """Whether a fisheye may beat this pinhole: the loosest fits all views better by enough, or cannot be fitted.

    A quick look: leaving views out takes four fits of either fisheye.
    """
    errors = []
    for model in (FISHEYES[-1], pinhole):
        try:
            optics = fit(model, views, size)
            errors.append(view_errors(optics, views, [pose_of(optics, view) for view in views]))
        except (SolveError, cv2.error):  # a stiffer one may still fit
            return True
    fisheye, plain = (float((each**2).mean()) for each in errors)
    return fisheye < (1 - FISHEYE_GAIN) ** 2 * plain


def _beats(squares: Matrix, best: Matrix, *, is_other_kind: bool) -> bool:
    """Whether one model's squared errors (V,) are below another's by enough."""
    gain = 1 - float(np.sqrt(squares.mean() / best.mean()))
    if is_other_kind:
        return gain > FISHEYE_GAIN
    fall = best - squares
    return gain > GAIN or float(fall.mean()) > SURE * float(fall.std(ddof=1)) / np.sqrt(len(fall))


def _pinhole_flags(model: Model) -> int:
    fixed = (cv2.CALIB_FIX_K1, cv2.CALIB_FIX_K2, 0, 0, cv2.CALIB_FIX_K3)
    flags = sum(flag for place, flag in enumerate(fixed) if place not in model.free)
    return flags | (0 if 2 in model.free else cv2.CALIB_ZERO_TANGENT_DIST)


def _fit_fisheye(model: Model, views: Sequence[Points], size: Size) -> Optics:
    boards = [view.board.reshape(1, -1, 3) for view in views]  # columns are refused by OpenCV 5.0
    seen = [view.seen.reshape(1, -1, 2) for view in views]
    start = fit(PINHOLES[1], views, size).K
    flags = cv2.CALIB_RECOMPUTE_EXTRINSIC | cv2.CALIB_FIX_SKEW | cv2.CALIB_USE_INTRINSIC_GUESS
    fixed = (cv2.CALIB_FIX_K1, cv2.CALIB_FIX_K2, cv2.CALIB_FIX_K3, cv2.CALIB_FIX_K4)
    flags |= sum(flag for place, flag in enumerate(fixed) if place not in model.free)
    _, K, dist, _, _ = cv2.fisheye.calibrate(boards, seen, size, start.copy(), np.zeros(4), flags=flags, criteria=STEPS)
    if not (np.isfinite(K).all() and np.isfinite(dist).all()):
        raise SolveError("no fisheye fits these views; give --lens pinhole")
    return Optics(model, np.asarray(K, np.float64), np.asarray(dist, np.float64).ravel())
