"""Files that are there whole or not at all, whatever ends the process or the machine."""

from __future__ import annotations

import errno
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.frames import OutputError
from pipeline.video_sink import DISK_FULL


class DiskFullError(OutputError):
    """No room, quota or file size left: every other chunk would meet the same."""


def publish(part: Path, path: Path, *, may_replace: bool = True) -> None:
    """Give a finished file its name, once its bytes are on the disk. Raises OutputError, DiskFullError.

    may_replace: False leaves a file alone that has the name already.
    """
    try:
        _sync(part)
        if may_replace:
            os.replace(part, path)
        else:
            _link(part, path)
        _sync(path.parent)
    except OSError as error:
        raise output_error(path, error) from error


def write_json_whole(path: Path, value: object) -> None:
    """Write a value under a temporary name, then `publish` it. Raises OutputError, DiskFullError."""
    part = part_of(path)
    try:
        part.write_text(json.dumps(value))
        publish(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OutputError):
            raise
        raise output_error(path, error) from error


def read_json(path: Path) -> Any:
    """The value in a file; None if there is none, or it is not whole."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def part_of(path: Path) -> Path:
    """A temporary name beside a path, of the same suffix, that nobody else has."""
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")


def output_error(path: Path, error: OSError) -> OutputError:
    """The error to raise for one of the disk. It is kept as its cause, so that `is_full` sees it."""
    if error.errno in DISK_FULL:
        return disk_full(path)
    return OutputError(f"{path}: {error.strerror or error}; check the disk and its permissions")


def disk_full(path: Path) -> DiskFullError:
    """The error for a disk without room at a place."""
    return DiskFullError(f"disk full: {path}: free some space and run the same command again")


def is_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, is a disk without room."""
    return isinstance(error, DiskFullError) or getattr(error.__cause__, "errno", None) in DISK_FULL


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # folders of some file systems cannot be synchronised
            raise
    finally:
        os.close(descriptor)


def _link(part: Path, path: Path) -> None:
    """Rename without replacing: a hard link, or a look first on file systems that have none."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError(errno.EEXIST, "exists already", str(path)) from None
        os.replace(part, path)
        return
    part.unlink()
