"""The folder that an export writes: what may be replaced, and how, so that no file of a user is ever lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from engines.model import ModelInfo


class TargetError(ValueError):
    """A place or a file of numbers that an export cannot use."""


def refuse_strangers(folder: Path) -> None:
    """Return if the folder is new, empty, or holds a model and nothing else: it may be replaced. Else TargetError."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise TargetError(f"{folder}: a file; give a folder for the model")
    try:
        known = {"model.json", *json.loads((folder / "model.json").read_bytes())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    strangers = sorted({path.name for path in folder.iterdir()} - known)
    if strangers:
        raise TargetError(f"{folder}: holds {strangers[0]}, which is not of a model; give a new folder or remove it")


def put_model(info: ModelInfo, build: Path, folder: Path) -> ModelInfo:
    """Write model.json beside the finished files, and move them all to their place; the model as it is there."""
    unsaid = {"maps", "activity_ratio"} if info.kind == "graph" else None
    (build / "model.json").write_text(info.model_dump_json(indent=2, exclude=unsaid) + "\n")
    for path in build.iterdir():
        path.chmod(0o644)
    build.chmod(0o755)
    replace_folder(build, folder)
    return info.model_copy(update={"folder": folder})


def replace_folder(build: Path, folder: Path) -> None:
    """Move the finished folder to its place; an older one is removed only after that, and comes back if it fails."""
    old = build.with_name("old")
    if not folder.exists():
        os.replace(build, folder)
        return
    os.replace(folder, old)
    try:
        os.replace(build, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
