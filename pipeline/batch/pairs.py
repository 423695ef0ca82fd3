"""Pairs found in folders: names that differ in the side only, IR or VIS, by a pattern."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.batch.task import Task
from pipeline.encoding import FORMATS
from pipeline.frames import InputError

PATTERNS = ("{side}/{name}.*", "{name}_{side}.*", "{name}-{side}.*", "{name}/{side}.*")
"""Tried in this order if none is given: the first that finds a pair is taken."""
SIDES = ("ir", "vis")
SUFFIXES = frozenset(FORMATS)
TOLD = 10
"""Files without a partner that are told by name."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds."""

    tasks: list[Task]
    notes: list[str]
    """One line each for what a person should know: the pattern that was guessed, files left over."""


def find_pairs(
    folder: str,
    names: Sequence[str],
    *,
    pattern: str | None = None,
    sides: tuple[str, str] = SIDES,
    rig: str | None = None,
) -> Found:
    """Pairs of videos among the names of files below a folder, each fused into `NAME.mp4`, in the order of names.

    pattern: {name} stands for what both files of a pair share, folders included, {side} for the two words of `sides`
    (any case); * and ? for the rest of one part. It is looked for at any depth. Raises InputError if there is no pair,
    or if two files would be one side of one pair.
    """
    folder = folder.rstrip("/")
    root = folder + "/"
    videos = [name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES]
    for tried in PATTERNS if pattern is None else (pattern,):
        pairs = _matched(folder, videos, _expression(tried, sides), sides)
        tasks = [
            Task(f"{root}{pair[0]}", f"{root}{pair[1]}", f"{name}.mp4", rig)
            for name, pair in sorted(pairs.items())
            if len(pair) == 2
        ]
        if tasks:
            notes = [f"{folder}: pairs found by {tried}"] if pattern is None else []
            return Found(tasks, notes + _left_over(folder, videos, tasks))
    shown = " or ".join(PATTERNS if pattern is None else (pattern,))
    held = f"{len(videos)} videos" if videos else f"no video among {len(names)} files"
    raise InputError(
        f"{folder}: no pair by {shown} in {held}; give --pattern with {{name}} and {{side}}, or --sides THERMAL,VISIBLE"
    )


def _expression(pattern: str, sides: tuple[str, str]) -> re.Pattern[str]:
    if pattern.count("{side}") != 1 or pattern.count("{name}") != 1:
        raise InputError(f"pattern {pattern!r}: give {{name}} and {{side}} once each, like {PATTERNS[1]}")
    if not all(sides) or sides[0].lower() == sides[1].lower():
        raise InputError(f"sides {sides[0]!r}, {sides[1]!r}: give two different words, like thermal,visible")
    marks = {
        "{name}": "(?P<name>.+)",
        "{side}": f"(?P<side>{'|'.join(map(re.escape, sides))})",
        "*": "[^/]*",
        "?": "[^/]",
    }
    parts = re.split(r"(\{name\}|\{side\}|\*|\?)", pattern)
    return re.compile(
        "(?P<before>(?:.*?/)??)" + "".join(marks.get(part, re.escape(part)) for part in parts), re.IGNORECASE
    )


def _matched(
    folder: str, videos: Sequence[str], expression: re.Pattern[str], sides: tuple[str, str]
) -> dict[str, dict[int, str]]:
    """Of each name, the file of either side."""
    found: dict[str, dict[int, str]] = {}
    for video in videos:
        match = expression.fullmatch(video)
        if match is None:
            continue
        side = int(match["side"].lower() == sides[1].lower())
        first = found.setdefault(match["before"] + match["name"], {}).setdefault(side, video)
        if first is not video:
            raise InputError(f"{folder}: {first} and {video} are both the {sides[side]} of one pair; narrow --pattern")
    return found


def _left_over(folder: str, videos: Sequence[str], tasks: Sequence[Task]) -> list[str]:
    used = {place[len(folder) + 1 :] for task in tasks for place in (task.ir, task.vis)}
    alone = [video for video in videos if video not in used]
    lines = [f"{folder}/{video}: no partner" for video in alone[:TOLD]]
    return lines + ([f"{folder}: and {len(alone) - TOLD} more files without a partner"] if len(alone) > TOLD else [])
