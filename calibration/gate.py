"""What must hold of an estimate before it is believed: a wrong rig is worse than none."""

from __future__ import annotations

import numpy as np

from calibration.register import CLEAR_LEAD, Estimate
from calibration.rig import Size

LEAST_OVERLAP = 0.3
"""Of the smaller picture, that the two must share."""
LEAST_PATCHES = 12
LEAST_SHARE = 0.5
"""Of the patches, that must agree on one map. Right ones of RoadScene have 0.55 to 1, wrong ones up to 0.3, and
unrelated pictures up to 0.5, but then little else holds."""
LEAST_LEAD = CLEAR_LEAD
"""Times that the best place must score what the next one does. Right ones of RoadScene have 1.24 and more, places on a
fence up to 1.2."""
MOST_DIFFER = 0.013
"""Of the reference's longer side, by which the two estimators may differ at the corners."""
MOST_SIGMA = 0.007
"""Of it, that the standard error at the corners may be."""
MOST_OFF = 0.0035
"""Of it, by which the corners of few frames may be off: of single pairs of RoadScene 4 in 5 of what is believed else,
and 8 of 18 that lie 3 px and more from the published place. A tighter one refuses both alike."""
LEAST_OFF = 1.2
"""px that are allowed of small pictures, too: none of RoadScene is so small that it matters."""
APART_COUNTS = 0.5
"""How much a freer map's corners count in that."""


def most_off(side: int) -> float:
    """px by which the corners of few frames may be off, on a reference of this longer side."""
    return max(MOST_OFF * side, LEAST_OFF)


def likely_off(sigma: float, apart: float) -> float:
    """px by which corners may be off that are known to `sigma` px, and that a freer map lays `apart` px elsewhere.

    Near ground and far houses shift to each other between two cameras; no map of one plane follows both.
    """
    return float(np.hypot(sigma, APART_COUNTS * apart))


def doubts(estimate: Estimate | None, reference: Size) -> list[str]:
    """Why an estimate on a reference of (width, height) may not be believed; empty if it may."""
    if estimate is None:
        return ["nothing that both pictures show was found"]
    side = max(reference)
    found = []
    if estimate.overlap < LEAST_OVERLAP:
        found.append(f"the pictures share {estimate.overlap:.0%} of the smaller one, {LEAST_OVERLAP:.0%} are needed")
    if estimate.patches.count < LEAST_PATCHES:
        found.append(f"{estimate.patches.count} parts show something in both, {LEAST_PATCHES} are needed")
    if estimate.share < LEAST_SHARE:
        found.append(f"{estimate.share:.0%} of the parts agree on one place, {LEAST_SHARE:.0%} are needed")
    if estimate.lead < LEAST_LEAD:
        found.append("another place fits as well")
    if np.isinf(estimate.differ):
        found.append("a second estimator finds no place at all")
    elif not estimate.differ <= MOST_DIFFER * side:
        found.append(f"two estimators differ by {in_px(estimate.differ)}, {in_px(MOST_DIFFER * side)} are allowed")
    if np.isinf(estimate.sigma):
        found.append("what agrees lies in one part of the picture")
    elif not estimate.sigma <= MOST_SIGMA * side:
        found.append(f"the corners are known to {in_px(estimate.sigma)} only, {in_px(MOST_SIGMA * side)} are allowed")
    return found


def in_px(length: float) -> str:
    """A length for people."""
    return f"{length:.1f} px"
