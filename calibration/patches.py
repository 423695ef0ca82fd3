"""How patches of two pictures that nearly lie on each other would each lie better: displacements, and who agrees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bend import fitted_with_bend
from calibration.models import Model, Numbers, Points, fitted, moved, robustly_fitted
from calibration.outlines import Outlines
from calibration.rig import Matrix

SMOOTH = 1.0
"""px, sigma: outlines of two sensors are of different width."""
SEEN = 0.8
"""Share of a patch that both cameras must see."""
CLEAR = 3
"""px round a patch's best place that belong to it."""
SANE = 1.001
"""Highest correlation there is, and rounding."""
CLEARLY = 0.03
"""Above the next best place, from which the best of a patch is one: on a fence, all are alike."""
FEW = 8
"""Patches, below which nothing is said."""
CELLS = 3
"""Across and down, parts of the picture that are left out in turn."""

MODELS: tuple[Model, ...] = ("similarity", "affine", "homography")
"""What `chosen` chooses from. Two lenses have two focal lengths, so a mere shift is none of them."""
BETTER = 0.8
"""Times the loss of a simpler map that a freer one must have."""
PLAIN = 3.3
"""Standard errors by which a freer map must differ at the corners: in single frames of RoadScene near ground and far
houses look like a tilted plane, 2.5 errors at most in 8 of 10; a true one of 8 to 14 px at the corners of VGA video
makes 3.5 and more."""


@dataclass(frozen=True, slots=True)
class Displacements:
    """Of patches of the other picture, as it lies on the reference's grid."""

    at: Points
    """(N, 2) px, middle of each."""
    to: Points
    """(N, 2) px, where its outlines fit best."""
    weight: Numbers
    """(N,) likeness there, times by how much it is above the next best place; 0 where that is too little to tell, and
    where the best is at the rim of what was searched."""
    at_rim: Numbers
    """(N,) what the weight would be of those at the rim, which belong elsewhere; 0 of the others."""

    @property
    def count(self) -> int:
        """Patches that say anything."""
        return int((self.weight > 0).sum())


def displacements(
    other: Outlines, reference: Outlines, *, side: int, step: int, reach: int, clearly: float = CLEARLY
) -> Displacements:
    """Search each patch of `side` px, every `step` px, `reach` px either way. Both pictures are on one grid.

    clearly: by how much the best place of a patch is to be above the next best one.
    """
    ways = [cv2.GaussianBlur(outlines.ways, (0, 0), SMOOTH) for outlines in (other, reference)]
    mine, theirs = ways[0], cv2.copyMakeBorder(ways[1], reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(0,))
    seen = cv2.integral((other.mask * reference.mask).astype(np.float32))
    height, width = other.mask.shape
    found = []
    for top in range(0, height - side + 1, step):
        for left in range(0, width - side + 1, step):
            bottom, right = top + side, left + side
            area = seen[bottom, right] - seen[top, right] - seen[bottom, left] + seen[top, left]
            if area < SEEN * side * side:
                continue
            window = theirs[top : bottom + 2 * reach, left : right + 2 * reach]
            likeness = cv2.matchTemplate(window, mine[top:bottom, left:right], cv2.TM_CCORR_NORMED)
            x, y, weight, is_rim = _peak(np.asarray(likeness, np.float32), clearly)
            middle = left + (side - 1) / 2, top + (side - 1) / 2
            found.append(
                (*middle, middle[0] + x - reach, middle[1] + y - reach, weight * (not is_rim), weight * is_rim)
            )
    table = np.array(found, np.float64).reshape(-1, 6)
    return Displacements(table[:, :2], table[:, 2:4], table[:, 4], table[:, 5])


