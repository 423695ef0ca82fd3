"""Feature maps before and after each rule: some of them as pictures, all of them as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import rules
from training.data import read_luma
from training.experiments.plots import histogram, sheet
from training.experiments.scene import scene
from training.experiments.section import Picture, Section, Table
from training.experiments.setup import Luma, Setup
from training.experiments.variants import features, paper_common
from training.network import JCAE
from training.tables import short

SHOWN = 3
"""Maps of each kind."""
Features = NDArray[np.floating[Any]]


def feature_maps(setup: Setup, network: JCAE, folder: Path) -> Section:
    """Figures of the made-up pair, and what the rules do to the maps of some pairs. Raises DataError, OSError."""
    _figures(network, *scene(), folder, "")
    activities, rows = [], []
    for number, pair in enumerate(setup.some):
        ir, vis = read_luma(pair.ir), read_luma(pair.vis)
        private_ir, private_vis, common_ir, common_vis = features(network, ir, vis)
        activity = rules.activity(common_ir, common_vis)
        activities.append(activity)
        rows.append(
            [
                float((activity >= rules.ACTIVITY_RATIO).mean()),
                float((private_ir > private_vis).mean()),
                *(float(x.mean()) for x in (private_ir, private_vis, np.maximum(private_ir, private_vis))),
                *(float(x.mean()) for x in (common_ir, common_vis, paper_common(common_ir, common_vis))),
            ]
        )
        setup.say(f"  {pair.ir.stem}: maps read")
        if setup.pictures and number < SHOWN:
            _figures(network, ir, vis, setup.pictures, f"{pair.ir.stem}-")
    histogram(folder / "activity.png", np.stack(activities), rules.ACTIVITY_RATIO, "activity: min(L_IR, L_VIS) / (h w)")
    mean, deviation = np.mean(rows, 0), np.std(rows, 0)
    names = (
        "share of common maps that are averaged",
        "share of positions where private IR is stronger",
        "mean of private IR",
        "mean of private VIS",
        "mean after Eq. 8",
        "mean of common IR",
        "mean of common VIS",
        "mean after Eq. 9",
    )
    cells = [[n, f"{short(m)} ± {short(d)}"] for n, m, d in zip(names, mean.tolist(), deviation.tolist(), strict=True)]
    return Section(
        how=(
            f"Shipped weights of `{setup.model.name}`; numbers: {setup.on_some()}, mean and standard "
            "deviation over them."
        ),
        tables=[Table(["of the feature maps", "value"], cells)],
        pictures=[
            Picture("fig3.png", "Private maps of the made-up pair before and after Eq. 8 (maximum)."),
            Picture("fig6.png", "Common maps of the made-up pair before and after Eq. 9: averaged ones above."),
            Picture("activity.png", "How active the common maps are in both pictures; right of the line: averaged."),
        ],
    )


def _figures(network: JCAE, ir: Luma, vis: Luma, folder: Path, prefix: str) -> None:
    private_ir, private_vis, common_ir, common_vis = features(network, ir, vis)
    differing = np.abs(private_ir - private_vis).mean((1, 2)).argsort()[::-1][:SHOWN]
    fused = rules.fuse_private(private_ir, private_vis)
    sheet(folder / f"{prefix}fig3.png", [_row(k, private_ir, private_vis, fused, "max") for k in differing])
    activity = rules.activity(common_ir, common_vis)
    order = activity.argsort()
    averaged = [k for k in order[::-1] if activity[k] >= rules.ACTIVITY_RATIO][:SHOWN]
    busy = np.maximum(common_ir, common_vis).mean((1, 2))
    others = sorted((k for k in order if activity[k] < rules.ACTIVITY_RATIO), key=lambda k: -busy[k])[:SHOWN]
    fused = paper_common(common_ir, common_vis)
    rows = [_row(k, common_ir, common_vis, fused, "average") for k in averaged]
    rows += [_row(k, common_ir, common_vis, fused, "max") for k in others]
    sheet(folder / f"{prefix}fig6.png", rows)


def _row(k: int, ir: Features, vis: Features, fused: Features, rule: str) -> list[tuple[str, Features]]:
    """One map of both pictures and after its rule."""
    return [(f"map {k}, IR", ir[k]), (f"map {k}, VIS", vis[k]), (f"{rule}", fused[k])]
