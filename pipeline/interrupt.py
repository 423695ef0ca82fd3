"""Ctrl-C: the first one asks the run to finish its file, the second one leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def leave_at_once() -> None:
    """From now on Ctrl-C ends the process with one line: where no output is open, there is nothing to finish.

    KeyboardInterrupt would not do: raised inside an import it becomes a traceback, or another error altogether.
    """
    if threading.current_thread() is threading.main_thread() and not _is_ignored(signal.SIGINT):
        signal.signal(signal.SIGINT, _leave)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """`leave_at_once` for the body."""
    before = signal.getsignal(signal.SIGINT)
    leave_at_once()
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, before)


class Interrupt:
    """While open, SIGINT and SIGTERM set `stop` instead of raising; the second ends the process. Main thread only.

    A signal that the process was started to ignore (a job in the background of a script) stays ignored.

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
        import socket  # not on import of this file: it is loaded first of all, while Ctrl-C still raises

        self._ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._theirs = theirs
        self._fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _ignore) for number in SIGNALS if not _is_ignored(number)}
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
                _exit(128 + data[0])
            self.signal = data[0]
            self.stop.set()
        self._ours.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    """A Python handler must be set for the wake-up to be written; the watcher does the work."""


def _leave(number: int, frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, b"error: interrupted\n")
    _exit(128 + number)


def _exit(code: int) -> NoReturn:
    """End the process without a further word; the progress bar has hidden the cursor of the terminal."""
    with suppress(OSError):
        if os.isatty(1):
            os.write(1, b"\x1b[?25h\n")
    os._exit(code)


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
