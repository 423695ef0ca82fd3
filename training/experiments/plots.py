"""Plots and sheets of pictures as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.experiments.section import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
SMOOTHING = 0.05
"""Share of the steps that a curve is averaged over, as single steps see other crops."""


def curves(path: Path, panels: Mapping[str, Mapping[str, Sequence[float]]], *, log: bool = True) -> None:
    """Panels side by side, each with a line a run over the steps, smoothed. Raises OSError."""
    figure = _figure(5 * len(panels), 3.6)
    for axes, (title, lines) in zip(np.ravel(figure.subplots(1, len(panels))), panels.items(), strict=True):
        for name, values in lines.items():
            axes.plot(smoothed(values), lw=1, label=name)
        axes.set(title=title, xlabel="step", yscale="log" if log else "linear")
        axes.legend(fontsize=8)
    _write(figure, path)


def sheet(path: Path, rows: Sequence[Sequence[tuple[str, NDArray[np.floating | np.integer]]]]) -> None:
    """Rows of pictures with titles; bytes are shown as they are, floats from 0 to the row's largest. Raises OSError."""
    count = max(map(len, rows))
    height, width = rows[0][0][1].shape
    figure = _figure(2.4 * count, len(rows) * (2.4 * height / width + 0.3))
    for line, shown in zip(figure.subplots(len(rows), count, squeeze=False), rows, strict=True):
        top = max([float(picture.max()) for _, picture in shown if picture.dtype != np.uint8] or [1.0]) or 1.0
        for axes in line:
            axes.set_axis_off()
        for axes, (title, picture) in zip(line, shown, strict=False):
            axes.imshow(picture, "gray", vmin=0, vmax=255 if picture.dtype == np.uint8 else top)
            axes.set_title(title, fontsize=8)
    _write(figure, path)


def histogram(path: Path, values: NDArray[np.floating], threshold: float, xlabel: str) -> None:
    """How often each value in 0..1 occurs, with the threshold. Raises OSError."""
    figure = _figure(6, 3.2)
    axes = figure.subplots()
    axes.hist(np.ravel(values), bins=40, range=(0.0, 1.0), color="#7a9cc6")
    axes.axvline(threshold, color="k", lw=1)
    axes.set(xlabel=xlabel, ylabel="maps")
    _write(figure, path)


def smoothed(values: Sequence[float]) -> NDArray[np.float64]:
    """Mean of each value and those before it, over `SMOOTHING` of them."""
    x = np.asarray(values, np.float64)
    width = max(1, round(SMOOTHING * len(x)))
    sums = np.concatenate([[0.0], np.cumsum(x)])
    last = np.arange(1, len(x) + 1)
    first = np.maximum(0, last - width)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot, which would choose a backend for the whole process

    return Figure(figsize=(width, height), layout="constrained")


def _write(figure: Figure, path: Path) -> None:
    png = io.BytesIO()
    figure.savefig(png, dpi=DPI, format="png", metadata={"Software": None})
    write_whole(path, png.getvalue())
