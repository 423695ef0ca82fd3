"""Values over time as SVG, a line a method."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 200
"""Of the plot, px."""
LEFT, TOP, KEY = 50, 24, 180
"""Room for the axis, the title and the names, px."""
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#999999", "#000000")
"""Told apart by colour-blind people, too (Okabe and Ito 2008)."""


def line_plot(title: str, values: Mapping[str, NDArray[np.float64]], marked: str | None = None) -> str:
    """SVG of a line for each method that has values, by frame from 0; the marked one is thicker."""
    lines = {name: line for name, line in values.items() if len(line)}
    ends = [float(end) for line in lines.values() for end in (line.min(), line.max())] or [0.0]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0
    last = max([len(line) for line in lines.values()] or [1]) - 1
    height = max(TOP + HEIGHT + 24, TOP + 16 * len(lines))
    parts = [
        f'<svg viewBox="0 0 {LEFT + WIDTH + KEY} {height}" width="{LEFT + WIDTH + KEY}" role="img" '
        f'aria-label="{escape(title)}"><text x="{LEFT}" y="15" class="title">{escape(title)}</text>',
        f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end" class="axis">{low + span:.4g}</text>',
        f'<text x="{LEFT - 6}" y="{TOP + HEIGHT}" text-anchor="end" class="axis">{low:.4g}</text>',
        f'<text x="{LEFT}" y="{TOP + HEIGHT + 16}" class="axis">frame 0</text>',
        f'<text x="{LEFT + WIDTH}" y="{TOP + HEIGHT + 16}" text-anchor="end" class="axis">{last}</text>',
    ]
    for k, (name, line) in enumerate(lines.items()):
        points = " ".join(
            f"{LEFT + WIDTH * t / max(last, 1):.1f},{TOP + HEIGHT * (1 - (value - low) / span):.1f}"
            for t, value in enumerate(line)
        )
        colour, thick = COLOURS[k % len(COLOURS)], 3 if name == marked else 1.2
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thick}"/>',
            f'<text x="{LEFT + WIDTH + 8}" y="{TOP + 10 + 16 * k}" style="fill:{colour}">{escape(name)}</text>',
        ]
    return "".join([*parts, "</svg>"])
