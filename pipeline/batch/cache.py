"""Copies of remote files on this machine: bounded, shared by its processes, and never taken away while in use."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.batch.remote import StorageError
from pipeline.frames import InputError

USED = "used"
"""Beside a copy: its time is that of the last use, its lock is held by whoever makes the copy."""
POLL = 0.2
"""s between looks for room, while others hold all of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that is wanted."""

    key: str
    """Of the remote file and its version: letters and digits."""
    name: str
    """What the copy is called, for messages and its suffix."""
    size: int
    """Bytes."""
    fill: Callable[[Path], None]
    """Writes it to a path. What it raises is passed on."""


class Cache:
    """A folder of copies. Any process and thread; the kernel frees what a killed one held.

    A copy is a folder of its key with one file in it, beside `KEY.lock`: whoever uses the copy holds that shared.
    Locks are opened, and copies are removed, under the folder's own lock only.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """limit: bytes of all copies."""
        self.folder, self.limit = folder, limit

    @contextmanager
    def held(self, entries: Sequence[Entry], patience: float) -> Iterator[list[Path]]:
        """Copies of all entries, kept while the body runs.

        Room is taken for all at once, so that two processes never wait for each other. Raises InputError if they can
        never fit, StorageError after `patience` s without room, and what filling raises.
        """
        wanted = list({entry.key: entry for entry in entries}.values())
        need = sum(entry.size for entry in wanted)
        if need > self.limit:
            names = " and ".join(entry.name for entry in wanted)
            raise InputError(f"{names}: {need} bytes together; the cache takes {self.limit}; give --cache-size more")
        with ExitStack() as stack:
            try:
                self._acquire(wanted, stack, time.monotonic() + patience)
            except OSError as error:
                if isinstance(error, StorageError):
                    raise
                advice = "give another folder or make room"
                raise StorageError(f"{self.folder}: cache: {error.strerror or error}; {advice}") from error
            yield [self._file(entry.key, entry.name) for entry in entries]

    def _acquire(self, wanted: Sequence[Entry], stack: ExitStack, end: float) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while not self._reserve(wanted, stack):
            if time.monotonic() > end:
                advice = "give --cache-size more, or use fewer workers"
                raise StorageError(f"{self.folder}: all {self.limit} bytes of the cache are in use; {advice}")
            time.sleep(POLL)
        for entry in wanted:
            self._obtain(entry)

    def _file(self, key: str, name: str) -> Path:
        return self.folder / key / name

    def _reserve(self, wanted: Sequence[Entry], stack: ExitStack) -> bool:
        """Hold the locks of the entries, and make room for what is not here; False if there is none now."""
        with _locked(self.folder / "lock", fcntl.LOCK_EX), ExitStack() as ours:
            for entry in wanted:
                ours.enter_context(_locked(self.folder / f"{entry.key}.lock", fcntl.LOCK_SH))
            missing = [entry for entry in wanted if not _taken(self.folder / entry.key)]
            if not self._make_room(sum(entry.size for entry in missing)):
                return False
            for entry in missing:
                part = self._file(entry.key, entry.name + ".part")
                part.parent.mkdir(mode=0o700, exist_ok=True)
                with part.open("wb") as file:
                    file.truncate(entry.size)  # counted from now on
            stack.enter_context(ours.pop_all())
        return True

    def _make_room(self, need: int) -> bool:
        copies = [path for path in self.folder.iterdir() if path.is_dir()]
        excess = sum(map(_taken, copies)) + need - self.limit
        for copy in sorted(copies, key=_last_use):
            if excess <= 0:
                break
            lock = self.folder / f"{copy.name}.lock"
            with suppress(BlockingIOError), _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                excess -= _taken(copy)
                _remove(copy)
                lock.unlink(missing_ok=True)
        return excess <= 0

    def _obtain(self, entry: Entry) -> None:
        """Make the copy, or wait for the process that does."""
        path = self._file(entry.key, entry.name)
        with _locked(path.parent / USED, fcntl.LOCK_EX):
            if not path.exists():
                part = path.with_name(path.name + ".part")
                try:
                    entry.fill(part)
                except BaseException:
                    part.unlink(missing_ok=True)  # a failed one takes no room
                    raise
                os.utime(part, (0, _time_of(entry.key)))
                os.replace(part, path)
            os.utime(path.parent / USED)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    """A file's lock, `flock`'s way; BlockingIOError if it is held and may not be waited for."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _time_of(key: str) -> int:
    """s since 1970 that a copy carries: the same wherever and whenever it is made, so that resumed work knows it."""
    return int(key[:7], 16)


def _taken(copy: Path) -> int:
    """Bytes of a copy, or reserved for it."""
    sizes = [0]
    with suppress(FileNotFoundError):
        for path in copy.iterdir():
            with suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
    return sum(sizes)


def _last_use(copy: Path) -> float:
    with suppress(FileNotFoundError):
        return (copy / USED).stat().st_mtime
    return 0.0


def _remove(copy: Path) -> None:
    with suppress(FileNotFoundError):
        for path in copy.iterdir():
            path.unlink(missing_ok=True)
        copy.rmdir()
