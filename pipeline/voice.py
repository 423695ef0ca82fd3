"""What is said to the user: plain text as it is, on a terminal or into a pipe, whoever listens."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from rich.console import Console

WIDTH = 160
"""Columns where there is no terminal: tables are to be read by eye in a log."""


class Voice(Console):
    """A console whose silence never ends a run: a closed pipe, a full disk under a log. Brackets are no markup."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
        if not self.is_terminal:
            self.width = WIDTH

    def print(self, *objects: Any, **options: Any) -> None:
        """As of Console; does nothing any more once it has failed."""
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Nobody listens: be quiet, and let nothing that is left in a buffer fail at exit. Rich's own leaves."""
        self.quiet = True
        with suppress(OSError, ValueError):
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, self.file.fileno())
            os.close(silence)


def say_all_names() -> None:
    """Make the standard streams spell out what their encoding lacks; a file name must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # None if closed; a test may have replaced it
            stream.reconfigure(errors="backslashreplace")
