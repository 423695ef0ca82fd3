"""How one picture lies on another of another kind of light, without a target; and whether that may be believed.

Found twice: by patches of outlines that vote, and by the correlation of the strength of the gradient over the whole
picture (ECC: Evangelidis and Psarakis, doi 10.1109/TPAMI.2008.113). The first is the answer, the second its witness.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from calibration.bend import raster
from calibration.models import Model, corner_distances, corners, moved
from calibration.outlines import Outlines, View, laid, outlines, resized, scaling
from calibration.patches import (
    CLEARLY,
    Displacements,
    agreeing,
    correction,
    displacements,
    residuals,
    spread,
)
from calibration.rig import Matrix, Size
from calibration.search import Candidate, Start, beside, search, search_range

MIDDLE, FINE = 256, 640
"""px, longer sides of the reference's picture at which candidates are told apart, and at which the best is refined."""
LOOKS = (5, 40, 120)
"""Places of the search that are told apart, and more as long as none leads: of 177 right ones of RoadScene 169 are
among the first 5, 5 more among the first 40, 2 more among the first 120. Each is 12 ms of CPU."""
CLEAR_LEAD = 1.2
"""Times that the best place must score what the next one does."""
DETAIL = 1.5
"""px of the finest grid per px of the other picture: beyond, there is nothing to see."""
PATCH = {MIDDLE: 48, FINE: 64}
"""px, side of a patch: an eighth to a fifth of the picture, or outlines are too few to tell places apart."""
NEAR = 0.01
"""Of the longer side of the grid, off by which a patch counts a quarter: near things lie elsewhere than far ones."""
ECC_BLUR = 7
ECC_STEPS = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 40, 1e-5)
APART = 0.015
"""Of the longer side of the reference, that two places differ by at each corner."""
AGREED = 0.005
"""Of the longer side of the grid, within which a patch agrees: 3 px at 640."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How the other picture lies on the reference's, and what speaks for it."""

    matrix: Matrix
    """(3, 3), pixels of the other to those of the reference."""
    model: Model
    overlap: float
    """Share of the smaller of the two that lies on the other one."""
    share: float
    """Of patches that agree, 0..1."""
    score: float
    """Correlation of outlines times the root of the number of pixels, at the size where candidates are told apart."""
    lead: float
    """By what factor the score is above that of the best other place."""
    differ: float
    """px of the reference by which the two estimators differ, median over the corners of the other picture."""
    sigma: float
    """px of the reference, standard error at the corners of the other picture, median."""
    residual: float
    """px of the reference, median of the patches' distances from the map."""
    patches: Displacements
    """On the grid that `to_grid` leads to, of the other picture laid by `matrix`."""
    to_grid: Matrix
    """Pixels of the reference to those of that grid."""


def register(
    other: View, reference: View, *, model: Model = "similarity", start: Start | None = None
) -> Estimate | None:
    """How the other picture lies on the reference's; None if no place gives enough patches.

    model: of the map. One picture cannot tell the perspective of two cameras from near ground and far houses, so a
    freer one than a similarity is for those who know. start: what is known beforehand.
    """
    base: Model = "shift" if model == "shift" else "similarity"
    ranked = _ranked(other, reference, base, start)
    if not ranked:
        return None
    best, lead = ranked[0], _lead(ranked, other, reference)
    grid = _Grid.of(reference, _finest(other, reference, best.matrix))
    matrix: Matrix | None = best.matrix
    for reach in (16, 12):
        matrix = None if matrix is None else _refined(other, grid, matrix, base, reach)
    if matrix is None:
        return None
    matrix = _refined(other, grid, matrix, model, 12, may_bend=True)
    if matrix is None:
        return None
    witness = _witness(other, reference, best.matrix, model)
    return _judged(other, grid, matrix, model, witness, best.score, lead)


@dataclass(frozen=True, slots=True)
class _Grid:
    """The reference at one size."""

    outlines: Outlines
    to_grid: Matrix
    size: Size

    @classmethod
    def of(cls, reference: View, side: int) -> _Grid:
        ratio = min(1.0, side / max(reference.size))
        size = max(round(reference.size[0] * ratio), 1), max(round(reference.size[1] * ratio), 1)
        to_grid = scaling(size[0] / reference.size[0], size[1] / reference.size[1])
        return cls(outlines(resized(reference, size)), to_grid, size)

    @property
    def near(self) -> float:
        return max(AGREED * max(self.size), 1.5)

    @property
    def patch(self) -> int:
        return PATCH[FINE] if max(self.size) > 1.5 * MIDDLE else PATCH[MIDDLE]


def _ranked(other: View, reference: View, model: Model, start: Start | None) -> list[Candidate]:
    """Places where the pictures may belong, best first, told apart; the more of them, the less clear it is which."""
    places = search(other, reference, search_range(start, is_shift_only=model == "shift"), keep=LOOKS[-1])
    ranked: list[Candidate] = []
    for done, wanted in pairwise((0, *LOOKS)):
        ranked += [_told_apart(other, reference, place, model) for place in places[done:wanted]]
        ranked.sort(key=lambda place: -place.score)
        if not ranked or _lead(ranked, other, reference) >= CLEAR_LEAD:
            break
    if ranked:
        ranked += _repeated(other, reference, ranked[0], model)
    return sorted(ranked, key=lambda place: -place.score)


def _lead(ranked: list[Candidate], other: View, reference: View) -> float:
    """By what factor the first place scores more than the next that is another one."""
    best = ranked[0]
    far = [place for place in ranked[1:] if _are_apart(place.matrix, best.matrix, other, reference)]
    return best.score / max(far[0].score, 1e-9) if far else float("inf")


