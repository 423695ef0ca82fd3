"""The plots of a calibration as SVG: small, crisp on paper, and without a library. Shape and words carry the meaning;
colour only helps, for a page is printed in gray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from calibration.findings import SideOfView, Size, TargetView
from calibration.rig import Matrix

WIDTH = 460
"""px, of a picture of a camera's field."""
MOST_ARROWS = 2500
"""Beyond, every second or third point is drawn."""
LONG_ARROW = 0.04
"""Of the picture's width, that the longest but a few arrows take."""
ROW = 18
"""px, of a view."""
NAME, BAR, VALUE = 170, 210, 110
"""px, of the names, of a camera's bars, and of the numbers after them."""


def coverage_plot(cells: Sequence[Sequence[int]], size: Size, title: str) -> str:
    """A camera's picture in cells, darker where more points of the board were seen; the empty ones are white."""
    height = WIDTH * size[1] / size[0]
    rows, columns, most = len(cells), len(cells[0]), max(1, *(count for row in cells for count in row))
    parts = [_svg(WIDTH, height, title)]
    for y, row in enumerate(cells):
        for x, count in enumerate(row):
            left, top, wide, high = x * WIDTH / columns, y * height / rows, WIDTH / columns, height / rows
            fill = f'fill="#2e6fd8" fill-opacity="{0.15 + 0.65 * count / most:.2f}"' if count else 'class="empty"'
            middle = f'x="{left + wide / 2:.1f}" y="{top + high / 2 + 4:.1f}" text-anchor="middle"'
            parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}" {fill}/>')
            parts.append(f"<text {middle}>{count}</text>")
    return "".join([*parts, "</svg>"])


def magnification(lengths: Matrix, width: int) -> float:
    """1, 2 or 5 times a power of ten by which residuals (px, (N,)) of a picture are drawn longer."""
    typical = float(np.percentile(lengths, 95)) if len(lengths) else 0.0
    if typical <= 0:
        return 1.0
    return _step(max(LONG_ARROW * width / typical, 1.0))


def vector_plot(sides: Sequence[SideOfView], size: Size, title: str) -> tuple[str, float]:
    """A line from each point that was seen to where the rig puts it, made longer; and how many times longer."""
    points = np.array([point for side in sides for point in side.points], np.float64).reshape(-1, 2)
    offsets = np.array([offset for side in sides for offset in side.residuals], np.float64).reshape(-1, 2)
    times = magnification(np.linalg.norm(offsets, axis=1), size[0])
    every = max(math.ceil(len(points) / MOST_ARROWS), 1)
    scale = WIDTH / size[0]
    height = size[1] * scale
    lines, dots = [], []
    for (x, y), (dx, dy) in zip(points[::every] * scale, offsets[::every] * scale * times, strict=True):
        lines.append(f"M{x:.1f} {y:.1f}l{dx:.1f} {dy:.1f}")
        dots.append(f"M{x:.1f} {y:.1f}h0")
    bar = scale * times * (one := _one_of_scale(times, size[0]))
    return "".join([
        _svg(WIDTH, height + 22, title),
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.1f}" class="frame"/>',
        f'<path class="arrow" d="{"".join(lines)}"/><path class="dot" d="{"".join(dots)}"/>',
        f'<path class="bar" d="M4 {height + 12:.1f}h{bar:.1f}"/>',
        f'<text x="{bar + 10:.1f}" y="{height + 16:.1f}">{one:g} px, drawn {times:g} times as long</text></svg>',
    ]), times  # fmt: skip


