"""One attempt at a source in a thread of its own: FFmpeg may be stuck in there, and is left behind then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from engines.base import CrotalusError
from pipeline.live.address import Address
from pipeline.live.shots import Shot, Shots, SourceRefusedError

STALL = 4.0
"""s without a picture before a camera counts as stalled: told within 5 s, and longer than a key frame takes to come."""
GRACE = 0.4
"""s past a deadline that FFmpeg gets to keep it by itself before its thread is left behind."""
UNHURRIED = 1e9
"""s that the frames of a file may lie apart, and that they may wait to be taken: as good as for ever."""


class Reader:
    """Opens a source and hands its pictures on until it ends, fails, or nobody listens any more."""

    def __init__(
        self,
        name: str,
        address: Address,
        open_source: Callable[[Reader], AbstractContextManager[Shots]],
        deliver: Callable[[Reader, Shot], None],
        on_end: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """open_source, deliver and on_end are called in the reader's thread. clock: s."""
        self.address = address
        """What it reads."""
        self.began = clock()
        """When the attempt began, s."""
        self.beat: float | None = None
        """When the last picture came, s; when it was opened, before the first; None before that."""
        self.first: float | None = None
        """When the first picture came, s."""
        self.is_timed = True
        """Whether the source's time stamps are its own."""
        self.failure = ""
        """Why it ended: one line without credentials."""
        self.is_final = False
        """Whether another attempt would end the same way."""
        self.left = threading.Event()
        """Set from outside: end at the next occasion, nobody listens."""
        self.over = threading.Event()
        """Set when it has ended, the source closed."""
        self._open, self._deliver, self._on_end, self._clock = open_source, deliver, on_end, clock
        self._thread = threading.Thread(target=self._run, name=f"{name} reader", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def leave(self, patience: float) -> bool:
        """Ask it to end and give it some s for that; False if it is stuck."""
        self.left.set()
        self._thread.join(patience)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            with self._open(self) as source:
                self.is_timed = source.is_timed
                self.beat = self._clock()
                for shot in source.shots():
                    if self.left.is_set():
                        break
                    self.beat = self._clock()
                    self.first = self.first or self.beat
                    self._deliver(self, shot)
            self.failure, self.is_final = "end of the file", True
        except CrotalusError as error:
            self.failure, self.is_final = str(error), isinstance(error, SourceRefusedError)
        except Exception as error:  # whatever it is, the camera goes on trying
            self.failure = self.address.redact(f"{self.address.place}: {type(error).__name__}: {error}")
            self.is_final = self.address.kind == "file"  # a file fails the same way again
        finally:
            self.over.set()
            self._on_end()


def limits(reader: Reader) -> tuple[float, float, str]:
    """When a reader counts as stalled, when it is to be left behind, s, and what is wrong then."""
    address = reader.address
    if reader.beat is None:
        limit = reader.began + address.open_timeout + GRACE
        return limit, limit, f"{address.place}: no answer within {address.open_timeout:g} s"
    if address.kind == "file":
        limit = reader.beat + UNHURRIED
        return limit, limit, f"{address.place}: no picture for {UNHURRIED:.0f} s"
    limit = reader.beat + address.read_timeout + GRACE
    return reader.beat + STALL, limit, f"{address.place}: nothing came for {address.read_timeout:g} s"
