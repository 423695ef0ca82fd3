"""Two results side by side: what is really faster or slower, and what is noise."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from rich.table import Table

from pipeline.bench.ffmpeg import NAME
from pipeline.bench.result import Told
from pipeline.bench.spread import Change, change
from pipeline.frames import InputError

LENGTH = {"frames", "seconds", "repeats"}
"""Settings that only say how long was measured."""


def comparison(before: Told, after: Told) -> Table:
    """A row for each thing that both measured. Raises InputError if there is none.

    Stages alone are shown where they differ: they tell what a difference comes from.
    """
    rows = changes(before.rates, after.rates)
    if not rows:
        raise InputError(
            f"{before.name} and {after.name}: measured nothing in common; give the same sizes, presets and models"
        )
    table = Table("", "A", "B", "B against A", title_justify="left")
    for name, one in rows.items():
        if one.is_real or not name.endswith(" alone"):
            table.add_row(name, *(_speed(name, told.rates[name]) for told in (before, after)), str(one))
    table.caption = "intervals of 95 % from the repeats: one row in 20 differs by chance"
    return table


def changes(before: dict[str, list[float]], after: dict[str, list[float]]) -> dict[str, Change]:
    """How each speed that both have changed."""
    return {name: change(values, after[name]) for name, values in before.items() if name in after}


def remarks(before: Told, after: Told) -> Iterator[str]:
    """Lines on what else differs, or makes the comparison doubtful."""
    for what in ("machine", "versions", "settings"):
        yield from _differences(what, getattr(before, what), getattr(after, what))
    for fuser, weights in before.weights.items():
        if fuser in after.weights and after.weights[fuser] != weights:
            yield f"{fuser}: other weights, {weights} in A, {after.weights[fuser]} in B"
    for letter, told in (("A", before), ("B", after)):
        yield from (f"{letter} is noisy: {line}" for line in told.noise)
    yield from _machine_itself(before, after)


def _speed(name: str, rates: list[float]) -> str:
    """The median, as the tables of a run show it."""
    rate = median(rates)
    is_time = name.endswith((" alone", ": latency", ": CPU")) or ": batch " in name
    return f"{1e3 / rate:.2f} ms" if is_time else f"{rate:.2f} frames/s"


def _differences(what: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *after]):
        a, b = (side.get(key, "not told") for side in (before, after))
        if a != b and key not in LENGTH:
            kind = "different machines" if what == "machine" else f"different {what}"
            yield f"{kind}: {key} {_shown(a)} in A, {_shown(b)} in B"


def _machine_itself(before: Told, after: Told) -> Iterator[str]:
    """How what does not depend on this program changed: whatever is below holds that too."""
    own = {**before.anchors, **{k: v for k, v in before.rates.items() if k.endswith(NAME)}}
    new = {**after.anchors, **{k: v for k, v in after.rates.items() if k.endswith(NAME)}}
    for name, one in changes(own, new).items():
        if one.is_real:
            yield f"the machine itself, or its load, changed: {name} {one}"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
