"""What is in the cache of engines, and clearing out what will not be used again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from engines.base import BackendError
from engines.cache import UNFINISHED, Tell, complaints, engine_folder, locked, open_folder
from engines.model import ModelInfo
from engines.record import RECIPE, SIDECAR, SUFFIX, Record, StaleError, read_plan
from engines.trt import EngineBackend, load


@dataclass(frozen=True, slots=True)
class StoredEngine:
    """What a look into the cache finds."""

    path: Path
    record: Record | None
    """None if it cannot be read."""
    flaw: str
    """Why it will not be used again; empty if it may be."""

    def __str__(self) -> str:
        """File name and state."""
        return f"{self.path.name}: {self.flaw or 'good'}"


def list_engines(folder: Path | None = None) -> list[StoredEngine]:
    """What is in the cache, by name. Raises CacheError for a folder that is not safe to read."""
    folder = folder or engine_folder()
    if not folder.exists():
        return []
    versions: dict[str, str | None] = {}
    return [_look(path, versions) for path in sorted(open_folder(folder).glob(f"*{SUFFIX}"))]


def prune(folder: Path | None = None, *, on_progress: Tell = lambda line: None) -> list[Path]:
    """Remove what will not be used again, and return what was removed.

    That is: plans that are damaged, of another version of an installed TensorRT, or of a model that is gone or
    changed; sidecars without a plan; what a killed build left. Waits for a build under way. Raises CacheError.
    """
    folder = folder or engine_folder()
    if not folder.exists():
        return []
    removed = []
    with locked(open_folder(folder), on_progress):
        for path, reason in list(_waste(folder)):
            on_progress(f"removed {path.name}: {reason}")
            with complaints(folder):
                path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _look(path: Path, versions: dict[str, str | None]) -> StoredEngine:
    try:
        record = read_plan(path)[0]
    except StaleError as error:
        return StoredEngine(path, None, error.reason)
    flavour = record.key.flavour
    if flavour not in versions:
        versions[flavour] = _installed(flavour)
    if versions[flavour] not in (None, record.key.version):  # None: another environment may use it
        return StoredEngine(path, record, f"of {flavour} {record.key.version}, {versions[flavour]} is installed")
    if record.key.recipe != RECIPE:
        return StoredEngine(path, record, "of another version of crotalus")
    try:
        files = ModelInfo.model_validate_json(Path(record.model_json).read_bytes()).files
    except (OSError, ValueError):
        return StoredEngine(path, record, f"its model {record.model_json} is gone")
    return StoredEngine(path, record, "" if files == record.model_files else f"its model {record.model} has changed")


def _installed(flavour: str) -> str | None:
    backends: tuple[EngineBackend, ...] = get_args(EngineBackend)
    for backend in backends:
        if backend == flavour:
            with contextlib.suppress(BackendError):
                return str(load(backend).__version__)
    return None


def _waste(folder: Path) -> Iterator[tuple[Path, str]]:
    for engine in list_engines(folder):
        if engine.flaw:
            yield engine.path, engine.flaw
            if (sidecar := engine.path.with_suffix(SIDECAR)).exists():
                yield sidecar, "its plan is removed"
    for path in folder.glob(f"*{UNFINISHED}"):
        yield path, "left by a build that was stopped"
    for path in folder.glob(f"*{SIDECAR}"):
        if not path.with_suffix(SUFFIX).exists():
            yield path, "its plan is missing"
