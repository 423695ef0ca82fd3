"""Two pictures made one: mixed, one over the other, one inside the other, or side by side. Planes only, no views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma
from pipeline.frames import Chroma
from pipeline.picture import NEUTRAL

Plane = NDArray[np.uint8]

INSET = 0.36
"""Width and height of the inset of `pip` over those of the picture."""
MARGIN = 0.025
"""Of the inset from the corner, of the picture's height."""
SMALLEST = 32
"""px, of the smaller side of a picture that has room for an inset."""
DARK, BRIGHT = 16, 235
"""Luma of the lines around an inset and beside a divider."""
BAND = 1 / 3
"""Width of the chosen view between IR and VIS when a divider is set, of the picture's."""


@dataclass(frozen=True, slots=True)
class Planes:
    """A picture on its way to a frame. Its planes may be somebody else's: never written into."""

    luma: Luma
    """(H, W) uint8"""
    chroma: Chroma
    """U and V of one size and range for all pictures that are joined; None for gray."""


def blend(ir: Planes, vis: Planes, weight: float) -> Planes:
    """The mean of both; weight: share of IR, 0..1."""

    def mixed(one: Plane, other: Plane) -> Plane:
        return as_bytes(cv2.addWeighted(one, weight, other, 1 - weight, 0))

    return Planes(mixed(ir.luma, vis.luma), _joined(ir, vis, mixed))


def lay_over(ir: Planes, vis: Planes, alpha: Plane) -> Planes:
    """IR laid over VIS, alpha (H, W) uint8: 255 where IR alone shows."""
    luma = _mixed_by(alpha, ir.luma, vis.luma)
    return Planes(luma, _joined(ir, vis, lambda one, other: _mixed_by(_like(alpha, one), one, other)))


def set_in(ir: Planes, vis: Planes) -> Planes:
    """VIS with all of IR, small and framed, in its lower right corner; VIS alone where there is no room for it."""
    height, width = vis.luma.shape
    if min(height, width) < SMALLEST:
        return vis
    line = max(1, round(height / 320))
    gap = max(2, round(MARGIN * height)) + 2 * line
    tall, wide = _even(INSET * height), _even(INSET * width)
    top, left = _even(height - gap - tall), _even(width - gap - wide)
    luma = vis.luma.copy()
    for rim, level in ((2 * line, DARK), (line, BRIGHT), (0, None)):
        place = luma[top - rim : top + tall + rim, left - rim : left + wide + rim]
        place[:] = _shrunk(ir.luma, place.shape) if level is None else level

    def put_in(small: Plane, large: Plane) -> Plane:
        step = 1 if large.shape == luma.shape else 2
        rim = 2 * line // step
        y, x, h, w = top // step, left // step, tall // step, wide // step
        plane = large.copy()
        plane[y - rim : y + h + rim, x - rim : x + w + rim] = NEUTRAL
        plane[y : y + h, x : x + w] = _shrunk(small, (h, w))
        return plane

    return Planes(luma, _joined(ir, vis, put_in))


def divide(middle: Planes, ir: Planes, vis: Planes, place: float) -> Planes:
    """IR on the left, VIS on the right, and a band of the chosen view around `place`, with a line at either edge."""
    width = vis.luma.shape[1]
    cuts = [min(max(_even((place + side * BAND / 2) * width), 0), width) for side in (-1, 1)]

    def joined(left: Plane, centre: Plane, right: Plane) -> Plane:
        step = 1 if left.shape == vis.luma.shape else 2
        one, two = (min((cut + step - 1) // step, left.shape[1]) for cut in cuts)
        return np.concatenate([left[:, :one], centre[:, one:two], right[:, two:]], axis=1)

    luma = joined(ir.luma, middle.luma, vis.luma)
    for cut in cuts:
        if 0 < cut < width:
            luma[:, max(cut - 2, 0) : cut + 2] = DARK
            luma[:, cut - 1 : cut + 1] = BRIGHT
    given = [picture.chroma for picture in (ir, middle, vis)]
    like = next((chroma for chroma in given if chroma is not None), None)
    if like is None:
        return Planes(luma, None)
    gray = np.full_like(like[0], NEUTRAL)
    planes = [chroma or (gray, gray) for chroma in given]
    return Planes(luma, (joined(*(pair[0] for pair in planes)), joined(*(pair[1] for pair in planes))))


def _mixed_by(alpha: Plane, one: Plane, other: Plane) -> Plane:
    weight = alpha.astype(np.float32) / 255
    return as_bytes(cv2.blendLinear(one, other, weight, 1 - weight))


def _joined(one: Planes, other: Planes, join: Callable[[Plane, Plane], Plane]) -> Chroma:
    """The chroma planes of two pictures joined plane by plane; None if neither has any."""
    like = one.chroma or other.chroma
    if like is None:
        return None
    neutral = np.full_like(like[0], NEUTRAL)
    ours, theirs = one.chroma or (neutral, neutral), other.chroma or (neutral, neutral)
    return join(ours[0], theirs[0]), join(ours[1], theirs[1])


def half(plane: Plane) -> Plane:
    """A plane (H, W) at the size of its chroma (ceil H/2, ceil W/2), averaged."""
    height, width = plane.shape
    return as_bytes(cv2.resize(plane, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA))


def _shrunk(plane: Plane, shape: tuple[int, ...]) -> Plane:
    return as_bytes(cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_AREA))


def _even(side: float) -> int:
    """The next lower even number of px: chroma planes are cut at half of it."""
    return int(side) // 2 * 2


def _like(plane: Plane, other: Plane) -> Plane:
    return plane if plane.shape == other.shape else half(plane)


def as_bytes(plane: Any) -> Plane:
    """What OpenCV returns of bytes, typed so."""
    return np.asarray(plane, np.uint8)
