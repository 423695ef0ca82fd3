"""What one experiment found, as the page prints it, and the files that keep it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "section.json"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the page."""

    file: str
    """Name in the folder of the section."""
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """The outcome of one experiment."""

    how: str
    """What was run, with every setting that a reader needs."""
    tables: list[Table]
    pictures: list[Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Paragraphs below the tables: what it says, and where it differs from the paper."""


def keep(folder: Path, key: str, section: Section) -> None:
    """Write a section beside its pictures; it counts as run from then on. Raises OSError."""
    write_whole(folder / FILE, json.dumps({"key": key, "section": asdict(section)}, indent=1).encode())


def kept(folder: Path) -> tuple[str, Section] | None:
    """The key and the section of a folder; None if it holds none, or its pictures are gone."""
    try:
        content = json.loads((folder / FILE).read_bytes())
        found = content["section"]
        section = Section(
            how=found["how"],
            tables=[Table(**table) for table in found["tables"]],
            pictures=[Picture(**picture) for picture in found["pictures"]],
            notes=found["notes"],
        )
        there = all((folder / picture.file).is_file() for picture in section.pictures)
        return (str(content["key"]), section) if there else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
