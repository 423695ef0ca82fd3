"""Each experiment: what it runs, and the section of the page that it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.data import read_luma
from training.evaluate import evaluate, means
from training.experiments.features import feature_maps
from training.experiments.plots import curves, sheet
from training.experiments.scene import scene
from training.experiments.section import Picture, Section, Table
from training.experiments.setup import (
    RECONSTRUCTION,
    Luma,
    Setup,
    fusion_rows,
    reconstruction,
    table_of,
    told_value,
)
from training.experiments.short_runs import Plan, Trained, told
from training.experiments.variants import PAPER, Variant, fused_by
from training.export import load_network
from training.methods import FORMULAS, open_methods
from training.network import JCAE
from training.rows import Row

PRINTED = {"MI": 2.7308, "CC": 0.6887, "Qcv": 678.19, "SCD": 1.5237, "SSIM": 0.7205}
"""The paper's own row of its Table 1, on 48 pairs of TNO."""
BESIDE = ("MS-SSIM", "Qabf", "VIF", "Nabf", "retention", "lost")
"""Columns of Table 1 that the paper has not."""
LAMBDAS = (1.0, 10.0, 100.0, 1000.0)
"""Of Fig. 5."""
OTHER_RULES = (
    PAPER,
    Variant("Eq. 9 replaced by max", common="max"),
    Variant("Eq. 9 replaced by mean", common="mean"),
    Variant("Eq. 9 replaced by sum", common="sum"),
    Variant("Eq. 8 replaced by mean", private="mean"),
    Variant("Eq. 8 replaced by sum", private="sum"),
    Variant("both replaced by mean", common="mean", private="mean"),
)


def table1(setup: Setup, folder: Path) -> Section:
    """Table 1: the paper's five metrics, and ours beside them, on every pair."""
    methods = open_methods([str(setup.model), *setup.rivals])
    ours = methods[len(FORMULAS)].name
    found = evaluate(methods, [setup.tno], ours=ours, kept=folder / "rows.jsonl", workers=setup.workers)
    rows = means(found)
    paper = Table(
        ["", *PRINTED], [[f"**{ours}**, {len(found.pairs)} pairs", *(told_value(rows[ours][m]) for m in PRINTED)]]
    )
    paper.rows.append(["the paper's JCAE, 48 pairs", *(f"{value:g}" for value in PRINTED.values())])
    mean = rows["plain mean"]
    return Section(
        how=f"Model `{ours}` with its shipped weights on all {len(found.pairs)} pairs; nothing was trained on them.",
        tables=[paper, table_of(rows, "method", ["MI", "CC", "Qcv", "SCD", "SSIM", *BESIDE])],
        notes=[
            "Where the numbers differ from the printed ones: the pairs are not the paper's 48, and columns depend on "
            f"the choice of pairs: plain mean, which has no weights, has Qcv {told_value(mean['Qcv'])} here and 652 on "
            "21 pairs of another copy of TNO. The network was trained on other pictures than the paper's "
            "([paper.md](paper.md), [measured.md](measured.md)).",
            "CC cannot be compared: the paper prints 0.708 for DenseFuse, for which the usual correlation gives 0.53 "
            "on those 21 pairs and 0.59 on 40. It is to be compared with measured rows only.",
        ],
    )


def rules(setup: Setup, folder: Path) -> Section:
    """Each fusion rule replaced by max, mean and sum, with the shipped weights."""
    network = load_network(setup.model)
    rows = fusion_rows(setup, network, OTHER_RULES)
    _sheet_of_variants(setup, network, OTHER_RULES, folder / "rules.png", "rules")
    return Section(
        how=_shipped(setup),
        tables=[table_of(rows, "rules")],
        pictures=[Picture("rules.png", "The made-up pair, fused with each choice of rules.")],
        notes=[
            "The maximum in place of Eq. 8 is Eq. 8. A sum gives the decoder larger features than it was trained on."
        ],
    )


def branches(setup: Setup, folder: Path) -> Section:
    """Each branch alone: of the shipped network, and of networks trained with that branch alone."""
    shipped = (
        PAPER,
        Variant("common branch's share", branches="common"),
        Variant("private branches' share", branches="private"),
    )
    network = load_network(setup.model)
    tables = [table_of(fusion_rows(setup, network, shipped), "shipped weights")]
    _sheet_of_variants(setup, network, shipped, folder / "branches.png", "branches")
    how = _shipped(setup) + " A branch's share alone is dark, as the two were trained to add up."
    if setup.trainer is not None:
        rows: dict[str, Row] = {}
        rebuilt = []
        for kind in ("both", "common", "private"):
            done = setup.trained().run(Plan(branches=kind))
            variant = Variant(f"trained with {kind}", branches=kind)
            rows |= fusion_rows(setup, done.network, [variant])
            rebuilt.append([variant.name, *reconstruction(setup, done, kind)])
        tables += [table_of(rows, "short trainings"), Table(["short trainings", *RECONSTRUCTION], rebuilt)]
        how += f" {setup.how_trained()}"
    else:
        how += " Networks with one branch alone were not trained: no --train was given."
    return Section(how, tables, [Picture("branches.png", "The made-up pair: all, common share, private share.")])


