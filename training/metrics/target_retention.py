"""Does a warm target stay visible? Ours, because every published metric can rise while a person vanishes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING = 1.5
"""Sigma of the blur before targets are sought, px."""
LARGEST_SIDE = 0.22
"""Diameter of the top-hat's ellipse over the shorter side: targets are smaller than this."""
LEVEL = 35.0
"""Least height above the surroundings, levels."""
SHARE_OF_PEAK = 0.45
"""Or this share of the highest, whichever is larger."""
LEAST_AREA = 40
"""px"""
LARGEST_AREA = 0.04
"""of the picture"""
LEAST_CONTRAST = 30.0
"""Mean of a target minus mean of its ring in IR, levels."""
GAP = 3
"""Between a target and its ring, px: a target's edge is blurred, and belongs to neither."""
RING = 9
"""Width of the ring, px."""
LOST = 0.25
"""A target that keeps less of its contrast than this counts as lost."""
Target = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Masks (H, W) of a target and of its ring."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Of the warm targets of one pair."""

    targets: int
    mean: float
    """Contrast in the fused picture over contrast in IR, each clipped to -1..1.5, weighted by sqrt(area); nan: none."""
    lost: int
    """Targets below `LOST`."""


def target_retention(ir: NDArray[np.uint8], fused: NDArray[np.uint8]) -> Retention:
    """How much of the contrast of IR's compact bright blobs the fused picture (H, W) keeps."""
    kept = [of_target for target in warm_targets(ir) if (of_target := contrast_kept(ir, fused, target)) is not None]
    ratios, weights = [ratio for ratio, _ in kept], [weight for _, weight in kept]
    if not ratios:
        return Retention(0, float("nan"), 0)
    return Retention(len(ratios), float(np.average(ratios, weights=weights)), sum(r < LOST for r in ratios))


def contrast_kept(ir: NDArray[np.uint8], fused: NDArray[np.uint8], target: Target) -> tuple[float, float] | None:
    """Contrast of one target in the fused picture over that in IR, -1..1.5, and its weight; None: too faint in IR."""
    inside, ring = target
    in_ir, in_fused = (float(p[inside].mean()) - float(p[ring].mean()) for p in (ir, fused))
    if in_ir < LEAST_CONTRAST:
        return None
    return min(1.5, max(-1.0, in_fused / in_ir)), float(np.sqrt(inside.sum()))


def warm_targets(
    ir: NDArray[np.uint8], *, largest_side: float = LARGEST_SIDE, largest_area: float = LARGEST_AREA
) -> list[Target]:
    """Masks (H, W) of each blob and of the ring around it, free of other blobs.

    largest_side, largest_area: of a whole picture; in a crop of one a target takes a larger share.
    """
    smooth = cv2.GaussianBlur(ir, (0, 0), SMOOTHING)
    side = max(3, int(largest_side * min(ir.shape)))
    hat = cv2.morphologyEx(smooth, cv2.MORPH_TOPHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    blobs = (hat > max(LEVEL, SHARE_OF_PEAK * float(hat.max()))).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(blobs)
    inner, outer = (
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)) for reach in (GAP, GAP + RING)
    )
    found = []
    for k in range(1, count):
        if LEAST_AREA <= boxes[k, cv2.CC_STAT_AREA] <= largest_area * ir.size:
            target = labels == k
            near, far = (cv2.dilate(target.astype(np.uint8), kernel) for kernel in (inner, outer))
            ring = (far > near) & (blobs == 0)
            if ring.any():
                found.append((target, ring))
    return found
