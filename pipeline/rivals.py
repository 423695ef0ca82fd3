"""What a user would otherwise take: formulas without weights, behind the same protocol, to measure beside."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from engines.base import Luma, SerialFlight, StreamState

LEVELS = 4
"""Of the Laplacian pyramid, as in the usual OpenCV recipe."""


class FormulaFuser:
    """A fuser that computes a formula of two (H, W) pictures; it has no model and no state."""

    info = None

    def __init__(self, name: str, formula: Callable[[Luma, Luma], Luma]) -> None:
        self.name = name
        self._formula = formula

    def fuse(self, ir: Luma, vis: Luma) -> Luma:
        """See `engines.base.Fuser`."""
        if ir.ndim == 2:
            return self._formula(ir, vis)
        return np.stack([self._formula(a, b) for a, b in zip(ir, vis, strict=True)])

    def fuse_next(self, ir: Luma, vis: Luma, state: StreamState | None) -> tuple[Luma, StreamState | None]:
        """The same as `fuse`: a formula has nothing to remember."""
        return self.fuse(ir, vis), None

    def start(self, *, follows: bool) -> SerialFlight:
        """A run of pairs, one after the other."""
        return SerialFlight(self, follows=follows)

    def close(self) -> None:
        """Nothing to close."""


def plain_mean() -> FormulaFuser:
    """(ir + vis) / 2, rounded."""
    return FormulaFuser("plain mean", lambda ir, vis: np.asarray(cv2.addWeighted(ir, 0.5, vis, 0.5, 0), np.uint8))


def plain_max() -> FormulaFuser:
    """The brighter of the two."""
    return FormulaFuser("plain max", lambda ir, vis: np.asarray(cv2.max(ir, vis), np.uint8))


def laplacian_pyramid() -> FormulaFuser:
    """Per band the coefficient of larger magnitude, the mean of the coarsest level (Burt and Adelson 1983)."""
    return FormulaFuser("Laplacian pyramid", _pyramid)


def _pyramid(ir: Luma, vis: Luma) -> Luma:
    ir_bands, vis_bands = _bands(ir), _bands(vis)
    fused = cv2.addWeighted(ir_bands.pop(), 0.5, vis_bands.pop(), 0.5, 0)
    for a, b in zip(reversed(ir_bands), reversed(vis_bands), strict=True):
        stronger = np.where(np.abs(a) >= np.abs(b), a, b)
        fused = cv2.pyrUp(fused, dstsize=(a.shape[1], a.shape[0])) + stronger
    return np.clip(np.rint(fused), 0, 255).astype(np.uint8)


def _bands(luma: Luma) -> list[np.ndarray]:
    """Detail bands from fine to coarse, then the coarsest level, float32."""
    level, bands = luma.astype(np.float32), []
    for _ in range(LEVELS):
        if min(level.shape) < 2:
            break
        coarse = cv2.pyrDown(level)
        bands.append(level - cv2.pyrUp(coarse, dstsize=(level.shape[1], level.shape[0])))
        level = np.asarray(coarse)
    return [*bands, level]
