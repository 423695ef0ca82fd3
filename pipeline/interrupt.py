"""Ctrl-C: the first one asks the run to finish its file, the second one leaves at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While open, SIGINT and SIGTERM set `stop` instead of raising; the second ends the process. Main thread only.

    A thread watches the signals through a socket that the C handler writes to, because Python's own handlers wait
    until a call into the network returns, which takes seconds for a large picture.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.signal: int | None = None
        """The first signal that came, or None."""

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)

    def __enter__(self) -> Interrupt:
        self._ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._theirs = theirs
        self._fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _ignore) for number in SIGNALS}
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._theirs.close()  # ends the watcher: it reads the end of the stream

    def _watch(self) -> None:
        while data := self._ours.recv(1):
            if data[0] not in SIGNALS:
                continue
            if self.stop.is_set():
                os._exit(128 + data[0])
            self.signal = data[0]
            self.stop.set()
        self._ours.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    """A Python handler must be set for the wake-up to be written; the watcher does the work."""
