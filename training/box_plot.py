"""Box plots as SVG: one metric, a box a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

ROW = 22
"""Height of a method's row, px."""
NAME, PLOT, VALUE = 150, 420, 70
"""Width of the names, of the plot and of the medians, px."""
REACH = 1.5
"""Of the whiskers beyond the box, in box lengths: Tukey's."""


@dataclass(frozen=True, slots=True)
class Box:
    """Quartiles, the last values within reach, and what lies beyond."""

    low: float
    first: float
    median: float
    third: float
    high: float
    beyond: tuple[float, ...]


def box(values: Sequence[float]) -> Box:
    """The box of at least one value."""
    x = np.sort(np.asarray(values, np.float64))
    first, median, third = (float(q) for q in np.percentile(x, (25, 50, 75)))
    reach = REACH * (third - first)
    inside = x[(x >= first - reach) & (x <= third + reach)]
    beyond = x[(x < inside[0]) | (x > inside[-1])]
    return Box(float(inside[0]), first, median, third, float(inside[-1]), tuple(beyond.tolist()))


def box_plot(title: str, values: Mapping[str, Sequence[float]], marked: str | None = None) -> str:
    """SVG of a box for each method that has values; the marked one stands out."""
    boxes = {name: box(of_method) for name, of_method in values.items() if of_method}
    ends = [end for b in boxes.values() for end in (b.low, b.high, *b.beyond)] or [0.0]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def at(value: float) -> str:
        return f"{NAME + 8 + (PLOT - 16) * (value - low) / span:.1f}"

    height = ROW * (len(boxes) + 2)
    width = NAME + PLOT + VALUE
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(title)}">',
        f'<text x="{NAME}" y="15" class="title">{escape(title)}</text>',
    ]
    for k, (name, b) in enumerate(boxes.items(), start=1):
        y = k * ROW + ROW / 2
        kind = "ours" if name == marked else "other"
        parts += [
            f'<g class="{kind}"><text x="{NAME - 6}" y="{y + 4:.0f}" text-anchor="end">{escape(name)}</text>',
            f'<line x1="{at(b.low)}" x2="{at(b.high)}" y1="{y:.0f}" y2="{y:.0f}"/>',
            f'<rect x="{at(b.first)}" width="{(PLOT - 16) * (b.third - b.first) / span:.1f}" '
            f'y="{y - 7:.0f}" height="14"/>',
            f'<line class="median" x1="{at(b.median)}" x2="{at(b.median)}" y1="{y - 7:.0f}" y2="{y + 7:.0f}"/>',
            *(f'<circle cx="{at(value)}" cy="{y:.0f}" r="2"/>' for value in b.beyond),
            f'<text x="{NAME + PLOT + 4}" y="{y + 4:.0f}">{b.median:.4g}</text></g>',
        ]
    y = (len(boxes) + 1) * ROW + 14
    parts += [
        f'<text x="{NAME + 8}" y="{y}" class="axis">{low:.4g}</text>',
        f'<text x="{NAME + PLOT - 8}" y="{y}" text-anchor="end" class="axis">{low + span:.4g}</text></svg>',
    ]
    return "".join(parts)
