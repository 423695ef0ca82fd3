"""A calibrated rig at work: one picture warped onto the other's grid, and a soft border where its view ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.rig import Rig, Side, load_rig, ratio_to
from calibration.warp import Warp, make_warp
from engines.base import Luma
from pipeline.frames import Chroma, Frame, InputError
from pipeline.source import holds_images

Size = tuple[int, int]
"""width, height in px"""
SHRINK = 1.5
"""A picture larger than the grid by more than this is made smaller before it is warped, or it would alias."""
KEPT = 4
"""Warps that are kept: a nudge that is dragged makes many."""


class Rigging:
    """A rig and its maps, made once for each pair of sizes. One thread at a time."""

    def __init__(self, rig: Rig, depth: float | None = None) -> None:
        """depth: m from the reference camera at which the pictures meet; None is the rig's own, inf is far away."""
        self.rig, self.depth = rig, depth
        self._warps: dict[tuple[Any, ...], Warp] = {}

    def warp(self, other: Size, grid: Size, reference: Side, nudge: tuple[float, float]) -> Warp:
        """From the grid of the reference into the other picture. Raises RigError for sizes that do not fit the rig."""
        key = other, grid, reference, nudge
        if key not in self._warps:
            sizes = (other, grid) if reference == "vis" else (grid, other)
            warp = make_warp(self.rig, *sizes, reference=reference, depth=self.depth, nudge=nudge)
            if not warp.coverage:
                raise InputError(
                    f"rig: at {self._distance} the pictures do not meet anywhere; give another --depth or --shift"
                )
            while len(self._warps) >= KEPT:
                self._warps.pop(next(iter(self._warps)))
            self._warps[key] = warp
        return self._warps[key]

    def lay(self, frame: Frame, grid: Size, reference: Side, nudge: tuple[float, float]) -> tuple[Frame, Warp]:
        """The other camera's 8-bit frame on the grid of the reference (width, height), and the map that was used."""
        height, width = frame.luma.shape
        size = width, height
        if min(width / grid[0], height / grid[1]) > SHRINK:
            ratio = max(grid[0] / width, grid[1] / height)
            size = max(round(width * ratio), 1), max(round(height * ratio), 1)
        warp = self.warp(size, grid, reference, nudge)
        luma = _remapped(_shrunk(frame.luma, size), warp.at)
        chroma = frame.chroma
        if chroma is not None:
            is_full = chroma[0].shape == frame.luma.shape
            at = warp.at if is_full else _halved(warp.at)
            small = size if is_full else ((size[0] + 1) // 2, (size[1] + 1) // 2)
            chroma = _remapped(_shrunk(chroma[0], small), at), _remapped(_shrunk(chroma[1], small), at)
        return replace(frame, luma=luma, chroma=chroma), warp

    def check(self, ir: Size, vis: Size) -> None:
        """Raise RigError if the rig is not of streams of these sizes."""
        ratio_to(self.rig, "ir", ir)
        ratio_to(self.rig, "vis", vis)

    @property
    def _distance(self) -> str:
        depth = self.depth if self.depth is not None else self.rig.depth
        return "infinity" if depth is None or np.isinf(depth) else f"{depth:g} m"


def open_rigging(path: Path, depth: float | None = None) -> Rigging:
    """The rig of a file, at work. Raises RigError for a file that is no rig, InputError for a depth that cannot be."""
    if depth is not None and not depth > 0:
        raise InputError(f"--depth {depth:g}: give the distance of what matters in m, or inf")
    rig = load_rig(path)
    if rig.plane is not None and depth is not None:
        raise InputError(f"--depth {depth:g}: {path} is a homography, which holds for one distance; leave --depth out")
    return Rigging(rig, depth)


def rigging_of(path: Path | None, depth: float | None) -> Rigging | None:
    """As `open_rigging`, None without a file. Raises InputError for a depth without a rig."""
    if path is None:
        if depth is not None:
            raise InputError(f"--depth {depth:g}: is of a rig; give --rig FILE, too")
        return None
    return open_rigging(path, depth)


def reference_of(given: Side | None, rigging: Rigging | None) -> Side:
    """Whose grid the output has: what the user gave, else on whose picture the rig was searched, else visible."""
    return given or (rigging.rig.reference if rigging else None) or "vis"


def clock_offset(given: float | None, rigging: Rigging | None, *inputs: str) -> float:
    """s added to infrared times: what the user gave, else what the rig has, else 0.

    inputs: what is opened, if it may be images: they have no clock, so that of a rig is not theirs.
    """
    if given is not None:
        return given
    return 0.0 if rigging is None or _are_images(inputs) else rigging.rig.clock_offset


def clock_rate(given_offset: float | None, rigging: Rigging | None, *inputs: str) -> float:
    """ppm by which the infrared clock is slow: what the rig has, unless the user gave an offset of another clock."""
    return 0.0 if rigging is None or given_offset is not None or _are_images(inputs) else rigging.rig.clock_rate


def _are_images(inputs: tuple[str, ...]) -> bool:
    return bool(inputs) and all(holds_images(path) for path in inputs)


def laid_over(upper: Luma, lower: Luma, weight: NDArray[np.float32]) -> Luma:
    """upper where weight is 1, lower where it is 0. All (H, W)."""
    return np.asarray(cv2.blendLinear(upper, lower, weight, 1 - weight), np.uint8)


def chroma_laid_over(upper: Chroma, lower: Chroma, weight: NDArray[np.float32], neutral: int) -> Chroma:
    """The same of chroma planes, of full or half size; None is `neutral`."""
    if upper is None and lower is None:
        return None
    some = upper if upper is not None else lower
    assert some is not None
    flat = np.full_like(some[0], neutral)
    pairs = zip(upper or (flat, flat), lower or (flat, flat), strict=True)
    if some[0].shape != weight.shape:
        weight = np.asarray(cv2.resize(weight, some[0].shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    first, second = (laid_over(a, b, weight) for a, b in pairs)
    return first, second


def _remapped(plane: NDArray[Any], at: NDArray[np.float32]) -> NDArray[Any]:
    none: Any = None  # both coordinates are in the first map; the stubs want a second one
    return cv2.remap(plane, at, none, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shrunk(plane: NDArray[Any], size: Size) -> NDArray[Any]:
    return plane if plane.shape[::-1] == size else cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def _halved(at: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map between planes of half the size: sample k of chroma lies between luma 2k and 2k + 1."""
    height, width = at.shape[:2]
    even = cv2.copyMakeBorder(at, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    corners = even[::2, ::2], even[1::2, ::2], even[::2, 1::2], even[1::2, 1::2]
    return np.asarray((sum(corners[1:], start=corners[0]) / 4 - 0.5) / 2, np.float32)
