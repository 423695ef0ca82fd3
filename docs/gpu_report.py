"""The report of the GPU script: what the rows say of the targets, and all of it as Markdown and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gpu_steps import Outcome

RULES_AT_MOST = 1.3
"""Times the floor of 8 transfers of a stack: what the fusion kernels may take."""
PAIRS_AT_LEAST = {(640, 480): 1000, (1920, 1080): 200}
"""Pairs a second from planes to a plane on the device, on `PAIRS_ON`."""
PAIRS_ON = "H200"
ARRAYS_AT_LEAST = 0.8
"""Of the rate on the device: what is left from arrays to arrays."""

RULES, FRAME, ARRAYS = "fusion rules", "frame on the device, ", "from arrays to arrays, "
"""How the rows of engines/gpu_bench.py that have a target begin."""
RIVALS = ("eager fp32", "compile fp16")
"""How those of rivals end."""

Row = Mapping[str, Any]
Verdict = Literal["met", "missed", "not measured", "not for this GPU"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted at one size, and what came out."""

    name: str
    wanted: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """All that is written."""

    command: str
    machine: Mapping[str, str]
    outcomes: Sequence[Outcome]
    targets: Sequence[Target]
    planned: int
    """Steps in all: more than outcomes while it runs, or after it was ended early."""

    @property
    def rows(self) -> list[Row]:
        """Of all benchmarks."""
        return [row for outcome in self.outcomes for row in outcome.rows]

    @property
    def is_good(self) -> bool:
        """All steps were run and passed, and no target was missed or left unmeasured."""
        passed = [outcome.state for outcome in self.outcomes].count("passed")
        return passed == self.planned and all(t.verdict in ("met", "not for this GPU") for t in self.targets)

    def __str__(self) -> str:
        """E.g. `7 of 8 steps passed, 9 of 10 targets met`."""
        steps = [outcome.state for outcome in self.outcomes].count("passed")
        met = [target.verdict for target in self.targets].count("met")
        targets = f", {met} of {len(self.targets)} targets met" if self.targets else ""
        return f"{steps} of {self.planned} steps passed{targets}"

    def to_json(self) -> str:
        """Everything, rows and the last output of failed steps among it."""
        values = {"is_good": self.is_good, **asdict(self), "rows": self.rows}
        return json.dumps(values, indent=1) + "\n"

    def to_markdown(self) -> str:
        """Tables for a reader."""
        machine = _table(("machine", ""), self.machine.items())
        steps = [(o.kind, o.name, o.state, f"{o.seconds:.0f}", o.said) for o in self.outcomes]
        steps += [("", "(ended early)", "not run", "", "")] if len(steps) < self.planned else []
        parts = [
            f"# On a GPU\n\n`{self.command}`: {self}.",
            machine,
            "## Steps",
            _table(("", "step", "result", "s", "said"), steps),
        ]
        if self.targets:
            wanted = [(t.name, t.wanted, t.measured, t.verdict) for t in self.targets]
            parts += ["## Targets", _table(("target", "wanted", "measured", "verdict"), wanted)]
        if self.rows:
            head = ("size", "what", "p50 ms", "p95 ms", "a second", "runs", "floor ms", "times it", "grown", "note")
            parts += ["## Times", _table(head, map(_cells, self.rows)), LEGEND]
        for o in self.outcomes:
            if o.output:
                parts.append(f"## Last output of {o.name}\n\n````text\n{o.output.replace('````', '...')}\n````")
        return "\n\n".join(parts) + "\n"


LEGEND = """Medians and 95th percentiles over the runs, after a warm-up. Floors are counted from bytes and operations,
at the rates of the copy and the matrix product in the same table. Grown: bytes of GPU memory taken while timing."""


def targets_of(rows: Sequence[Row], sizes: Sequence[tuple[int, int]], gpu: str) -> list[Target]:
    """What the rows say of each target at each size."""
    found = []
    for size in sizes:
        at = [row for row in rows if (row["width"], row["height"]) == size and row["timing"]]
        name = f"{size[0]}x{size[1]}"
        rules = next((row for row in at if row["name"] == RULES), None)
        frame = next((r for r in at if r["name"].startswith(FRAME) and not r["name"].endswith(RIVALS)), None)
        arrays = next((row for row in at if row["name"].startswith(ARRAYS)), None)
        times = _p50(rules) / rules["floor_ms"] if rules and rules["floor_ms"] else None
        found.append(_target(f"{name} fusion kernels", f"<= {RULES_AT_MOST} x floor", times, "{:.2f} x",
                             lambda value: value <= RULES_AT_MOST))  # fmt: skip
        least = PAIRS_AT_LEAST.get(size)
        if least is not None:
            rate = 1e3 / _p50(frame) if frame else None
            target = _target(f"{name} on the device", f">= {least} pairs/s on an {PAIRS_ON}", rate, "{:.0f} pairs/s",
                             lambda value, least=least: value >= least)  # fmt: skip
            if PAIRS_ON not in gpu:
                target = Target(target.name, target.wanted, target.measured, "not for this GPU")
            found.append(target)
        share = _p50(frame) / _p50(arrays) if frame and arrays else None
        found.append(_target(f"{name} from arrays to arrays", f">= {ARRAYS_AT_LEAST:.0%} of on the device", share,
                             "{:.0%}", lambda value: value >= ARRAYS_AT_LEAST))  # fmt: skip
        grown = max(row["timing"]["grown_bytes"] for row in (frame, arrays)) if frame and arrays else None
        runs = arrays["timing"]["runs"] if arrays else 0
        found.append(
            _target(f"{name} memory", "flat", grown, f"{{}} bytes over {runs} pairs", lambda value: value <= 0)
        )
    return found


def write_report(report: Report, stem: Path) -> None:
    """Write `stem`.md and `stem`.json, each complete or as it was."""
    for suffix, text in ((".md", report.to_markdown()), (".json", report.to_json())):
        unfinished = stem.with_name(f"{stem.name}{suffix}.tmp")
        unfinished.write_text(text)
        os.replace(unfinished, stem.with_name(stem.name + suffix))


def free_stem(folder: Path, date: str) -> Path:
    """`gpu-DATE` in a folder, or with the first number behind that no report has yet."""
    k, stem = 1, folder / f"gpu-{date}"
    while any(stem.with_name(stem.name + suffix).exists() for suffix in (".md", ".json")):
        k += 1
        stem = folder / f"gpu-{date}-{k}"
    return stem


def _target(name: str, wanted: str, value: float | None, form: str, is_met: Any) -> Target:
    if value is None:
        return Target(name, wanted, "", "not measured")
    return Target(name, wanted, form.format(value), "met" if is_met(value) else "missed")


def _p50(row: Row) -> float:
    return float(row["timing"]["p50_ms"])


def _cells(row: Row) -> tuple[str, ...]:
    size, timing, floor = f"{row['width']}x{row['height']}", row["timing"], row["floor_ms"]
    if not timing:
        return size, row["name"], "did not run", "", "", "", "", "", "", row["note"]
    p50, p95 = timing["p50_ms"], timing["p95_ms"]
    over = ("", "") if floor is None else (f"{floor:.3f}", f"{p50 / floor:.2f}")
    counts = str(timing["runs"]), *over, str(timing["grown_bytes"])
    return size, row["name"], f"{p50:.3f}", f"{p95:.3f}", f"{1e3 / p50:.1f}", *counts, row["note"]


def _table(head: Sequence[str], lines: Any) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