def bar_plot(views: Sequence[TargetView]) -> str:
    """A row for each view: rms of either camera as a bar, hollow for an outlier; a tick at the held-out error."""
    kept = [getattr(view, name) for view in views if view.state == "kept" for name in ("ir", "vis")]
    shown = [side.rms_px for side in kept] + [side.held_out_px or 0.0 for side in kept]
    most = 1.05 * max(shown, default=0.0) or 1.0
    width, height = NAME + 2 * (BAR + VALUE), ROW * (len(views) + 2)
    parts = [_svg(width, height, "error of each view")]
    starts = {"ir": NAME, "vis": NAME + BAR + VALUE}
    for name, x in starts.items():
        parts.append(f'<text x="{x}" y="13" class="title">{name}, px (the bar ends at {most:.2g})</text>')
    for place, view in enumerate(views, start=1):
        y = place * ROW + 4
        label = f"{view.name[-22:]}{' outlier' if view.state == 'outlier' else ''}"
        parts.append(f'<text x="{NAME - 6}" y="{y + 11}" text-anchor="end">{escape(label)}</text>')
        parts += [_bar(getattr(view, name), x, y, most, is_kept=view.state == "kept") for name, x in starts.items()]
    return "".join([*parts, "</svg>"])


def curve_plot(distances: Matrix, curves: Sequence[tuple[str, Matrix]], most: float) -> str:
    """px over distance in m, on a logarithmic axis; a curve for each (name, px). What is above `most` is cut off."""
    left, width, height = 46, 560, 260
    low, high = math.log(distances[0]), math.log(distances[-1])

    def x(metres: float) -> float:
        return left + width * (math.log(metres) - low) / (high - low)

    def y(px: float) -> float:
        return 8 + height * (1 - px / most)

    parts = [_svg(left + width + 20, height + 46, "parallax over distance")]
    for tick in (t for t in (0.3, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if distances[0] <= t <= distances[-1] * 1.001):
        at = f"{x(tick):.1f}"
        parts.append(f'<path class="grid" d="M{at} 8v{height}"/>')
        parts.append(f'<text x="{at}" y="{height + 22}" text-anchor="middle">{tick:g}</text>')
    step = _step(most / 5)
    for count in range(math.floor(most / step * 1.001) + 1):
        level = step * count
        parts.append(f'<path class="grid" d="M{left} {y(level):.1f}h{width}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(level) + 4:.1f}" text-anchor="end">{level:g}</text>')
    parts.append(f'<text x="{left + width / 2}" y="{height + 40}" text-anchor="middle">distance, m</text>')
    parts.append(f'<text x="{left + 6}" y="20" class="title">px off</text>')
    for number, (name, px) in enumerate(curves):
        inside = [(x(d), y(v)) for d, v in zip(distances, px, strict=True) if v <= most]  # nan is not
        kind = f"curve{number}"
        parts.append(
            f'<path class="curve {kind}" d="M{" L".join(f"{a:.1f} {b:.1f}" for a, b in inside)}"/>' * bool(inside)
        )
        top = 24 + 18 * number
        parts.append(f'<path class="curve {kind}" d="M{left + 330} {top - 4}h30"/>')
        parts.append(f'<text x="{left + 366}" y="{top}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _bar(side: SideOfView, x: int, y: int, most: float, *, is_kept: bool) -> str:
    length = BAR * min(side.rms_px / most, 1.0)
    kind = "kept" if is_kept else "outlier"
    parts = [f'<rect class="{kind}" x="{x}" y="{y}" width="{length:.1f}" height="{ROW - 6}"/>']
    text = f"{side.rms_px:.2g}"
    if side.held_out_px is not None:
        tick = x + BAR * min(side.held_out_px / most, 1.0)
        parts.append(f'<path class="tick" d="M{tick:.1f} {y - 2}v{ROW - 2}"/>')
        text += f" | {side.held_out_px:.2g}"
    return "".join([*parts, f'<text x="{x + BAR + 6}" y="{y + 11}">{text}</text>'])


def _step(wanted: float) -> float:
    """1, 2 or 5 times a power of ten, at most what is wanted, above 0."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return max(step * power for step in (1, 2, 5) if step * power <= wanted)


def _one_of_scale(times: float, width: int) -> float:
    """px that the bar below the arrows stands for: 1, or what gives it a length that can be seen."""
    for one in (1.0, 0.1, 0.01, 10.0, 100.0):
        if 0.01 * width <= one * times <= 0.3 * width:
            return one
    return 1.0


def _svg(width: float, height: float, title: str) -> str:
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{escape(title)}">'
