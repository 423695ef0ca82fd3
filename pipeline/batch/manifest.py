"""What to fuse, from a file: CSV with a header, or JSON lines; a pair a line, every bad line named."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.batch.place import is_address, parse_place
from pipeline.batch.task import Task
from pipeline.frames import InputError
from pipeline.job import MAX_OFFSET

COLUMNS = ("ir", "vis", "out", "rig", "offset", "options")
NEEDED = COLUMNS[:3]
SUFFIXES = (".csv", ".jsonl", ".ndjson")
DELIMITERS = ",;\t"
"""Of CSV: the header tells which; spreadsheets of many countries write semicolons."""
TOLD = 20
"""Bad lines told one by one; the rest is counted."""
MAX_BYTES = 1 << 30
"""Of a manifest: ten million lines; more is another kind of file."""

Row = tuple[int, Mapping[str, Any]]
"""Number of the line, counted from 1, and what it says."""


class ManifestError(InputError):
    """A manifest that cannot be used: nothing has been fused. The text has a line for each bad line."""


class _BadLineError(Exception):
    """What is wrong with one line."""


def read_manifest(path: Path, *, options: Sequence[str] | None = None, base: str | None = None) -> list[Task]:
    """The tasks of a manifest, in its order.

    options: names that the column `options` may use; None: any. base: folder or address that relative names of
    inputs start from; None: the manifest's own folder. Raises ManifestError, which names every bad line.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ManifestError(f"{path}: not a manifest by its name; give a file in {', '.join(SUFFIXES)}")
    text = _text(path)
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(text)
    tasks: list[Task] = []
    wrong: list[tuple[int, str]] = []
    taken: dict[str, int] = {}
    reading = _Reading(os.path.abspath(path.parent) if base is None else base, options)
    try:
        for number, row in rows:
            try:
                task = reading.task(row)
                first = taken.setdefault(task.out, number)
                if first != number:
                    raise _BadLineError(
                        f"out {parse_place(task.out).label}: line {first} writes it already; give each its own"
                    )
                tasks.append(task)
            except (_BadLineError, InputError) as error:
                wrong.append((number, str(error)))
    except csv.Error as error:
        raise ManifestError(f"{path}: not CSV: {error}; save it as CSV with a header {','.join(COLUMNS)}") from error
    if wrong:
        raise ManifestError(_told(path, wrong))
    if not tasks:
        raise ManifestError(f"{path}: no pair in it; give a line with {', '.join(NEEDED)} for each")
    return tasks


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ManifestError(f"{path}: {path.stat().st_size} bytes; a manifest has at most {MAX_BYTES}; split it")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; check the name") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path}: line {line} is not UTF-8; save it as UTF-8") from error


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    """Rows by the header's names. A row begins at a line's number, even if a quoted name holds a line break."""
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=lambda sign: (head.count(sign), sign == ","))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names = [name.strip().lower() for name in next(reader, [])]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        told = ", ".join(repr(name)[:40] for name in unknown[:TOLD])
        raise ManifestError(f"{path}: line 1: unknown column {told}; allowed are {', '.join(COLUMNS)}")
    for name in COLUMNS:
        if names.count(name) != 1 and (name in NEEDED or name in names):
            found = f"column {name} is there {names.count(name)} times" if name in names else f"no column {name}"
            raise ManifestError(f"{path}: line 1: {found}; the header is {','.join(COLUMNS)}, the last three optional")
    before = reader.line_num
    for cells in reader:
        number, before = before + 1, reader.line_num
        if any(cell.strip() for cell in cells):
            if len(cells) > len(names):
                yield (
                    number,
                    {"": f"{len(cells)} cells under {len(names)} columns; quote a name that holds {delimiter!r}"},
                )
            else:
                yield number, {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}


def _json_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                value = json.loads(line, object_pairs_hook=_object)
            except _BadLineError as error:
                value = {"": str(error)}
            except (ValueError, RecursionError) as error:
                value = {"": f"not JSON: {error}; write one object a line"}
            yield number, value if isinstance(value, dict) else {"": 'not an object; write {"ir": ..., "vis": ...}'}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _BadLineError(f"{name[:40]!r} is there twice; write it once")
        found[name] = value
    return found