def together(parts: list[Displacements]) -> Displacements:
    """The patches of several pictures on one grid."""
    names = ("at", "to", "weight", "at_rim")
    return Displacements(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def correction(patches: Displacements, model: Model, near: float, picture: Points | None = None) -> Matrix | None:
    """The map of a kind that most patches agree on, near: px that is off by much; None if too few say anything.

    picture: points all over what is laid, see `bend.raster`: then the lenses may bend the two pictures differently.
    """
    if patches.count < FEW:
        return None
    if picture is not None and len(picture) >= FEW and model != "shift":
        return fitted_with_bend(patches.at, patches.to, patches.weight, model, near, picture)
    return robustly_fitted(patches.at, patches.to, patches.weight, model, near)


def agreeing(patches: Displacements, matrix: Matrix, near: float) -> float:
    """Share in 0..1, by weight, of the patches that a map takes to within `near` px of where they fit best.

    Those whose best place is at the rim of what was searched disagree.
    """
    whole = float(patches.weight.sum() + patches.at_rim.sum())
    return float(patches.weight[residuals(patches, matrix) < near].sum()) / whole if whole else 0.0


def residuals(patches: Displacements, matrix: Matrix) -> Numbers:
    """(N,) px between where a map takes the patches and where they fit best."""
    return np.asarray(np.linalg.norm(moved(matrix, patches.at) - patches.to, axis=1))


def chosen(patches: Displacements, near: float, points: Points) -> Model:
    """The simplest map that follows the patches.

    A freer one must fit parts of the picture that it was not fitted to better, the fields of a chessboard of three by
    three, and differ plainly where it matters: at `points`, the corners of the other picture on the patches' grid.
    """
    best: Model = "similarity"
    M, least = _fit(patches, best, near)
    if M is None:
        return best
    for model in MODELS[1:]:
        freer, loss = _fit(patches, model, near)
        if freer is None or not loss < BETTER * least:
            continue
        apart = np.linalg.norm(moved(freer, points) - moved(M, points), axis=1)
        if np.median(apart / np.maximum(spread(patches, freer, model, near, points), 1e-9)) > PLAIN:
            best, M, least = model, freer, loss
    return best


def _fit(patches: Displacements, model: Model, near: float) -> tuple[Matrix | None, float]:
    """The map of a kind and its loss where it was not fitted; None if there are too few patches to tell."""
    is_odd = _cells(patches.at) % 2 == 1
    loss = total = 0.0
    for told, asked in ((is_odd, ~is_odd), (~is_odd, is_odd)):
        if min((patches.weight[told] > 0).sum(), (patches.weight[asked] > 0).sum()) < FEW:
            return None, np.inf
        M = robustly_fitted(patches.at[told], patches.to[told], patches.weight[told], model, near)
        squared = (residuals(patches, M)[asked] / near) ** 2
        loss += float((patches.weight[asked] * squared / (1 + squared)).sum())
        total += float(patches.weight[asked].sum())
    return correction(patches, model, near), loss / total


def spread(patches: Displacements, matrix: Matrix, model: Model, near: float, points: Points) -> Numbers:
    """(N,) px, standard error of where a fitted map takes points.

    By leaving out each of nine parts of the picture in turn (jackknife), because patches that overlap err alike.
    """
    off = residuals(patches, matrix)
    weight = patches.weight / (1 + (off / near) ** 2) ** 2
    cell = _cells(patches.at)
    mapped = []
    for left_out in range(CELLS * CELLS):
        kept = cell != left_out
        if (weight[kept] > 0).sum() >= FEW:
            M = fitted(patches.at[kept], patches.to[kept], weight[kept], model)
            mapped.append(moved(M, points))
    if len(mapped) < 2:
        return np.full(len(points), np.inf)
    variance = np.var(np.array(mapped), axis=0).sum(axis=1) * (len(mapped) - 1)
    return np.asarray(np.sqrt(variance))


def _cells(at: Points) -> NDArray[np.int64]:
    """(N,) which of the nine parts of what they cover points lie in, from 0 at the top left, row by row."""
    low, high = at.min(axis=0), at.max(axis=0) + 1e-6
    column, row = np.floor(CELLS * (at - low) / (high - low)).astype(np.int64).T
    return np.asarray(CELLS * row + column)


def _peak(likeness: NDArray[np.float32], clearly: float = CLEARLY) -> tuple[float, float, float, bool]:
    """Column and row of the highest place to a part of a px, its weight, and whether it is at the rim.

    Where there is nothing to be alike to, OpenCV divides by next to nothing: what is no correlation counts as 0.
    """
    likeness = np.where(np.abs(likeness) <= SANE, likeness, np.float32(0))  # not-a-number is not, either
    last = likeness.shape[0] - 1
    row, column = (int(place) for place in np.unravel_index(int(np.argmax(likeness)), likeness.shape))
    high = float(likeness[row, column])
    rest = likeness.copy()
    rest[max(row - CLEAR, 0) : row + CLEAR + 1, max(column - CLEAR, 0) : column + CLEAR + 1] = -1.0
    above = high - float(rest.max())
    weight = high * above if high > 0 and above > clearly else 0.0
    if row in (0, last) or column in (0, last):
        return float(column), float(row), weight, True
    x = column + top_of_three(likeness[row, column - 1 : column + 2])
    y = row + top_of_three(likeness[row - 1 : row + 2, column])
    return x, y, weight, False


def top_of_three(three: NDArray[np.float32]) -> float:
    """Where the parabola through three neighbours is highest, px from the middle one."""
    before, middle, after = (float(value) for value in three)
    return (after - before) / (2 * (2 * middle - before - after) + 1e-9)
