"""A benchmark as a picture: a bar for each row on a scale of powers of ten, whiskers from the slowest repeat to the
fastest, and a line for each growth."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.bench.growth import Pixels
from pipeline.bench.result import Result
from pipeline.bench.row import Row
from pipeline.frames import InputError, OutputError

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 1000, 260, 190, 22, 30, 60
"""Of the picture and its parts, px."""
CURVES = 320
"""Height of the panel of growth, px."""
PALETTE = ((178, 114, 0), (0, 159, 230), (115, 158, 0), (0, 94, 213), (167, 121, 204), (233, 180, 86), (153, 153, 153))
"""BGR, told apart by colour-blind people, too (Okabe and Ito 2008)."""
BLACK, GRID = (40, 40, 40), (225, 225, 225)
Canvas = NDArray[np.uint8]
Colour = tuple[int, int, int]


def check_plot_path(path: Path) -> None:
    """Raise InputError unless a PNG can be written there."""
    if path.suffix.lower() != ".png" or path.is_dir():
        raise InputError(f"{path}: not a name for a plot; give one that ends in .png")
    if not path.parent.is_dir():
        raise InputError(f"{path}: {path.parent} is not a folder; create it or name another file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{path}: no permission to write it; change that or name another file")


def write_plot(path: Path, result: Result) -> None:
    """Draw it. The file is there whole or not at all. Raises OutputError."""
    done, png = cv2.imencode(".png", drawn(result))
    assert done, "OpenCV encodes PNG"
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(png.tobytes())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path}: {error.strerror}; everything else is done") from error


def drawn(result: Result) -> Canvas:
    """(H, 1000, 3) uint8 BGR."""
    panels = [_bars(result)]
    if result.pixels:
        panels.append(_curves(result.pixels))
    return np.concatenate(panels)


def _bars(result: Result) -> Canvas:
    rows = result.rows
    sizes = list(dict.fromkeys((row.width, row.height, row.preset) for row in rows))
    colours = _colours([row.fuser for row in rows])
    canvas = _blank(TOP + len(rows) * BAR + len(sizes) * GAP + 40)
    _text(canvas, f"frames/s on {result.machine['processor']}, {result.machine['cores']} cores", (20, 24), 0.55)
    if result.noise:
        _text(canvas, "a noisy run: " + result.noise[0], (20, 44), 0.42, (0, 0, 200))
    ends = [fps for row in rows for fps in row.fps_of_repeats] or [1.0]
    low, high = 10 ** math.floor(math.log10(min(ends))), 10 ** math.ceil(math.log10(max(ends) * 1.0001))

    def across(fps: float) -> int:
        share = (math.log10(fps) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(share, 0.0), 1.0))

    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        x = across(10.0**power)
        cv2.line(canvas, (x, TOP), (x, canvas.shape[0] - 30), GRID, 1)
        _text(canvas, f"{10.0**power:g}", (x - 8, canvas.shape[0] - 12), 0.42)
    y = TOP
    for size in sizes:
        _text(canvas, f"{size[0]}x{size[1]}, {size[2]}", (20, y + 18), 0.5)
        y += GAP
        for row in (row for row in rows if (row.width, row.height, row.preset) == size):
            _bar(canvas, row, y, across, colours[row.fuser])
            y += BAR
    return canvas


def _bar(canvas: Canvas, row: Row, y: int, place: Callable[[float], int], colour: Colour) -> None:
    """place: of a speed on the axis."""
    middle = y + BAR // 2 - 2
    cv2.rectangle(canvas, (LEFT, y), (max(place(row.fps), LEFT + 1), y + BAR - 5), colour, -1)
    slow, fast = (place(end(row.fps_of_repeats)) for end in (min, max))
    cv2.line(canvas, (slow, middle), (fast, middle), BLACK, 1)
    for x in (slow, fast):
        cv2.line(canvas, (x, middle - 4), (x, middle + 4), BLACK, 1)
    _text(canvas, row.fuser[:34], (30, y + BAR - 8), 0.45)
    limit = row.limit
    reached = f" ({100 * limit.reached:.0f} % of limit)" if limit else ""
    _text(canvas, f"{row.fps:.4g}{reached}", (max(fast, place(row.fps)) + 8, y + BAR - 8), 0.45)


def _curves(pixels: Sequence[Pixels]) -> Canvas:
    """ms a pair by pixels, both on scales of powers of ten."""
    canvas, colours = _blank(CURVES + 80), _colours([line.fuser for line in pixels])
    _text(canvas, "ms a pair by Mpx; lines through what was measured", (20, 24), 0.55)
    x_ends = _ends([count / 1e6 for line in pixels for count in line.pixels])
    y_ends = _ends([ms for line in pixels for ms in line.ms])

    def at(count: float, ms: float) -> tuple[int, int]:
        x, y = _share(count / 1e6, x_ends), _share(ms, y_ends)
        return round(LEFT + (WIDTH - LEFT - RIGHT) * x), round(TOP + CURVES * (1 - y)) - 20

    cv2.rectangle(canvas, at(1e6 * x_ends[0], y_ends[1]), at(1e6 * x_ends[1], y_ends[0]), GRID, 1)
    for ms in y_ends:
        _text(canvas, f"{ms:.3g} ms", (LEFT - 80, at(1e6 * x_ends[0], ms)[1] + 4), 0.42)
    for mega in x_ends:
        x, y = at(1e6 * mega, y_ends[0])
        _text(canvas, f"{mega:.3g} Mpx", (x - 25, y + 20), 0.42)
    for k, line in enumerate(pixels):
        points = [at(count, ms) for count, ms in zip(line.pixels, line.ms, strict=True)]
        colour = colours[line.fuser]
        cv2.polylines(canvas, [np.array(points, np.int32)], False, colour, 2, cv2.LINE_AA)
        for point in points:
            cv2.circle(canvas, point, 4, colour, -1, cv2.LINE_AA)
        _text(canvas, line.fuser[:30], (20, TOP + 20 * k), 0.45, colour)
    return canvas


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low / 2, low * 2)


def _share(value: float, ends: tuple[float, float]) -> float:
    return math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def _colours(names: Sequence[str]) -> dict[str, Colour]:
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(dict.fromkeys(names))}


def _blank(height: int) -> Canvas:
    return np.full((height, WIDTH, 3), 255, np.uint8)


def _text(canvas: Canvas, text: str, at: tuple[int, int], scale: float, colour: Colour = BLACK) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's letters
    cv2.putText(canvas, plain, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