class _Reading:
    """How the lines of one manifest are read."""

    def __init__(self, base: str, options: Sequence[str] | None) -> None:
        self._base, self._allowed = base, options

    def task(self, row: Mapping[str, Any]) -> Task:
        """Raises _BadLineError or InputError, without the number of the line."""
        if "" in row:
            raise _BadLineError(row[""])
        unknown = [name for name in row if name not in COLUMNS]
        if unknown:
            raise _BadLineError(f"unknown {', '.join(map(repr, unknown))[:80]}; allowed are {', '.join(COLUMNS)}")
        rig = row.get("rig")
        return Task(
            self._input("ir", row.get("ir")),
            self._input("vis", row.get("vis")),
            _output(row.get("out")),
            None if rig is None else self._input("rig", rig),
            _offset(row.get("offset")),
            self._options(row.get("options")),
        )

    def _input(self, name: str, value: Any) -> str:
        text = _name(name, value)
        if is_address(text):
            return text
        if is_address(self._base):
            return text if os.path.isabs(text) else f"{self._base.rstrip('/')}/{text}"
        return os.path.normpath(os.path.join(self._base, text))

    def _options(self, value: Any) -> dict[str, str]:
        if isinstance(value, str):
            parts = [part.partition("=") for part in value.split(";") if part.strip()]
            if any(not sign for _, sign, _ in parts):
                raise _BadLineError(
                    f"options {value[:60]!r}: give name=value, with ; between them, like crf=23;view=blend"
                )
            value = _object([(name.strip(), text.strip()) for name, _, text in parts])
        if value is not None and not isinstance(value, dict):
            raise _BadLineError(
                f'options {json.dumps(value)[:60]}: give an object, like {{"crf": 23, "view": "blend"}}'
            )
        found: dict[str, str] = {}
        for typed, setting in (value or {}).items():
            name = typed.replace("-", "_")
            if name in found:
                raise _BadLineError(f"option {typed[:40]!r} is there twice; write it once")
            if self._allowed is not None and name not in self._allowed:
                raise _BadLineError(f"option {name[:40]!r}: allowed are {', '.join(self._allowed)}")
            is_finite = not isinstance(setting, float) or math.isfinite(setting)
            if not isinstance(setting, (str, int, float)) or setting == "" or not is_finite:
                raise _BadLineError(
                    f"option {name[:40]} {json.dumps(setting)[:40]}: give a word, a number, true or false"
                )
            found[name] = str(setting).lower() if isinstance(setting, bool) else str(setting)
        return found


def _name(column: str, value: Any) -> str:
    if value is None or value == "":
        raise _BadLineError(f"no {column}; allowed is a path or an address like s3://bucket/name")
    if not isinstance(value, str):
        raise _BadLineError(f"{column} {json.dumps(value)[:40]}: allowed is a path or an address, in quotes")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise _BadLineError(f"{column} {value[:40]!a}: half a character in it; write it as UTF-8") from None
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in value):
        raise _BadLineError(f"{column} {value[:40]!r}: a control character in it; rename the file")
    if is_address(value):
        parse_place(value)
    return value


def _output(value: Any) -> str:
    text = _name("out", value)
    if is_address(text) or os.path.isabs(text):
        return text if is_address(text) else os.path.normpath(text)
    plain = os.path.normpath(text)
    if plain.split(os.sep)[0] in (".", ".."):
        raise _BadLineError(f"out {text}: outside the output folder; give a name below it, a whole path, or an address")
    return plain


def _offset(value: Any) -> float | None:
    if value is None:
        return None
    try:
        offset = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        offset = math.nan
    if not abs(offset) <= MAX_OFFSET:  # nan is not, either
        raise _BadLineError(
            f"offset {str(value)[:40]!r}: give seconds, at most {MAX_OFFSET:.0e} either way, with a point"
        )
    return offset


def _told(path: Path, wrong: Sequence[tuple[int, str]]) -> str:
    lines = [f"{path}: line {number}: {what}" for number, what in wrong[:TOLD]]
    if len(wrong) > TOLD:
        lines.append(f"{path}: and {len(wrong) - TOLD} more bad lines")
    return "\n".join(lines)
