"""Where built engines live: a folder of the user's own, one builder at a time, and no half files.

A plan is as good as a program, so the folder is one's own or nothing is read from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.base import CrotalusError
from engines.record import SIDECAR, SUFFIX, EngineKey, Record, StaleError, read_plan, read_record

LOCK = "lock"
"""One for the folder: two builds at once would measure each other on the GPU."""
UNFINISHED = ".tmp"

Tell = Callable[[str], None]


class CacheError(CrotalusError, OSError):
    """The folder of engines cannot be used; the text says what to do."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Made:
    """A plan fresh from the compiler and what is to be written beside it."""

    plan: bytes
    record: Record


def engine_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where engines go: `$CROTALUS_CACHE/engines`, else `crotalus/engines` in the user's cache directory."""
    if given := environment.get("CROTALUS_CACHE"):
        return Path(given).absolute() / "engines"
    home = environment.get("XDG_CACHE_HOME", "")
    if os.path.isabs(home):  # the specification has relative paths ignored
        return Path(home) / "crotalus" / "engines"
    try:
        return Path.home() / ".cache" / "crotalus" / "engines"
    except RuntimeError as error:
        raise CacheError(f"folder of engines: {error}; set CROTALUS_CACHE to a folder of yours") from error


def open_folder(folder: Path) -> Path:
    """The folder, made if missing, for the user alone. Raises CacheError if others could put engines into it."""
    with complaints(folder):
        for part in [*reversed(folder.parents), folder]:
            if not part.is_dir():
                part.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()
    if found.st_uid != os.geteuid():
        raise CacheError(
            f"{folder}: belongs to user {found.st_uid}, you are {os.geteuid()}; an engine is run like a program, so "
            "only your own are: set CROTALUS_CACHE to a folder of yours"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise CacheError(f"{folder}: mode {mode:o} lets others write engines that you would run; chmod 700 it")
    return folder


def obtain(
    folder: Path, key: EngineKey, make: Callable[[], Made], *, force: bool, on_progress: Tell
) -> tuple[Record, bool]:
    """The record of a good plan for the key, and whether `make` was called for it.

    Of processes that ask at once one makes it and the others wait; the kernel frees the lock of one that dies. An
    old file stays until the new one is in its place. Raises CacheError, and what `make` raises.
    """
    path = folder / key.name
    if not force:
        with contextlib.suppress(StaleError):
            return read_plan(path)[0], False
    with locked(folder, on_progress):
        try:
            if not force:
                return read_plan(path)[0], False
            reason = "asked for"
        except StaleError as error:
            reason = error.reason + _relative(folder, key)
        on_progress(f"building {key.graph} for {key.target} at {key.profile} in {key.precision} ({reason})")
        made = make()
        with complaints(folder):
            _replace(path, made.plan)
            _replace(path.with_suffix(SIDECAR), made.record.model_dump_json(indent=1).encode())
        return made.record, True


@contextlib.contextmanager
def locked(folder: Path, on_progress: Tell) -> Iterator[None]:
    """Hold the folder's lock, which dies with the process. Raises CacheError."""
    with complaints(folder):
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with complaints(folder):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_progress("waiting for another process that builds engines")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it to a process forked meanwhile
        os.close(descriptor)


@contextlib.contextmanager
def complaints(folder: Path) -> Iterator[None]:
    """Turn what the system says about the folder into a CacheError, one line with a way out."""
    try:
        yield
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(
            f"{folder}: {error.strerror or error}; engines are kept there: free space, or set CROTALUS_CACHE to a "
            "folder of yours that can be written"
        ) from error


def _relative(folder: Path, key: EngineKey) -> str:
    """One that the folder has of the same graph and sizes for another TensorRT or GPU, to explain a build."""
    same = f"{key.graph}.{key.precision}.{key.profile}.b{key.batch}"
    for path in sorted(folder.glob(f"{same}.*.{key.onnx}{SUFFIX}")):
        with contextlib.suppress(StaleError):
            other = read_record(path).key
            if other != key:
                return f"; there is one of {other.flavour} {other.version} for {other.target}"
    return ""


def _replace(path: Path, data: bytes) -> None:
    """Put a file in place at once, on the disk before it has its name."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=UNFINISHED)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
