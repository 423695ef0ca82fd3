"""One file, one writer: an output is held against other runs from its first frame to its end."""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path

from pipeline.frames import OutputError

log = logging.getLogger(__name__)


def claim(path: Path, *, may_replace: bool) -> int:
    """Create a file, empty, or hold the one that is there; the hold ends when the descriptor returned is closed.

    Raises OutputError if it has come into being since it was looked for, or another run holds it; OSError if the
    system refuses to open it.
    """
    flags = os.O_WRONLY | os.O_CREAT | (0 if may_replace else os.O_EXCL)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileExistsError as error:
        raise OutputError(
            f"{path}: another program has made it meanwhile; nothing was written; name another output"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OutputError(f"{path}: another run is writing it; nothing was written; name another output") from error
    except OSError as error:
        log.debug("%s: a file system without locks (%s)", path, error)
    return descriptor


def release(descriptor: int | None) -> None:
    """End a hold; None is none."""
    if descriptor is not None:
        with suppress(OSError):
            os.close(descriptor)
