"""Ctrl-C while training: finish the step, write the checkpoint, then leave."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 1.0
"""s within which a second signal counts as the same: a terminal and torchrun may both pass one Ctrl-C on."""


class Interrupt:
    """While open, SIGINT and SIGTERM are noted instead of raised; the next one ends the process. Main thread only."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The first signal that came, or None."""
        self._came = 0.0

    def came(self) -> bool:
        """Whether a signal has come."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> Interrupt:
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number is None:
            self.number, self._came = number, now
        elif now - self._came > ECHO:
            os._exit(128 + number)
