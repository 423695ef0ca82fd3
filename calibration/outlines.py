"""What two kinds of light share of a scene: where outlines run and how, not which side of them is brighter."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.rig import Matrix

Plane = NDArray[np.uint8]
Field = NDArray[np.float32]

BLUR = 0.8
"""px, sigma before the gradient: noise of one pixel is no outline."""
NEIGHBOURHOOD = 6.0
"""px, sigma of what an outline is weighed against: a hot target must not outweigh all else."""
GLOBAL_SHARE = 0.5
"""Of the mean gradient of the whole picture in that weight: flat noise stays weak."""
DEAD = 0.002
"""Of the picture, from which a flat region at its border is no picture: a black wedge, a frame, a blown-out sky."""
MARGIN = 3
"""px next to such a region that are not used, as far as the blur and the gradient carry its edge."""
SHRINK = 0.7
"""Pixels of a grid per pixel of a picture, below which the picture is made smaller first, or it would alias."""


@dataclass(frozen=True, slots=True)
class View:
    """A picture and which of its pixels show the scene."""

    luma: Plane
    """(H, W)"""
    mask: Plane
    """(H, W), 1 or 0."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        height, width = self.luma.shape
        return width, height


@dataclass(frozen=True, slots=True)
class Outlines:
    """A picture's outlines."""

    ways: Field
    """(H, W, 2): strength in 0..1 times cosine and sine of twice the angle of the gradient. Twice the angle is the same
    for an edge from dark to bright and from bright to dark."""
    mask: Field
    """(H, W), 1 where it can be known, else 0."""

    @property
    def strength(self) -> Field:
        """(H, W) in 0..1."""
        return np.asarray(cv2.magnitude(self.ways[..., 0], self.ways[..., 1]), np.float32)


def view_of(luma: Plane) -> View:
    """A picture with the flat regions at its border masked out."""
    square = np.ones((3, 3), np.uint8)
    flat = (cv2.dilate(luma, square) == cv2.erode(luma, square)).astype(np.uint8)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    at_border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    dead = [label for label in at_border if label and facts[label, cv2.CC_STAT_AREA] > DEAD * luma.size]
    return View(luma, 1 - np.isin(labels, dead).astype(np.uint8))


def outlines(view: View) -> Outlines:
    """The outlines of a picture."""
    smooth = cv2.GaussianBlur(view.luma.astype(np.float32), (0, 0), BLUR)
    x, y = cv2.Scharr(smooth, cv2.CV_32F, 1, 0), cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    square = np.ones((2 * MARGIN + 1,) * 2, np.uint8)
    mask = cv2.erode(view.mask, square, borderType=cv2.BORDER_CONSTANT, borderValue=(1,)).astype(np.float32)
    power = x * x + y * y
    strength = np.sqrt(power)
    counted = strength * mask
    known = np.maximum(cv2.GaussianBlur(mask, (0, 0), NEIGHBOURHOOD), 1e-3)
    near = cv2.GaussianBlur(counted, (0, 0), NEIGHBOURHOOD) / known
    floor = near + GLOBAL_SHARE * float(counted.sum()) / max(float(mask.sum()), 1.0) + 1e-3
    weight = mask * strength / (strength + floor) / np.maximum(power, 1e-9)
    ways = np.dstack([(x * x - y * y) * weight, 2 * x * y * weight])
    return Outlines(np.asarray(ways, np.float32), mask)


def resized(view: View, size: tuple[int, int]) -> View:
    """The picture at another (width, height)."""
    if size == view.size:
        return view
    kind = cv2.INTER_AREA if size[0] < view.size[0] else cv2.INTER_LINEAR
    luma = cv2.resize(view.luma, size, interpolation=kind)
    mask = cv2.resize(view.mask, size, interpolation=cv2.INTER_NEAREST)
    return View(np.asarray(luma, np.uint8), np.asarray(mask, np.uint8))


def shrunk(view: View, ratio: float) -> tuple[View, Matrix]:
    """The picture at `ratio` of its size, and the matrix from its pixels to the new ones; ratio above 1 leaves it."""
    width, height = view.size
    small = resized(view, (max(round(width * ratio), 1), max(round(height * ratio), 1))) if ratio < 1 else view
    return small, scaling(small.size[0] / width, small.size[1] / height)


def laid(view: View, matrix: Matrix, size: tuple[int, int]) -> View:
    """The picture on a grid of (width, height); matrix (3, 3): its pixels to those of the grid."""
    ratio = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    if ratio < SHRINK:
        view, own = shrunk(view, ratio)
        matrix = matrix @ np.linalg.inv(own)
    luma = cv2.warpPerspective(view.luma, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(view.mask, matrix, size, flags=cv2.INTER_NEAREST)
    return View(np.asarray(luma, np.uint8), np.asarray(mask, np.uint8))


def scaling(x: float, y: float) -> Matrix:
    """Pixels of a picture to those of the same picture at another size: their edges, not their centres, coincide."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
