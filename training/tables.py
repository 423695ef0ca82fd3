"""What an evaluation found, as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from training.rows import COLUMNS, LOWER_IS_BETTER, Row
from training.significance import Comparison, compare

FILES = ("pairs.csv", "summary.csv", "summary.json", "summary.md")
"""Written into the output folder; for clips `clips.csv` in place of the first."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one metric of one method."""

    defined: int
    """Pairs where it has a value; the others are not in the mean."""
    mean: float | None
    deviation: float | None
    """Standard deviation over the pairs, n - 1; None below two."""
    against_ours: Comparison | None
    """None for ours, and if no method is ours."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Rows of every method on the same pairs or clips."""

    pairs: tuple[str, ...]
    """Names."""
    rows: dict[str, tuple[Row | None, ...]]
    """By method, one a pair; None: it has no result of the pair."""
    ours: str | None
    """The method that the others are compared with."""
    left_out: tuple[str, ...] = ()
    """A line for each file that is in no mean."""
    columns: tuple[str, ...] = COLUMNS
    """Metrics, in the order of the tables."""
    lower_is_better: frozenset[str] = frozenset(LOWER_IS_BETTER)
    noun: str = "pairs"
    """What is measured."""

    def statistics(self, method: str, metric: str) -> Statistics:
        """Mean, deviation, and the tests against ours."""
        values = self._values(method, metric)
        defined = [value for value in values if value is not None]
        tested = self.ours is not None and method != self.ours
        return Statistics(
            defined=len(defined),
            mean=float(np.mean(defined)) if defined else None,
            deviation=float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            against_ours=compare(self._values(self.ours, metric), values) if tested and self.ours else None,
        )

    def measured(self, method: str) -> int:
        """Number of pairs that the method has a result of."""
        return sum(row is not None for row in self.rows[method])

    def _values(self, method: str, metric: str) -> Sequence[float | None]:
        return [None if row is None else row[metric] for row in self.rows[method]]


def write_tables(found: Evaluation, folder: Path) -> None:
    """Write `FILES` into the folder, the first by the noun of what is measured. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = {name: {metric: found.statistics(name, metric) for metric in found.columns} for name in found.rows}
    with (folder / f"{found.noun}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", found.noun[:-1], *found.columns])
        for name, rows in found.rows.items():
            for pair, row in zip(found.pairs, rows, strict=True):
                if row is not None:
                    writer.writerow(
                        [name, pair, *("" if row[metric] is None else row[metric] for metric in found.columns)]
                    )
    with (folder / "summary.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["method", "metric", found.noun, "mean", "deviation", "ours_minus_it", "t_test_p", "wilcoxon_p"]
        )
        for name, metrics in summary.items():
            for metric, s in metrics.items():
                c = s.against_ours
                tests = (None, None, None) if c is None else (c.difference, c.t_test, c.wilcoxon)
                writer.writerow([name, metric, s.defined, s.mean, s.deviation, *tests])
    content = {
        found.noun: list(found.pairs),
        "ours": found.ours,
        "methods": {
            name: {found.noun: found.measured(name), "metrics": {metric: asdict(s) for metric, s in metrics.items()}}
            for name, metrics in summary.items()
        },
        "left_out": list(found.left_out),
    }
    (folder / "summary.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    (folder / "summary.md").write_text(_markdown(found, summary))


def _markdown(found: Evaluation, summary: dict[str, dict[str, Statistics]]) -> str:
    """Means with deviations, then the tests against ours, then what was left out."""
    arrows = [f"{metric} {'↓' if metric in found.lower_is_better else '↑'}" for metric in found.columns]
    text = [f"# {len(found.pairs)} {found.noun}", "", "Mean ± standard deviation; ↑ higher is better, ↓ lower.", ""]
    rows = [
        [_bold(name, found.ours), str(found.measured(name)), *map(_mean, m.values())] for name, m in summary.items()
    ]
    text += _table(["method", found.noun, *arrows], rows)
    if found.ours is not None:
        text += ["", f"## Against {found.ours}", ""]
        text += ["Ours minus theirs, then p of the paired t-test / of Wilcoxon's signed ranks, both two-sided.", ""]
        rows = [[name, *map(_test, m.values())] for name, m in summary.items() if name != found.ours]
        text += _table(["method", *arrows], rows)
    undefined = [
        f"- {name}, {metric}: undefined on {found.measured(name) - s.defined} of {found.measured(name)} {found.noun}"
        for name, metrics in summary.items()
        for metric, s in metrics.items()
        if s.defined < found.measured(name)
    ]
    if undefined:
        text += ["", "## Undefined, and in no mean", "", *undefined]
    if found.left_out:
        text += ["", f"## Left out: {len(found.left_out)}", "", *(f"- {line}" for line in found.left_out)]
    return "\n".join(text) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _bold(name: str, ours: str | None) -> str:
    return f"**{name}**" if name == ours else name


def _mean(s: Statistics) -> str:
    if s.mean is None:
        return "undefined"
    return short(s.mean) if s.deviation is None else f"{short(s.mean)} ± {short(s.deviation)}"


def _test(s: Statistics) -> str:
    c = s.against_ours
    if c is None or c.difference is None:
        return ""
    return f"{c.difference:+.3g}, {_p(c.t_test)} / {_p(c.wilcoxon)}"


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def short(value: float) -> str:
    """Three digits behind the point below 10, two below 100, none above."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
