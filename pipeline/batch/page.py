"""Parts of a page that stands alone: tables, pictures, and bars over time."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

import cv2

from engines.base import Luma
from pipeline.batch.rows import ChunkRow
from pipeline.live.login import redact

BARS = 60
"""Of the chart of frames/s."""
WIDTH = 300
"""Of a picture on the page, px."""


def span(seconds: float) -> str:
    """A length of time for people."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def throughput(chunks: Sequence[ChunkRow]) -> str:
    """Frames/s over time: a chunk's frames are spread over the time in which it was fused."""
    done = [chunk for chunk in chunks if chunk.state == "done" and chunk.ended > chunk.started]
    if not done:
        return ""
    begin, end = min(c.started for c in done), max(c.ended for c in done)
    step = (end - begin) / BARS
    bars = [0.0] * BARS
    for chunk in done:
        rate = chunk.frames / (chunk.ended - chunk.started)
        for number in range(int((chunk.started - begin) / step), min(BARS, int((chunk.ended - begin) / step) + 1)):
            low, high = begin + number * step, begin + (number + 1) * step
            bars[number] += rate * max(0.0, min(high, chunk.ended) - max(low, chunk.started)) / step
    top = max(bars) or 1.0
    drawn = "".join(
        f'<rect x="{12 * k}" y="{120 - 110 * bar / top:.1f}" width="10" height="{110 * bar / top:.1f}"/>'
        for k, bar in enumerate(bars)
    )
    width = 12 * BARS + 90
    return (
        f'<h2>Frames/s over time</h2><svg viewBox="0 0 {width} 140" width="{width}" role="img">{drawn}'
        f'<text x="{12 * BARS + 4}" y="16">{top:.1f}</text><text x="0" y="136">0</text>'
        f'<text x="{12 * BARS}" y="136" text-anchor="end">{span(end - begin)}</text></svg>'
    )


def image(luma: Luma) -> str:
    """An `img` of the page's width, the picture inside it."""
    height = max(1, round(luma.shape[0] * WIDTH / luma.shape[1]))
    data = cv2.imencode(".jpg", cv2.resize(luma, (WIDTH, height), interpolation=cv2.INTER_AREA))[1].tobytes()
    return (
        f'<img width="{WIDTH}" height="{height}" alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
    )


def table(head: Sequence[str], lines: Iterable[Sequence[str]], *, text: Sequence[int]) -> str:
    """A table. text: columns that hold words, on the left; all cells are escaped and hide secrets here."""

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=text' if place in text else ''}>{escape(redact(cell))}</{tag}>"
            for place, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{row('td', line)}</tr>" for line in lines)
    return f"<table><tr>{row('th', head)}</tr>{body}</table>"
