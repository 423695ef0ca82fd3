"""A formula of two pictures as a fuser: no model, no state, nothing to close."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.base import Luma, SerialFlight, StreamState
from engines.onnx_cpu import check_inputs

Formula = Callable[[Luma, Luma], Luma]
"""IR and VIS (H, W) uint8 of one shape, not empty -> fused (H, W) uint8, the caller's own; deterministic."""


class FormulaFuser:
    """Fuses by a formula. Two threads may call it at once."""

    info = None

    def __init__(self, name: str, formula: Formula) -> None:
        """name: as tables and messages call it."""
        self.name = name
        self._formula = formula

    def fuse(self, ir: Luma, vis: Luma) -> Luma:
        """See `engines.base.Fuser`."""
        check_inputs(ir, vis)
        if ir.ndim == 2:
            return self._formula(ir, vis)
        return np.stack([self._formula(a, b) for a, b in zip(ir, vis, strict=True)]) if len(ir) else ir.copy()

    def fuse_next(self, ir: Luma, vis: Luma, state: StreamState | None) -> tuple[Luma, StreamState | None]:
        """The same as `fuse`: a formula has nothing to remember."""
        return self.fuse(ir, vis), None

    def start(self, *, follows: bool) -> SerialFlight:
        """A run of pairs, one after the other."""
        return SerialFlight(self, follows=follows)

    def close(self) -> None:
        """Nothing to close."""


def to_luma(picture: np.ndarray) -> Luma:
    """Numbers on the scale 0..255, rounded to the nearest level and cut off at both ends, as (H, W) uint8."""
    return np.rint(picture).clip(0, 255).astype(np.uint8)
