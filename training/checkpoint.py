"""A training run on disk: the checkpoint that it resumes from, and the curve of its losses."""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from training.network import JCAE


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed from."""


@dataclass(frozen=True, slots=True)
class Point:
    """One line of the loss curve."""

    step: int
    loss: float
    """Eq. 5, both pictures."""
    ssim_ir: float
    ssim_vis: float
    seconds: float
    """Wall clock of the run so far, s."""


def save_checkpoint(
    path: Path, network: JCAE, optimizer: torch.optim.Optimizer, settings: dict[str, Any], step: int, curve: list[Point]
) -> None:
    """Write all that a run needs to go on; a reader sees the old file or the new one, never half of one."""
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "settings": settings,
        "step": step,
        "curve": [asdict(point) for point in curve],
    }
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The dictionary that `save_checkpoint` wrote, `curve` as Points. Raises CheckpointError."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        state["curve"] = [Point(**point) for point in state["curve"]]
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path}: not a checkpoint of this trainer ({error}); delete it to start anew") from error
    return state


def write_curve(folder: Path, curve: list[Point]) -> None:
    """`loss.csv` and `loss.png` of the run so far."""
    with (folder / "loss.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(Point.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(point) for point in curve)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    steps = [p.step for p in curve]
    left.semilogy(steps, [p.loss for p in curve], lw=0.8)
    left.set(xlabel="step", ylabel="loss (Eq. 5)", title="RMSE + 100 (1 - SSIM), both pictures")
    right.plot(steps, [p.ssim_ir for p in curve], lw=0.8, label="ir")
    right.plot(steps, [p.ssim_vis for p in curve], lw=0.8, label="vis")
    right.set(xlabel="step", ylabel="SSIM", title="SSIM of the reconstruction", ylim=(0.8, 1))
    right.legend()
    figure.savefig(folder / "loss.png", dpi=110)
    pyplot.close(figure)
