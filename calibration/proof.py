"""Pictures that show whether two others lie on each other: for the eye, which no number replaces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.outlines import Plane, View, laid, outlines, scaling
from calibration.rig import Matrix, RigError

FIELDS = 8
"""Of the chessboard, across."""
STRONG = 0.55
"""Of an outline's strength, from which it is drawn."""

Colours = NDArray[np.uint8]
"""(H, W, 3) blue, green, red."""


def as_they_are(ir: Plane, vis: Plane) -> Matrix:
    """The map that only stretches IR over VIS: what a pair looks like without a rig."""
    return scaling(vis.shape[1] / ir.shape[1], vis.shape[0] / ir.shape[0])


def overlay(ir: Plane, vis: Plane, matrix: Matrix) -> Colours:
    """VIS in gray, darkened where IR does not see, and the outlines of IR on it in red. matrix: IR to VIS."""
    on_vis = _laid(ir, vis, matrix)
    # of IR as it is: enlarged, each pixel of noise would be an outline
    strength = outlines(View(ir, np.ones_like(ir))).strength
    lines = cv2.warpPerspective(strength, matrix, (vis.shape[1], vis.shape[0])) > STRONG
    gray = np.where(on_vis.mask > 0, vis, vis // 2).astype(np.uint8)
    picture = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    picture[lines] = (40, 40, 255)
    return np.asarray(picture, np.uint8)


def chessboard(ir: Plane, vis: Plane, matrix: Matrix) -> Colours:
    """Fields of IR and of VIS by turns: what runs across their borders is to run on. matrix: IR to VIS."""
    on_vis = _laid(ir, vis, matrix)
    height, width = vis.shape
    field = max(1, round(width / FIELDS))
    row, column = np.arange(height)[:, None] // field, np.arange(width)[None] // field
    is_ir = ((row + column) % 2 == 0) & (on_vis.mask > 0)
    return np.asarray(cv2.cvtColor(np.where(is_ir, on_vis.luma, vis).astype(np.uint8), cv2.COLOR_GRAY2BGR), np.uint8)


def write_picture(path: Path, picture: Colours) -> None:
    """Write a PNG. Raises RigError."""
    try:
        path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise RigError(f"{path}: {error.strerror}; give another --debug") from error


def _laid(ir: Plane, vis: Plane, matrix: Matrix) -> View:
    return laid(View(ir, np.ones_like(ir)), matrix, (vis.shape[1], vis.shape[0]))
