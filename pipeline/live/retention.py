"""Which of a recording's files stay: names that are its own, and the oldest deleted by age and by bytes."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pipeline.frames import InputError

log = logging.getLogger(__name__)

STAMP = "%Y%m%dT%H%M%SZ"
"""Of a file's name: when it began, UTC, so that no change to summer time repeats an hour."""


def segment_path(pattern: Path, wall: float) -> Path:
    """A name not taken yet for a file beside `pattern`: `out.mp4` gives `out_20260131T235959Z.mp4`.

    wall: s since 1970. A second file of one second, or one after the wall clock was set back, gets `-1`, `-2`, ...
    """
    stamp = datetime.fromtimestamp(wall, UTC).strftime(STAMP)
    path, number = pattern.with_name(f"{pattern.stem}_{stamp}{pattern.suffix}"), 0
    while path.exists() or path.is_symlink():
        number += 1
        path = pattern.with_name(f"{pattern.stem}_{stamp}-{number}{pattern.suffix}")
    return path


class Retention:
    """The finished files of one recording, this run's and those of runs before, told by their names. One thread.

    Ages are counted on a steady clock from the moment this run began, so a wall clock that jumps deletes nothing. No
    file with another name, no link and no folder is ever touched.
    """

    def __init__(
        self,
        pattern: Path,
        *,
        max_age: float | None = None,
        max_bytes: int | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """pattern: as in `segment_path`. max_age: s since a file was finished; max_bytes: of all files together.

        Raises InputError for limits that are not above 0.
        """
        for name, limit in (("age", max_age), ("bytes", max_bytes)):
            if limit is not None and not limit > 0:
                raise InputError(f"keep {name} {limit}: give more than 0, or leave it out to keep everything")
        self._max_age, self._max_bytes, self._clock = max_age, max_bytes, clock
        self._files: dict[Path, tuple[float, int]] = {}  # when finished, on our clock, and bytes
        now = clock()
        own = re.compile(re.escape(pattern.stem) + r"_\d{8}T\d{6}Z(-\d+)?" + re.escape(pattern.suffix))
        found = []
        for path in pattern.parent.iterdir():
            if own.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                facts = path.stat()
                found.append((now - max(wall() - facts.st_mtime, 0.0), path, facts.st_size))
        for finished, path, size in sorted(found):
            self._files[path] = finished, size

    def finished(self, path: Path) -> None:
        """A file of this run is complete, and may be deleted when its time has come."""
        try:
            self._files[path] = self._clock(), path.stat().st_size
        except OSError as error:
            log.debug("%s: gone before it was counted (%s)", path, error)

    def sweep(self, growing: int = 0) -> list[Path]:
        """Delete what is too old or too much, the oldest first, and say what. growing: bytes of the unfinished file."""
        now, deleted = self._clock(), []
        total = growing + sum(size for _, size in self._files.values())
        for path, (finished, size) in list(self._files.items()):
            is_old = self._max_age is not None and now - finished > self._max_age
            is_much = self._max_bytes is not None and total > self._max_bytes
            if not (is_old or is_much):
                continue
            del self._files[path]  # also if it cannot be deleted: it is said once
            try:
                path.unlink()
            except FileNotFoundError:
                total -= size  # somebody else's broom
                continue
            except OSError as error:
                log.warning("%s: cannot be deleted (%s); it stays", path, error.strerror)
                continue
            total -= size
            deleted.append(path)
        return deleted
