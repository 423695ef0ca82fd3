"""Common maps that change their rule when the teacher's do: the rule of one map sets the tone of a whole picture.

A map is averaged where it is active in enough of both pictures (Eq. 9). That is one decision for a whole picture, which
a network that sees a few pixels cannot copy: one map of 128, the darkness of the pictures, moved them by 10 levels. Its
windows are fitted to where the teacher's map is active, so that they count the same, and training leaves them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional

from engines.model import ModelInfo
from engines.rules import ACTIVITY_RATIO
from training.checkpoint import SaveError
from training.export import open_graph

POSITIONS = 1500
"""Of a picture, looked at."""
SELDOM = 0.02
"""Share of the pictures in which a map must follow one rule, and the other, to be worth a window."""
ALIKE = 0.97
"""Share of the pictures in which two maps follow the same rule: one window stands for both."""
SMOOTH = 1e-5
"""Weight of the squared window weights in the fit."""
SHARES, STEEP = 300.0, 3.0
"""Weight of the error of the share of a picture, and how sharply a place counts as on there."""

Luma = NDArray[np.uint8]
Windows = NDArray[np.uint8]


def windows_of(luma: Luma, side: int, block: int, most: int, rng: np.random.Generator) -> Windows:
    """(most, side^2) windows at random places where a branch has one: every `block` px, inside the picture."""
    places = np.lib.stride_tricks.sliding_window_view(luma, (side, side))[::block, ::block]
    rows, columns = (rng.integers(count, size=most) for count in places.shape[:2])
    return np.ascontiguousarray(places[rows, columns]).reshape(most, side * side)


def kept_windows(path: Path, make: Callable[[], tuple[Tensor, Tensor]], *, is_new: bool) -> tuple[Tensor, Tensor]:
    """Those of the file, or new ones, which it then has: a run that goes on takes those it began with.

    is_new: the run has not begun; a file that is there may be of other settings. Raises SaveError.
    """
    if not is_new:
        with suppress(OSError, SafetensorError, KeyError):  # not there, or damaged: made again, they are the same
            found = load_file(path)
            return found["weight"], found["bias"]
    weight, bias = make()
    try:
        path.write_bytes(save({"weight": weight.contiguous(), "bias": bias}))
    except OSError as error:
        raise SaveError(f"{path}: not written ({error.strerror or error}); free some space") from error
    return weight, bias


def borrowed_windows(
    teacher: ModelInfo, pictures: Sequence[Luma], *, most: int, side: int, seed: int, threads: int = 0
) -> tuple[Tensor, Tensor]:
    """Weights (k, side, side) and biases (k,) of the windows, k <= most, that stand for the teacher's changing maps.

    pictures: (2 or more, H, W), IR and VIS first. k is less where fewer of the teacher's maps change their rule. The
    positive part of a window is of the size of luma, 0..1. threads: of the teacher, 0 for one a core.
    """
    windows, is_on, averaged = _seen(teacher, pictures, side, np.random.default_rng(seed), threads)
    chosen = _changing(averaged, most)
    if not chosen:
        return torch.zeros(0, side, side), torch.zeros(0)
    weight, bias = _fitted(windows, is_on[:, chosen])
    size = weight.sum(1).abs().clamp_min(1e-3)
    return (weight / size[:, None]).reshape(-1, side, side), bias / size


def _seen(
    teacher: ModelInfo, pictures: Sequence[Luma], side: int, rng: np.random.Generator, threads: int
) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
    """Windows (n, side^2) in 0..1, whether each of the teacher's maps is on there (n, maps); rules (pictures, maps)."""
    encode = open_graph(Path(teacher.path("encoder_common.onnx")), threads=threads)
    block, (windows, is_on, averaged) = teacher.multiple, ([], [], [])
    for picture in pictures:
        shares = []
        for luma in picture[:2]:
            luma = luma[: luma.shape[0] // block * block, : luma.shape[1] // block * block]
            maps = encode({"luma": luma[None, None].astype(np.float32) / 255})[0][0] > 0
            shares.append(maps.mean((1, 2)))
            cut = (luma.shape[0] // block - maps.shape[1]) // 2  # blocks that the teacher loses at a border
            rows, columns = (rng.integers(n, size=POSITIONS) for n in maps.shape[1:])
            first = [
                np.clip(block * (k + cut) - (side - block) // 2, 0, n - side)
                for k, n in zip((rows, columns), luma.shape, strict=True)
            ]
            places = np.lib.stride_tricks.sliding_window_view(luma, (side, side))
            windows.append(places[first[0], first[1]].reshape(POSITIONS, -1))
            is_on.append(maps[:, rows, columns].T)
        averaged.append(np.minimum(*shares) >= ACTIVITY_RATIO)
    seen = torch.from_numpy(np.concatenate(windows)).float() / 255
    return seen, torch.from_numpy(np.concatenate(is_on)), np.stack(averaged)


def _changing(averaged: NDArray[np.bool_], most: int) -> list[int]:
    """Maps whose rule changes from picture to picture, the most undecided first, none like one before it."""
    share = averaged.mean(0)
    undecided = np.minimum(share, 1 - share)
    chosen: list[int] = []
    for k in np.argsort(-undecided, kind="stable"):
        if undecided[k] < SELDOM or len(chosen) == most:
            break
        if all((averaged[:, k] == averaged[:, other]).mean() < ALIKE for other in chosen):
            chosen.append(int(k))
    return chosen


def _fitted(windows: Tensor, is_on: Tensor) -> tuple[Tensor, Tensor]:
    """Logistic regression of each map's being on over the windows: weights (maps, n), biases (maps,).

    And of how much of each picture it is on in, which is what the rules count: without it that was 1 % too much.
    """
    wanted = is_on.float()
    share = _share(wanted)
    layer = torch.nn.Linear(windows.shape[1], is_on.shape[1])
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    for weight in (0.0, SHARES):  # the steep second one does not find its way from zero
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()  # noqa: B023  # called within this turn only
            found = layer(windows)
            loss = functional.binary_cross_entropy_with_logits(found, wanted) + SMOOTH * layer.weight.square().sum()
            off = _share(torch.sigmoid(STEEP * found)) - share
            loss = loss + weight * off.square().mean()  # noqa: B023
            loss.backward()
            return loss

        optimizer.step(closure)
    return layer.weight.detach(), layer.bias.detach()


def _share(is_on: Tensor) -> Tensor:
    """Of each picture's places, (pictures, maps)."""
    return is_on.reshape(-1, POSITIONS, is_on.shape[1]).mean(1)
