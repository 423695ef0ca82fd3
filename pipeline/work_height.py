"""Fusing at a smaller height: what the network changes is carried to full size, where VIS keeps all of its detail."""

from __future__ import annotations

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma
from pipeline.frames import InputError

LEAST = 96
"""px; below, an even width is so far from the aspect ratio that a rig refuses it, and nothing is left to fuse."""

Size = tuple[int, int]
"""width, height in px"""

_kept = threading.local()


def check_work_height(height: int | None) -> None:
    """Raise InputError for a height that cannot be fused at; None is no height."""
    if height is not None and height < LEAST:
        raise InputError(f"--work-height {height}: give the height to fuse at, {LEAST} px or more")


def work_size(size: Size, height: int | None) -> Size:
    """The size to fuse at for an output of (width, height): of its aspect ratio, with even sides, never larger.

    The output's own size if no height is given, or one that is no smaller.
    """
    if height is None or height >= size[1]:
        return size
    even = height - height % 2
    return min(max(2 * round(size[0] * even / size[1] / 2), 2), size[0]), even


def carried(fused: Luma, vis: Luma, whole: Luma) -> Luma:
    """The fused picture at the size of `whole`: it, plus what fusing has changed of VIS.

    fused, vis: (h, w) uint8 at the size that was fused at. whole: (H, W) uint8, the VIS picture of which `vis` is the
    smaller one. Where fusing changes nothing, the result is `whole` to the bit. Both steps are exact to half a level:
    differences have their sign, and only the sum is cut off at 0 and 255.
    """
    change = cv2.subtract(fused, vis, dtype=cv2.CV_16S)
    # Bilinear: a cubic takes half as long again, and overshoots beside what is hot.
    large = cv2.resize(change, whole.shape[::-1], dst=_changes(whole.shape), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(whole, large, dtype=cv2.CV_8U), np.uint8)


def _changes(shape: tuple[int, ...]) -> NDArray[np.int16]:
    """(H, W) int16 of this thread's own, kept for its next picture.

    NumPy asks for huge pages from 4 MB on, which 1920x1080 is. Given back after each picture, they are cleared anew for
    the next one: 4 ms of a processor.
    """
    kept: NDArray[np.int16] | None = getattr(_kept, "changes", None)
    if kept is None or kept.shape != shape:
        kept = _kept.changes = np.empty(shape, np.int16)
    return kept
