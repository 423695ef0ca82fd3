"""From frames of a scene that both cameras see, without a target, to a rig: or to a reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from calibration.bend import raster
from calibration.gate import MOST_SIGMA, doubts, in_px, likely_off, most_off
from calibration.models import Model, Points, corner_distances, corners, moved
from calibration.outlines import Plane, View, view_of
from calibration.patches import (
    Displacements,
    agreeing,
    chosen,
    correction,
    residuals,
    spread,
    together,
)
from calibration.register import AGREED, NEAR, Estimate, register
from calibration.rig import Matrix, Side, Size
from calibration.search import Start
from engines.base import CrotalusError

LEAST_SIDE = 32
"""px, of a picture that can be registered."""
LEAST_CONTRAST = 4
"""Levels between the darkest and the brightest of a picture that shows anything."""
MOST_APART = 0.013
"""Of it, by which frames that agree may differ at the corners."""
FRAMES_TO_BEND = 3
"""Frames that agree, from which `auto` takes a freer map than a similarity."""
FREER: dict[Model, Model] = {"similarity": "affine", "affine": "homography"}
"""What a map of fewer frames is held against: how far the next freer one is from it tells what it cannot follow."""
MOST_BENT = 0.01
"""Of the longer side, by which a better freer map may differ at the corners and be left."""
ENOUGH = 0.5
"""Of the frames, that must be sure of their own, and of these, more than which must agree."""


class SceneError(CrotalusError, ValueError):
    """The two pictures could not be laid on each other so that it may be believed; the text says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one frame."""

    estimate: Estimate | None
    doubts: tuple[str, ...]
    """Why it is not believed; empty if it is."""


@dataclass(frozen=True, slots=True)
class Scene:
    """How infrared lies on visible, from all frames."""

    matrix: Matrix
    """(3, 3), pixels of IR to pixels of VIS."""
    model: Model
    verdicts: tuple[Verdict, ...]
    """Of each frame, in order; their matrices are from the other camera to the reference."""
    agreeing: tuple[int, ...]
    """Frames that the map is made of."""
    quality: dict[str, float]
    """For the rig: what was measured, px of the reference."""
    places: Points
    """(N, 2) px of the reference, of the patches of these frames that say anything."""
    off: Points
    """(N, 2) px, how far from there each fits best."""


def calibrate_scene(
    pairs: Sequence[tuple[Plane, Plane]],
    *,
    model: Model | Literal["auto"] = "auto",
    reference: Side = "vis",
    start: Start | None = None,
    on_frame: Callable[[int, Verdict], None] = lambda number, verdict: None,
) -> Scene:
    """The map from pairs of IR and VIS pictures of a rigid pair of cameras, each (H, W) uint8.

    reference: whose pixels errors are counted in, and whose picture the other one is searched on; the wider one, if
    one is much wider. on_frame: told of each frame. Raises SceneError if the answer is not to be believed.
    """
    verdicts = []
    for number, (ir, vis) in enumerate(pairs):
        views = _seen(ir, "ir"), _seen(vis, "vis")
        other, fixed = views if reference == "vis" else views[::-1]
        estimate = register(other, fixed, model="similarity" if model == "auto" else model, start=start)
        verdicts.append(Verdict(estimate, tuple(doubts(estimate, fixed.size))))
        on_frame(number, verdicts[-1])
    sizes = [(picture.shape[1], picture.shape[0]) for picture in pairs[0]]
    size, fixed_size = sizes if reference == "vis" else sizes[::-1]
    group = _group(verdicts, size, fixed_size)
    members = [estimate for number in group if (estimate := verdicts[number].estimate) is not None]
    return _combined(verdicts, group, members, size, fixed_size, model, reference)


def _seen(luma: Plane, side: Side) -> View:
    """The picture with what is usable of it. Raises SceneError for one that shows nothing."""
    height, width = luma.shape
    if min(width, height) < LEAST_SIDE:
        raise SceneError(
            f"{side}: {width}x{height} is too small, at least {LEAST_SIDE} px a side; give larger pictures"
        )
    contrast = int(luma.max()) - int(luma.min())
    if contrast < LEAST_CONTRAST:
        raise SceneError(
            f"{side}: all pixels are within {contrast} levels, nothing is to be seen; is the lens covered? "
            "Give frames with objects in them"
        )
    return view_of(luma)


def _group(verdicts: Sequence[Verdict], size: Size, fixed: Size) -> list[int]:
    """Frames that are sure and agree with the one that most agree with. Raises SceneError if they are too few."""
    sure = [number for number, verdict in enumerate(verdicts) if not verdict.doubts]
    if len(sure) < max(1, ENOUGH * len(verdicts)):
        reasons = [verdict.doubts[0] for verdict in verdicts if verdict.doubts]
        common = max(set(reasons), key=reasons.count) if len(verdicts) > 1 else "; ".join(verdicts[0].doubts)
        where = f"{len(verdicts) - len(sure)} of {len(verdicts)} frames are not to be believed: " * (len(verdicts) > 1)
        raise SceneError(
            f"ir and vis could not be laid on each other: {where}{common}; give frames with more outlines that both "
            "cameras see, a rough place by --start SCALE,ROT,DX,DY, or calibrate by a target"
        )
    allowed = MOST_APART * max(fixed)
    matrices = {number: _matrix(verdicts[number]) for number in sure}
    groups = {
        number: [n for n in sure if corner_distances(matrices[n], matrices[number], size).max() <= allowed]
        for number in sure
    }
    group = max(groups.values(), key=len)
    if len(group) <= ENOUGH * len(sure):
        raise SceneError(
            f"frames disagree: {len(group)} of {len(sure)} lie within {in_px(allowed)} of each other at the corners, "
            "more than half are needed; do the cameras stand still to each other, and are the clocks alike (--offset)?"
        )
    return group


def _matrix(verdict: Verdict) -> Matrix:
    assert verdict.estimate is not None
    return verdict.estimate.matrix


def _combined(
    verdicts: list[Verdict],
    group: list[int],
    members: list[Estimate],
    size: Size,
    fixed: Size,
    model: Model | Literal["auto"],
    reference: Side,
) -> Scene:
    """One map from the patches of all frames that agree, on the place of the frame in their middle."""
    middle = min(members, key=lambda e: sum(corner_distances(e.matrix, m.matrix, size).max() for m in members)).matrix
    patches = together([_relative_to(middle, member) for member in members])
    side = max(fixed)
    near = NEAR * side
    at = moved(middle, corners(size))
    kind = _chosen(patches, near, at, len(members), side) if model == "auto" else model
    # one frame was laid by all its hints, not only by those that are clear enough to judge it by
    M = np.eye(3) if len(members) == 1 else correction(patches, kind, near, raster(middle, size, fixed))
    assert M is not None  # each of them has enough patches of its own
    matrix = M @ middle
    sigma = float(np.median(spread(patches, M, kind, near, at)))
    if not sigma <= MOST_SIGMA * side:
        raise SceneError(
            f"all frames together know the corners to {in_px(sigma)} only, {in_px(MOST_SIGMA * side)} are allowed; "
            "give frames with outlines all over the picture, or another --model"
        )
    is_few = len(members) < FRAMES_TO_BEND and kind in FREER
    off = {"corner_off_px": _off_in_few(patches, M, kind, near, at, sigma, side)} if is_few else {}
    apart = [float(np.median(corner_distances(matrix, member.matrix, size))) for member in members]
    is_told = patches.weight > 0
    quality = {
        "frames": float(len(verdicts)),
        "frames_agreeing": float(len(group)),
        "overlap": float(np.median([member.overlap for member in members])),
        "patches_agreeing": agreeing(patches, M, AGREED * side),
        "residual_px": float(np.median(residuals(patches, M)[is_told])),
        "corner_sigma_px": sigma,
        **off,
        "frames_apart_px": float(np.median(apart)),
        "estimators_apart_px": float(np.median([member.differ for member in members])),
    }
    places = moved(M, patches.at)[is_told]
    whole = matrix if reference == "vis" else np.linalg.inv(matrix)
    H = np.asarray(whole / whole[2, 2], np.float64)
    return Scene(H, kind, tuple(verdicts), tuple(group), quality, places, patches.to[is_told] - places)


def _off_in_few(
    patches: Displacements, matrix: Matrix, model: Model, near: float, at: Points, sigma: float, side: int
) -> float:
    """px by which the corners may be off; raises SceneError if that is too much for what few frames show."""
    freer = correction(patches, FREER[model], near)
    assert freer is not None
    apart = float(np.median(np.linalg.norm(moved(freer, at) - moved(matrix, at), axis=1)))
    off = likely_off(sigma, apart)
    if not off <= most_off(side):
        raise SceneError(
            f"the corners may be off by {in_px(off)}: they are known to {in_px(sigma)}, and {FREER[model]} instead of "
            f"{model} lays them {in_px(apart)} elsewhere; in fewer than {FRAMES_TO_BEND} frames "
            f"{in_px(most_off(side))} are allowed; give more frames, of things near and far"
        )
    return off


def _chosen(patches: Displacements, near: float, at: Points, frames: int, side: int) -> Model:
    """The model of all frames; raises SceneError if few frames leave open which, and it matters."""
    kind = chosen(patches, near, at)
    if kind == "similarity" or frames >= FRAMES_TO_BEND:
        return kind
    freer, plain = (correction(patches, each, near) for each in (kind, "similarity"))
    assert freer is not None
    assert plain is not None
    apart = float(np.median(np.linalg.norm(moved(freer, at) - moved(plain, at), axis=1)))
    if apart > MOST_BENT * side:
        raise SceneError(
            f"{kind} fits better than similarity and differs by {in_px(apart)} at the corners, in fewer than "
            f"{FRAMES_TO_BEND} frames {in_px(MOST_BENT * side)} are allowed, for near ground may look like it; give "
            f"more frames, or --model {kind} or similarity"
        )
    return "similarity"


def _relative_to(matrix: Matrix, estimate: Estimate) -> Displacements:
    """An estimate's patches in pixels of the reference, as if the other picture had been laid by `matrix`."""
    back = np.asarray(np.linalg.inv(estimate.to_grid), np.float64)
    own = moved(np.asarray(np.linalg.inv(estimate.matrix) @ back, np.float64), estimate.patches.at)
    return replace(estimate.patches, at=moved(matrix, own), to=moved(back, estimate.patches.to))
