"""Measure a model on pairs that it was not trained on: `python -m training.evaluate MODEL --pairs DIR`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines.base import CrotalusError
from engines.model import load_model
from engines.onnx_cpu import OnnxFuser, reflected
from training.command import Parser, say
from training.data import DataError, find_pairs, read_luma
from training.export import load_network
from training.metrics.correlation import fusion_cc, scd
from training.metrics.mutual_information import fusion_mi
from training.metrics.ssim import fusion_ssim, ssim
from training.metrics.target_retention import target_retention
from training.network import JCAE, MARGIN

LEAST_SIDE = 32
"""px; smaller pictures have hardly a window of SSIM."""
Luma = NDArray[np.uint8]
FUSION_METRICS: dict[str, Callable[[Luma, Luma, Luma], float]] = {
    "SSIM": fusion_ssim, "SCD": scd, "MI": fusion_mi, "CC": fusion_cc,
}  # fmt: skip


def reconstruct(network: JCAE, ir: Luma, vis: Luma) -> tuple[Luma, Luma]:
    """Both pictures (H, W) rebuilt by the network from their own features (Eq. 4)."""
    height, width = ir.shape
    rows, columns = (reflected(side, MARGIN, 2) for side in (height, width))
    padded = [torch.from_numpy(x[rows][:, columns][None, None].astype(np.float32) / 255) for x in (ir, vis)]
    with torch.no_grad():
        rebuilt = network(*padded)
    images = [np.rint(255 * x[0, 0, :height, :width].numpy()).clip(0, 255).astype(np.uint8) for x in rebuilt]
    return images[0], images[1]


def fusion_row(ir: Luma, vis: Luma, fused: Luma) -> dict[str, float]:
    """Every fusion metric of one picture, with the targets found, their mean retention, and how many are lost."""
    kept = target_retention(ir, fused)
    row = {name: metric(ir, vis, fused) for name, metric in FUSION_METRICS.items()}
    return {**row, "retention": kept.mean, "targets": kept.targets, "lost": kept.lost}


def averages(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over pictures; `lost` as the share of all targets, `retention` where there are targets."""
    mean = {name: float(np.mean([row[name] for row in rows])) for name in FUSION_METRICS}
    targets = sum(row["targets"] for row in rows)
    kept = [row["retention"] for row in rows if row["targets"]]
    mean["retention"] = float(np.mean(kept)) if kept else float("nan")
    mean["lost"] = sum(row["lost"] for row in rows) / targets if targets else float("nan")
    return mean


def evaluate(model: str | Path, folders: Sequence[Path], console: Console | None = None) -> dict[str, dict[str, float]]:
    """Rows `reconstruction`, `plain mean`, `plain max` and the model's name, over all pairs of the folders.

    Pairs below `LEAST_SIDE` are left out. Raises ModelError, BackendError, DataError.
    """
    console = console or Console(quiet=True)
    info = load_model(model)
    network = load_network(info.folder)
    found = find_pairs(folders, at_least=LEAST_SIDE)
    for line in found.skipped:
        say(console, f"skipped {line}")
    rebuilt: list[tuple[float, float]] = []
    rows: dict[str, list[dict[str, float]]] = {"plain mean": [], "plain max": [], info.name: []}
    with closing(OnnxFuser(info)) as fuser:
        for pair in track(found.pairs, "measuring", console=console, disable=not console.is_terminal):
            ir, vis = read_luma(pair.ir), read_luma(pair.vis)
            again = reconstruct(network, ir, vis)
            rebuilt.append((ssim(again[0], ir), ssim(again[1], vis)))
            mean = ((ir.astype(np.uint16) + vis + 1) // 2).astype(np.uint8)
            fused = {"plain mean": mean, "plain max": np.maximum(ir, vis), info.name: fuser.fuse(ir, vis)}
            for name, picture in fused.items():
                rows[name].append(fusion_row(ir, vis, picture))
    ssim_ir, ssim_vis = np.mean(rebuilt, axis=0).tolist()
    return {"reconstruction": {"ir": ssim_ir, "vis": ssim_vis}, **{name: averages(r) for name, r in rows.items()}}


def to_json(result: dict[str, dict[str, float]]) -> str:
    """JSON text of `evaluate`'s rows; what is not defined, as `lost` without targets, is null."""
    rows = {
        name: {key: value if math.isfinite(value) else None for key, value in row.items()}
        for name, row in result.items()
    }
    return json.dumps(rows, indent=2, allow_nan=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Exit code 2 for a model or a folder that cannot be used."""
    parser = Parser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", help="name of a shipped model, or a model folder")
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, metavar="DIR", help="folders with ir/ and vis/")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    given = parser.parse_args(arguments)
    console = Console()
    try:
        result = evaluate(given.model, given.pairs, console)
        for name, row in result.items():
            say(console, f"{name}: " + "  ".join(f"{key} {value:.4f}" for key, value in row.items()))
        if given.json:
            given.json.write_text(to_json(result))
    except (CrotalusError, DataError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
