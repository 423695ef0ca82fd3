"""What the experiments are run on and with, and the numbers that several of them print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import DataError, ImagePair, read_luma
from training.experiments.section import Table
from training.experiments.short_runs import Trained, Trainer
from training.experiments.variants import Branches, Variant, fused_by, rebuilt_by
from training.metrics.ssim import ssim
from training.network import JCAE
from training.rows import LOWER_IS_BETTER, Row, averages, fusion_row
from training.tables import short

METRICS = ("SSIM", "SCD", "MS-SSIM", "Qcv", "Qabf", "VIF", "MI", "Nabf", "SD", "retention", "lost")
"""Columns of the ablations."""
RECONSTRUCTION = ["RMSE of rebuilt IR ↓", "of VIS ↓", "SSIM of rebuilt IR ↑", "of VIS ↑"]
"""Head of what `reconstruction` gives."""
Luma = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Setup:
    """Of all experiments."""

    tno: Path
    """Folder with ir/ and vis/ that nothing is trained on."""
    pairs: tuple[ImagePair, ...]
    """Of it, all."""
    every: int
    """Ablations are measured on every n-th of them."""
    model: Path
    """Folder of the model with the shipped weights."""
    rivals: tuple[str, ...]
    """Methods beside it in Table 1, as `training.evaluate` takes them."""
    trainer: Trainer | None
    """None without pairs to train on."""
    cache: Path
    pictures: Path | None
    """Folder for pictures of real pairs, which are not part of the page."""
    workers: int
    say: Callable[[str], None]

    @property
    def some(self) -> tuple[ImagePair, ...]:
        """The pairs that ablations are measured on."""
        return self.pairs[:: self.every]

    def on_some(self) -> str:
        """Which pairs those are, in words."""
        return f"{len(self.some)} pair{'s' if len(self.some) > 1 else ''} of TNO" + (
            f", one in {self.every}" if self.every > 1 else ""
        )

    def trained(self) -> Trainer:
        """The trainer. Raises DataError without one."""
        if self.trainer is None:
            raise DataError("no pairs to train on; give --train")
        return self.trainer

    def how_trained(self) -> str:
        """The settings of the short runs, in words."""
        t = self.trained()
        s, start = t.settings, "VGG19" if t.vgg else "random weights, as no VGG19 was given"
        return (
            f"Short trainings: {s.steps} steps of {s.batch} crops of {s.crop} px from {len(t.pairs)} pairs, Adam "
            f"{s.rate:g} with the last {s.cooldown:.0%} falling to zero, seed {s.seed}, start from {start} where "
            f"nothing else is said; measured on {self.on_some()}. The shipped model has had more and larger "
            "steps: compare these rows with each other only."
        )


def fusion_rows(setup: Setup, network: JCAE, variants: Sequence[Variant]) -> dict[str, Row]:
    """Means of the metrics of each variant over some pairs. Raises DataError."""
    rows: dict[str, list[Row]] = {variant.name: [] for variant in variants}
    for pair in setup.some:
        ir, vis = read_luma(pair.ir), read_luma(pair.vis)
        for variant, fused in zip(variants, fused_by(network, ir, vis, variants), strict=True):
            rows[variant.name].append(fusion_row(ir, vis, fused))
        setup.say(f"  {pair.ir.stem}: {len(variants)} pictures measured")
    return {name: averages(of_variant) for name, of_variant in rows.items()}


def table_of(rows: dict[str, Row], first: str, metrics: Sequence[str] = METRICS) -> Table:
    """A table of means. first: head of the names."""
    head = [first, *(f"{m} {'↓' if m in LOWER_IS_BETTER else '↑'}" for m in metrics)]
    return Table(head, [[name, *(told_value(row[m]) for m in metrics)] for name, row in rows.items()])


def told_value(value: float | None) -> str:
    """A number of a table."""
    return "undefined" if value is None else short(value)


def reconstruction(setup: Setup, done: Trained, branches: Branches = "both") -> list[str]:
    """RMSE in levels and SSIM of the rebuilt IR and VIS over some pairs, as cells of a table."""
    found = []
    for pair in setup.some:
        originals = read_luma(pair.ir), read_luma(pair.vis)
        again = rebuilt_by(done.network, *originals, branches)
        for a, b in zip(again, originals, strict=True):
            found.append((float(np.sqrt(((a.astype(float) - b) ** 2).mean())), ssim(a, b)))
    by_side = np.array(found).reshape(-1, 2, 2).mean(0)  # side, then RMSE and SSIM
    return [short(float(x)) for x in by_side.T.ravel()]
