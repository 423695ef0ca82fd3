"""A training run on disk: the checkpoint that it resumes from, and the curve of its losses."""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from training.command import first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


KEYS = {"network", "optimizer", "settings", "step", "curve"}
"""What a checkpoint holds."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; names the file."""


class SaveError(OSError):
    """A checkpoint or curve that could not be written; the last one is as it was."""


@dataclass(frozen=True, slots=True)
class Point:
    """One line of the loss curve."""

    step: int
    loss: float
    """Eq. 5, both pictures; or the fusion loss."""
    ssim_ir: float
    ssim_vis: float
    seconds: float
    """Wall clock of the run so far, s."""


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    step: int,
    curve: list[Point],
    *,
    average: dict[str, Any] | None = None,
) -> None:
    """Write all that a run needs to go on; a reader sees the old file or the new one, never half of one.

    average: of the weights, if the run keeps one. Raises SaveError, e.g. if the disk is full.
    """
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "settings": settings,
        "step": step,
        "curve": [asdict(point) for point in curve],
        **({} if average is None else {"average": average}),
    }
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch wraps what the file raises
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or first_line(error)
        raise SaveError(f"{path}: not written ({reason}); what was there before is kept") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary that `save_checkpoint` wrote, tensors on the CPU, `curve` as Points. Raises CheckpointError.

    On the CPU, as Adam's step counts belong there even if the network does not.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        missing = KEYS - state.keys()
        if missing:
            raise KeyError(*sorted(missing))
        state["curve"] = [Point(**point) for point in state["curve"]]
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}; give checkpoint.pt of a training run") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path}: damaged, or no checkpoint of this trainer; delete it to start anew") from error
    return state


def restore(
    path: Path, state: dict[str, Any], network: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Put a checkpoint's tensors into the network and the optimizer, in place. Raises CheckpointError.

    path: of the checkpoint, for the message.
    """
    try:
        network.load_state_dict(state["network"])
        if optimizer is not None:
            optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: its tensors are not this network's; delete it to start anew") from error


def write_curve(folder: Path, curve: list[Point], *, is_fusion: bool = False) -> None:
    """`loss.csv` and `loss.png` of the run so far. is_fusion: what the loss is of. Raises SaveError."""
    try:
        with (folder / "loss.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(Point.__dataclass_fields__))
            writer.writeheader()
            writer.writerows(asdict(point) for point in curve)
        _draw(curve, is_fusion).savefig(folder / "loss.png", dpi=110)
    except OSError as error:
        raise SaveError(f"{folder}: loss curve not written ({error.strerror or error})") from error


def _draw(curve: list[Point], is_fusion: bool) -> Figure:
    from matplotlib.figure import Figure  # not pyplot, which would choose a backend for the whole process

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [p.step for p in curve]
    left.plot(steps, [p.loss for p in curve], lw=0.8)
    left.set(xlabel="step", ylabel="loss", title="fusion loss")
    if not is_fusion:
        left.set(yscale="log", ylabel="loss (Eq. 5)", title="RMSE + 100 (1 - SSIM), both pictures")
    right.plot(steps, [p.ssim_ir for p in curve], lw=0.8, label="ir")
    right.plot(steps, [p.ssim_vis for p in curve], lw=0.8, label="vis")
    what, lowest = ("fused picture", 0.4) if is_fusion else ("reconstruction", 0.8)
    right.set(xlabel="step", ylabel="SSIM", title=f"SSIM of the {what}", ylim=(lowest, 1))
    right.legend()
    return figure
