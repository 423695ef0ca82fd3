"""A JSON file with the account of a run: its place is checked before the run, so that no run ends without it."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from pipeline.frames import InputError, OutputError


def check_json_path(path: Path, *, may_replace: bool = True, folder_to_come: Path | None = None) -> None:
    """Raise InputError unless a JSON file can be written there.

    Only names in .json are taken, so that a slip never costs a video. folder_to_come: need not exist yet.
    """
    if path.suffix.lower() != ".json" or path.is_dir():
        raise InputError(f"{path}: not a name for a JSON file; give one that ends in .json")
    if path.exists() and not may_replace:
        raise InputError(f"{path}: exists; pass --overwrite or name another file")
    if path.parent == folder_to_come:
        return
    if not path.parent.is_dir():
        raise InputError(f"{path}: {path.parent} is not a folder; create it or name another file")
    if not (os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))):
        raise InputError(f"{path}: no permission to write it; change that or name another file")


def write_json(path: Path, value: object) -> None:
    """Write a value, indented, under a temporary name first: the file is there whole or as it was. Raises OutputError.

    A link stays one: the file that it leads to is written.
    """
    path = Path(os.path.realpath(path))
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part.json")
    try:
        part.write_text(json.dumps(value, indent=2) + "\n")
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; everything else is done") from error
    finally:
        with suppress(OSError):
            part.unlink()
