"""Every metric of one fused picture, and their means over many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.metrics.average_gradient import average_gradient
from training.metrics.correlation import fusion_cc, scd
from training.metrics.deviation import deviation
from training.metrics.entropy import entropy
from training.metrics.ms_ssim import ms_ssim
from training.metrics.mutual_information import fusion_mi
from training.metrics.nabf import nabf
from training.metrics.qabf import qabf
from training.metrics.qcv import qcv
from training.metrics.spatial_frequency import spatial_frequency
from training.metrics.ssim import fusion_ssim
from training.metrics.target_retention import target_retention
from training.metrics.vif import vif

LEAST_SIDE = 32
"""px; smaller pictures have hardly a window of SSIM."""
Luma = NDArray[np.uint8]
Row = dict[str, float | None]
"""Numbers by metric; None: undefined."""
OF_ALL: dict[str, Callable[[Luma, Luma, Luma], float | None]] = {
    "SSIM": fusion_ssim, "SCD": scd, "MS-SSIM": ms_ssim, "Qcv": qcv, "Qabf": qabf, "VIF": vif, "MI": fusion_mi,
    "CC": fusion_cc, "Nabf": nabf,
}  # fmt: skip
"""Metrics of the fused picture beside its sources."""
OF_FUSED: dict[str, Callable[[Luma], float | None]] = {
    "EN": entropy, "SD": deviation, "SF": spatial_frequency, "AG": average_gradient,
}  # fmt: skip
"""Metrics of the fused picture alone."""
COLUMNS = (*OF_ALL, *OF_FUSED, "retention", "lost")
"""Of a table, in this order."""
LOWER_IS_BETTER = {"Qcv", "Nabf", "lost"}


def fusion_row(ir: Luma, vis: Luma, fused: Luma) -> Row:
    """Every metric of one picture (H, W) uint8; `retention` and the share `lost` are undefined without targets."""
    kept = target_retention(ir, fused)
    row: Row = {name: metric(ir, vis, fused) for name, metric in OF_ALL.items()}
    row |= {name: metric(fused) for name, metric in OF_FUSED.items()}
    if not kept.targets:
        return {**row, "retention": None, "lost": None}
    return {**row, "retention": kept.mean, "lost": kept.lost / kept.targets}


def averages(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> Row:
    """Mean of each metric over the pictures where it is defined, None if it is nowhere."""
    defined = {name: [value for row in rows if (value := row[name]) is not None] for name in columns}
    return {name: float(np.mean(values)) if values else None for name, values in defined.items()}


def shown(row: Row) -> str:
    """`SSIM 0.7451  SCD 1.4857  ...` on one line."""
    return "  ".join(f"{name} {'undefined' if value is None else f'{value:.4f}'}" for name, value in row.items())