def features(setup: Setup, folder: Path) -> Section:
    """Fig. 3 and 6: feature maps before and after each rule."""
    return feature_maps(setup, load_network(setup.model), folder)


def fig4(setup: Setup, folder: Path) -> Section:
    """Fig. 4: RMSE alone against RMSE + SSIM."""
    note = "The paper's point is that RMSE alone leaves structure behind: see the SSIM of the rebuilt pictures."
    return _compared(setup, folder, "fig4", [Plan(weight=0), Plan()], note)


def fig5(setup: Setup, folder: Path) -> Section:
    """Fig. 5: loss curves for lambda 1, 10, 100, 1000."""
    note = "The loss itself has another scale for each lambda; its two terms can be compared."
    return _compared(setup, folder, "fig5", [Plan(weight=weight) for weight in LAMBDAS], note, with_loss=True)


def vgg(setup: Setup, folder: Path) -> Section:
    """With and without the VGG19 start."""
    return _compared(setup, folder, "vgg", [Plan(), Plan(vgg=False)], "Same crops in the same order for both.")


STAGES: dict[str, tuple[str, Callable[[Setup, Path], Section]]] = {
    "table1": ("Table 1: on TNO, beside the printed row", table1),
    "rules": ("The fusion rules replaced", rules),
    "branches": ("Each branch alone", branches),
    "features": ("Fig. 3 and 6: feature maps before and after the rules", features),
    "fig4": ("Fig. 4: RMSE alone against RMSE + SSIM", fig4),
    "fig5": ("Fig. 5: the loss for lambda 1, 10, 100 and 1000", fig5),
    "vgg": ("With and without the VGG19 start", vgg),
}
"""Title and function of each experiment, in the page's order."""


def _compared(
    setup: Setup, folder: Path, name: str, plans: list[Plan], note: str, *, with_loss: bool = False
) -> Section:
    """Curves, reconstruction, fusion and pictures of short runs side by side."""
    runs: dict[str, Trained] = {told(plan): setup.trained().run(plan) for plan in plans}
    terms = {"rmse": "RMSE, levels", "1 - SSIM": "1 - SSIM"} | ({"loss": "loss (Eq. 5)"} if with_loss else {})
    curves(folder / f"{name}-loss.png", {t: {n: r.curve[k] for n, r in runs.items()} for k, t in terms.items()})
    rebuilt = [[run, *reconstruction(setup, done)] for run, done in runs.items()]
    rows: dict[str, Row] = {}
    for run, done in runs.items():
        rows |= fusion_rows(setup, done.network, [Variant(run)])
    shown = _pairs_shown(setup)
    for pair, (ir, vis) in shown.items():
        fused = [(run, fused_by(done.network, ir, vis, [PAPER])[0]) for run, done in runs.items()]
        _write_sheet(setup, folder, f"{name}-fused.png", pair, [("IR", ir), ("VIS", vis), *fused])
    return Section(
        how=setup.how_trained(),
        tables=[Table(["training", *RECONSTRUCTION], rebuilt), table_of(rows, "fused after")],
        pictures=[
            Picture(f"{name}-loss.png", "Terms of the loss over the steps, of the crops trained on, smoothed."),
            Picture(f"{name}-fused.png", "The made-up pair, fused by each network."),
        ],
        notes=[note],
    )


def _shipped(setup: Setup) -> str:
    return (
        f"Shipped weights of `{setup.model.name}`, {setup.on_some()}; single pictures, by torch and the "
        "reference rules."
    )


def _sheet_of_variants(setup: Setup, network: JCAE, variants: tuple[Variant, ...], path: Path, name: str) -> None:
    for pair, (ir, vis) in _pairs_shown(setup).items():
        fused = [(v.name, x) for v, x in zip(variants, fused_by(network, ir, vis, variants), strict=True)]
        _write_sheet(setup, path.parent, path.name, pair, [("IR", ir), ("VIS", vis), *fused])


def _pairs_shown(setup: Setup) -> dict[str, tuple[Luma, Luma]]:
    """The made-up pair, named "", and if they are wanted the first three real ones."""
    real = setup.some[:3] if setup.pictures else ()
    return {"": scene()} | {pair.ir.stem: (read_luma(pair.ir), read_luma(pair.vis)) for pair in real}


def _write_sheet(setup: Setup, folder: Path, file: str, pair: str, shown: list[tuple[str, Luma]]) -> None:
    """Rows of three pictures; of a real pair into the folder for those."""
    rows = [shown[k : k + 3] for k in range(0, len(shown), 3)]
    sheet(setup.pictures / f"{pair}-{file}" if pair and setup.pictures else folder / file, rows)
