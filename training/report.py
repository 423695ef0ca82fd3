"""An evaluation on one self-contained page: means, box plots, and the pictures of the best and the worst pairs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.box_plot import box_plot
from training.data import ImagePair, read_luma
from training.methods import Job, fused
from training.metrics.target_retention import warm_targets
from training.rows import LOWER_IS_BETTER, Row
from training.tables import Evaluation, short

Luma = NDArray[np.uint8]
SHOWN = 3
"""Best pairs, and as many worst ones."""
WIDTH = 400
"""Of a picture on the page, px."""
CROP = 0.25
"""Side of the zoomed crop over the shorter side."""
JUDGED = ("SSIM", "SCD", "MS-SSIM", "Qcv", "Qabf", "VIF", "MI", "retention")
"""Metrics that decide which pairs are best and worst."""
STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; color: #1a1a1a; background: #fff }
table { border-collapse: collapse } td, th { padding: .2em .6em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } tr.ours { font-weight: bold; background: #eef4ff }
.plots, .sheet { display: flex; flex-wrap: wrap; gap: 1em } figure { margin: 0 } img { display: block; max-width: 100% }
figcaption { font-size: 12px } svg { font-size: 12px } svg .title { font-weight: bold } svg .axis { fill: #555 }
svg line { stroke: #444 } svg rect { fill: #c9c9c9; stroke: #444 } svg circle { fill: none; stroke: #444 }
svg .ours rect { fill: #6ea3ff } svg .ours text { font-weight: bold } svg .median { stroke-width: 2.5 }
"""


def write_report(found: Evaluation, jobs: Sequence[Job], pairs: Sequence[ImagePair], file: Path) -> None:
    """Write the page. jobs: what was measured; what is shown is fused again. Raises what `fused` does, and OSError."""
    by_pair: dict[ImagePair, list[Job]] = {pair: [] for pair in pairs}
    for job in jobs:
        by_pair[job.pair].append(job)
    parts = summary(found)
    order = best_first(found)
    count = min(SHOWN, (len(order) + 1) // 2)
    for title, places in (("Best pairs", order[:count]), ("Worst pairs", order[count:][-SHOWN:][::-1])):
        if places:
            parts += [f"<h2>{title}{f' of {escape(found.ours)}' if found.ours else ''}</h2>"]
            parts += [_sheet(found.pairs[place], pairs[place], by_pair[pairs[place]]) for place in places]
    file.write_text("\n".join([*parts, *left_out(found)]) + "\n", encoding="utf-8")


def summary(found: Evaluation) -> list[str]:
    """The head of a page: its title, the means, and the box plots."""
    title = f"Fusion of {len(found.pairs)} {found.noun}"
    return [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f"<style>{STYLE}</style><h1>{title}</h1>",
        _means(found),
        f"<h2>Every {found.noun[:-1]}</h2><p>Box: quartiles; line: median, on the right; whiskers: 1.5 boxes.</p>",
        '<div class="plots">',
        *(_plot(found, metric) for metric in found.columns),
        "</div>",
    ]


def left_out(found: Evaluation) -> list[str]:
    """The end of a page: what is in no mean."""
    if not found.left_out:
        return []
    lines = "".join(f"<li>{escape(line)}</li>" for line in found.left_out)
    return [f"<h2>Left out: {len(found.left_out)}</h2><ul>{lines}</ul>"]


def best_first(found: Evaluation) -> list[int]:
    """Places of the pairs, from where ours stands best among the methods to where it stands worst; without ours all."""
    if found.ours is None:
        return list(range(len(found.pairs)))
    mine = found.rows[found.ours]
    scored = [(_standing(row, [rows[k] for rows in found.rows.values()]), k) for k, row in enumerate(mine) if row]
    return [k for _, k in sorted(scored, key=lambda entry: (-entry[0], entry[1]))]


def zoomed(ir: Luma) -> tuple[slice, slice]:
    """The rows and columns of a square worth a closer look: around the largest warm target, or else the middle."""
    height, width = ir.shape
    side = max(1, round(CROP * min(ir.shape)))
    centre = height / 2, width / 2
    if targets := warm_targets(ir):
        rows, columns = np.nonzero(max((target for target, _ in targets), key=np.sum))
        centre = float(rows.mean()), float(columns.mean())
    top, left = (round(min(max(0.0, c - side / 2), n - side)) for c, n in zip(centre, ir.shape, strict=True))
    return slice(top, top + side), slice(left, left + side)


def _standing(mine: Row, rows: Sequence[Row | None]) -> float:
    """Mean over the metrics of the share of the other methods that ours is ahead of, ties by half."""
    shares = []
    for metric in JUDGED:
        own, sign = mine[metric], -1 if metric in LOWER_IS_BETTER else 1
        others = [v for row in rows if row is not None and row is not mine and (v := row[metric]) is not None]
        if own is not None and others:
            shares.append(float(np.mean([(np.sign(sign * (own - v)) + 1) / 2 for v in others])))
    return float(np.mean(shares)) if shares else 0.5


def _means(found: Evaluation) -> str:
    head = "".join(f"<th>{m} {'↓' if m in found.lower_is_better else '↑'}</th>" for m in found.columns)
    lines = []
    for name in found.rows:
        means = [found.statistics(name, metric).mean for metric in found.columns]
        cells = "".join(f"<td>{'undefined' if m is None else short(m)}</td>" for m in means)
        kind = ' class="ours"' if name == found.ours else ""
        lines.append(f"<tr{kind}><td>{escape(name)}</td><td>{found.measured(name)}</td>{cells}</tr>")
    return f"<table><tr><th>method</th><th>{found.noun}</th>{head}</tr>{''.join(lines)}</table>"


def _plot(found: Evaluation, metric: str) -> str:
    values: Mapping[str, list[float]] = {
        name: [v for row in rows if row is not None and (v := row[metric]) is not None]
        for name, rows in found.rows.items()
    }
    return box_plot(f"{metric} {'(lower is better)' if metric in found.lower_is_better else ''}", values, found.ours)


def _sheet(name: str, pair: ImagePair, jobs: Sequence[Job]) -> str:
    """IR, VIS and every method's picture of one pair, each with its crop below."""
    ir, vis = read_luma(pair.ir), read_luma(pair.vis)
    crop = zoomed(ir)
    shown = [("IR", ir), ("VIS", vis), *((job.method.name, fused(job)) for job in jobs)]
    figures = "".join(
        f"<figure>{image(_outlined(picture, crop))}{image(picture[crop])}<figcaption>{escape(title)}</figcaption>"
        "</figure>"
        for title, picture in shown
    )
    return f'<h3>{escape(name)}</h3><div class="sheet">{figures}</div>'


def _outlined(picture: Luma, crop: tuple[slice, slice]) -> Luma:
    """The picture in colour, with the crop's outline."""
    rows, columns = crop
    colour = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    cv2.rectangle(colour, (columns.start, rows.start), (columns.stop - 1, rows.stop - 1), (0, 200, 255), 2)
    return np.asarray(colour, np.uint8)


def image(picture: Luma) -> str:
    """An `img` of the page's width, the picture inside it."""
    height = max(1, round(picture.shape[0] * WIDTH / picture.shape[1]))
    scaled = cv2.resize(
        picture, (WIDTH, height), interpolation=cv2.INTER_AREA if picture.shape[1] > WIDTH else cv2.INTER_CUBIC
    )
    data = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
    return (
        f'<img width="{WIDTH}" height="{height}" alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
    )