def _are_apart(first: Matrix, second: Matrix, other: View, reference: View) -> bool:
    return bool(corner_distances(first, second, other.size).min() > APART * max(reference.size))


def _finest(other: View, reference: View, matrix: Matrix) -> int:
    """px, longer side of the finest grid on which both pictures show something new."""
    ratio = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))  # px of the reference per px of the other
    return round(max(MIDDLE / 2, min(FINE, DETAIL * max(reference.size) / ratio)))


def _matched(other: View, grid: _Grid, matrix: Matrix, reach: int, clearly: float = CLEARLY) -> Displacements:
    mine = outlines(laid(other, grid.to_grid @ matrix, grid.size))
    return displacements(mine, grid.outlines, side=grid.patch, step=grid.patch * 3 // 8, reach=reach, clearly=clearly)


def _refined(
    other: View, grid: _Grid, matrix: Matrix, model: Model, reach: int, *, may_bend: bool = False
) -> Matrix | None:
    patches = _matched(other, grid, matrix, reach, 0.0)  # on the way there each hint counts, as far as it goes
    picture = raster(grid.to_grid @ matrix, other.size, grid.size) if may_bend else None
    M = correction(patches, model, NEAR * max(grid.size), picture)
    return None if M is None else np.asarray(np.linalg.inv(grid.to_grid) @ M @ grid.to_grid @ matrix)


def _told_apart(other: View, reference: View, place: Candidate, model: Model) -> Candidate:
    """The place, refined if that makes it better, with its score at a size that tells more."""
    grid = _Grid.of(reference, min(MIDDLE, _finest(other, reference, place.matrix)))
    matrix = _refined(other, grid, place.matrix, model, 12)
    as_it_is = _scored(other, grid, place.matrix)
    if matrix is None or not np.isfinite(matrix).all():
        return as_it_is
    return max(_scored(other, grid, matrix), as_it_is, key=lambda candidate: candidate.score)


def _scored(other: View, grid: _Grid, matrix: Matrix) -> Candidate:
    mine = outlines(laid(other, grid.to_grid @ matrix, grid.size))
    a, b = mine.ways * grid.outlines.mask[..., None], grid.outlines.ways * mine.mask[..., None]
    alike = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9))
    return Candidate(matrix, alike * float(np.sqrt((mine.mask * grid.outlines.mask).sum())))


def _repeated(other: View, reference: View, best: Candidate, model: Model) -> list[Candidate]:
    """Places a floor or a window beside the best one: most fall back to it when refined."""
    grid = _Grid.of(reference, min(MIDDLE, _finest(other, reference, best.matrix)))
    found = []
    for x, y in beside(outlines(laid(other, grid.to_grid @ best.matrix, grid.size)), grid.outlines):
        shift = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
        place = np.asarray(np.linalg.inv(grid.to_grid) @ shift @ grid.to_grid @ best.matrix)
        found.append(_told_apart(other, reference, Candidate(place, 0.0), model))
    return found


def _witness(other: View, reference: View, matrix: Matrix, model: Model) -> Matrix | None:
    """ECC of the strength of the gradient, from a start; None where it does not converge."""
    kind = {"shift": cv2.MOTION_TRANSLATION, "homography": cv2.MOTION_HOMOGRAPHY}.get(model, cv2.MOTION_AFFINE)
    finest = _finest(other, reference, matrix)
    for side in (finest / 2, finest):
        grid = _Grid.of(reference, round(side))
        mine = outlines(laid(other, grid.to_grid @ matrix, grid.size))
        first = np.eye(3 if model == "homography" else 2, 3, dtype=np.float32)
        seen, lit = ((mask * 255).astype(np.uint8) for mask in (grid.outlines.mask, mine.mask))
        try:
            _, found = cv2.findTransformECCWithMask(
                grid.outlines.strength, mine.strength, seen, lit, first, kind, ECC_STEPS, ECC_BLUR
            )
        except cv2.error:  # it says so by raising
            return None
        W = np.vstack([found, [0, 0, 1]])[:3].astype(np.float64)
        matrix = np.linalg.inv(grid.to_grid) @ np.linalg.inv(W) @ grid.to_grid @ matrix
    return np.asarray(matrix)


def _judged(
    other: View, grid: _Grid, matrix: Matrix, model: Model, witness: Matrix | None, score: float, lead: float
) -> Estimate:
    patches = _matched(other, grid, matrix, 12)
    scale = 1 / grid.to_grid[0, 0]
    eye = np.eye(3)
    at = moved(grid.to_grid @ matrix, corners(other.size))
    near = NEAR * max(grid.size)
    sigma = float(np.median(spread(patches, eye, model, near, at))) * scale if patches.count else np.inf
    differ = np.inf if witness is None else float(np.median(corner_distances(witness, matrix, other.size)))
    told = residuals(patches, eye)[patches.weight > 0]
    return Estimate(
        matrix, model, overlap=_overlap(other.size, grid, matrix), share=agreeing(patches, eye, grid.near),
        score=score, lead=lead, differ=differ, sigma=sigma,
        residual=float(np.median(told)) * scale if len(told) else np.inf, patches=patches, to_grid=grid.to_grid,
    )  # fmt: skip


def _overlap(size: Size, grid: _Grid, matrix: Matrix) -> float:
    area = cv2.intersectConvexConvex(
        moved(grid.to_grid @ matrix, corners(size))[[0, 1, 3, 2]].astype(np.float32),
        corners(grid.size)[[0, 1, 3, 2]].astype(np.float32),
    )[0]
    own = cv2.contourArea(moved(grid.to_grid @ matrix, corners(size))[[0, 1, 3, 2]].astype(np.float32))
    whole = (grid.size[0] - 1) * (grid.size[1] - 1)
    return float(area / max(min(own, whole), 1e-9))
