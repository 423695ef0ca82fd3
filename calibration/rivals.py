"""Other ways to lay one picture on another, as OpenCV has them: what ours is held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from calibration.outlines import Plane, outlines, view_of
from calibration.rig import Matrix

STEPS = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-5)

Method = Callable[[Plane, Plane], Matrix | None]
"""From IR and VIS to the map (3, 3) from pixels of IR to those of VIS; cv2.error or None where it finds none."""


def _ecc(ir: Plane, vis: Plane) -> Matrix:
    first = np.eye(2, 3, dtype=np.float32)
    _, found = cv2.findTransformECC(vis, ir, first, cv2.MOTION_AFFINE, STEPS, view_of(ir).mask, 5)
    return _inverse(found)


def ecc_of_gradient(ir: Plane, vis: Plane) -> Matrix:
    """ECC of the strength of the gradient, from the place where the pictures are."""
    first = np.eye(2, 3, dtype=np.float32)
    mine, theirs = outlines(view_of(ir)), outlines(view_of(vis))
    mask = mine.mask.astype(np.uint8)
    _, found = cv2.findTransformECC(theirs.strength, mine.strength, first, cv2.MOTION_AFFINE, STEPS, mask, 7)
    return _inverse(found)


def _ecc_multi_scale(ir: Plane, vis: Plane) -> Matrix:
    first = np.eye(2, 3, dtype=np.float32)
    mine, theirs = outlines(view_of(ir)), outlines(view_of(vis))
    settings = cv2.ECCParameters()
    settings.motionType = cv2.MOTION_AFFINE
    masks = (theirs.mask * 255).astype(np.uint8), (mine.mask * 255).astype(np.uint8)
    _, found = cv2.findTransformECCMultiScale(theirs.strength, mine.strength, first, settings, *masks)
    return _inverse(found)


def _phase_correlation(ir: Plane, vis: Plane) -> Matrix:
    mine, theirs = (outlines(view_of(picture)).strength for picture in (ir, vis))
    window = cv2.createHanningWindow((vis.shape[1], vis.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(mine, theirs, window)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _sift(ir: Plane, vis: Plane) -> Matrix | None:
    finder = cv2.SIFT.create(4000)
    (mine, about_mine), (theirs, about_theirs) = (finder.detectAndCompute(picture, None) for picture in (ir, vis))
    pairs = cv2.BFMatcher().knnMatch(about_mine, about_theirs, k=2)
    good = [first for first, second in pairs if first.distance < 0.8 * second.distance]
    if len(good) < 3:
        return None
    source = np.array([mine[match.queryIdx].pt for match in good])
    target = np.array([theirs[match.trainIdx].pt for match in good])
    found, _ = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=3.0)
    return None if found is None else np.vstack([found, [0, 0, 1]])


def _inverse(found: Any) -> Matrix:
    """ECC gives VIS to IR."""
    return np.asarray(np.linalg.inv(np.vstack([found, [0, 0, 1]]).astype(np.float64)))


RIVALS: dict[str, Method] = {
    "ECC, luma": _ecc,
    "ECC, gradient": ecc_of_gradient,
    "ECC multi-scale (OpenCV), gradient": _ecc_multi_scale,
    "phase correlation, gradient": _phase_correlation,
    "SIFT and RANSAC": _sift,
}
