"""A live camera: supervised, opened again for ever, its newest pictures at hand, what it is doing told at any time."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from pipeline.live.address import Address
from pipeline.live.newest import Newest
from pipeline.live.playback import Epoch
from pipeline.live.reader import Reader, limits
from pipeline.live.retry import Retry
from pipeline.live.shots import OpenShots, Shot, Shots
from pipeline.live.sources import open_shots
from pipeline.live.status import CameraStatus, LiveFrame, State

PATIENCE = 0.5
"""s that a reader gets to end when the camera is closed."""
MAX_STUCK = 3
"""Readers left behind and still alive before no further one is started: a resolver that hangs must not eat threads."""
MAX_NOTES = 32
"""Odd things kept; each kind is told once."""

_log = logging.getLogger(__name__)


class Camera:
    """Reads a source in threads of its own. Every method may be called from any thread."""

    def __init__(
        self,
        name: str,
        address: Address,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
        on_note: Callable[[str], None] | None = None,
        epoch: Epoch | None = None,
        open_source: OpenShots = open_shots,
        chance: random.Random | None = None,
    ) -> None:
        """name: `ir` or `vis`. clock: s. wait: for an event, at most some s. on_note: told each line worth telling;
        the log if None. epoch: when the first frame of a file is due. chance: of the jitter.
        """
        self.name, self.address = name, address
        self.left_behind = 0
        """Readers so far that were stuck and given up."""
        self._clock, self._wait, self._epoch, self._open = clock, wait, epoch, open_source
        self._on_note = on_note or _log.warning
        self._retry = Retry(chance)
        self._newest = Newest(address.clock, self._odd, may_drop=address.realtime or address.kind != "file")
        self._lock = threading.RLock()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._reader: Reader | None = None
        self._greeted: Reader | None = None
        self._stuck: list[Reader] = []
        self._state: State = "connecting"
        self._reason, self._since = "not started", clock()
        self._notes: dict[str, str] = {}
        self._connections = 0
        self._lost_at: float | None = None
        self._thread = threading.Thread(target=self._supervise, name=f"{name} camera", daemon=True)

    def start(self) -> None:
        """Begin to connect; returns at once. Once only."""
        self._thread.start()

    def take(self, timeout: float) -> LiveFrame | None:
        """The oldest picture that waits (two at most do), or None after some s or when the camera has stopped."""
        return self._newest.take(timeout)

    def status(self) -> CameraStatus:
        """How it stands. Holds no credentials."""
        with self._lock:
            seen = self._newest.account(self._clock())
            return CameraStatus(
                self.name,
                self.address.label,
                self._state,
                self._reason,
                self._since,
                reconnects=max(self._connections - 1, 0),
                notes=tuple(self._notes.values()),
                **seen,
            )

    def close(self) -> None:
        """Stop, within 1 s whatever FFmpeg does. May be called twice."""
        self._closing.set()
        self._wake.set()
        self._newest.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(2 * PATIENCE - 0.1)
        self._enter("stopped", "closed")

    @property
    def stuck(self) -> int:
        """Readers left behind whose threads are still alive."""
        self._stuck = [reader for reader in self._stuck if reader.is_alive]
        return len(self._stuck)

    def _supervise(self) -> None:
        while not self._closing.is_set():
            reader = self._attempt()
            if self._closing.is_set():
                break
            # What has run once is tried for ever: a camera may come back from a power cut in a mode to be corrected.
            if reader.is_final and (self.address.kind == "file" or not self._connections):
                self._say(reader.failure)
                self._enter("stopped", reader.failure)
                return self._newest.close()  # after it: who takes nothing, asks why
            now = self._clock()
            self._lost_at = now if self._lost_at is None else self._lost_at
            delay = self._retry.failed(now, now - reader.first if reader.first is not None else 0.0)
            line = self._retry.line(now, reader.failure, delay)
            self._enter("retrying", f"{reader.failure}; next try in {delay:.1f} s")
            if line:
                self._say(line)
            self._pause(now + delay)
        return None

    def _attempt(self) -> Reader:
        """A reader from its start to its end, or to where it is left behind."""
        reader = Reader(self.name, self.address, self._opened, self._deliver, self._wake.set, self._clock)
        with self._lock:
            self._reader = reader
        self._enter("connecting", f"opening {self.address.label}")
        reader.start()
        while True:
            self._wake.clear()
            if reader.over.is_set():
                return reader
            now = self._clock()
            stall, limit, problem = limits(reader)
            if self._closing.is_set() or now >= limit:
                return self._leave(reader, problem)
            if now >= stall and self._state == "running":
                self._enter("stalled", f"no picture for {now - (reader.beat or now):.1f} s")
            self._wait(self._wake, min(limit, stall if now < stall else limit) - now)

    def _leave(self, reader: Reader, problem: str) -> Reader:
        """Give a reader up; it ends by itself once FFmpeg lets go of it."""
        with self._lock:
            self._reader = None
        if not reader.leave(PATIENCE if self._closing.is_set() else 0.0):
            self.left_behind += 1
            self._stuck.append(reader)
            reader.failure, reader.is_final = problem, False
        return reader

    def _pause(self, until: float) -> None:
        """Wait between two attempts, and for a stuck reader to end if there are too many of them."""
        while not self._closing.is_set():
            self._wake.clear()
            now = self._clock()
            if now >= until and self.stuck < MAX_STUCK:
                return
            self._wait(self._closing, max(until - now, 0.0) or 1.0)

    def _opened(self, reader: Reader) -> AbstractContextManager[Shots]:
        return self._open(
            self.address,
            clock=self._clock,
            epoch=self._epoch,
            wait=lambda seconds: self._wait(reader.left, seconds),
            on_odd=self._odd,
        )

    def _deliver(self, reader: Reader, shot: Shot) -> None:
        """Take a picture over from a reader, unless it was left behind."""
        with self._lock:
            if reader is not self._reader or self._closing.is_set():
                reader.left.set()
                return
            if self._greeted is not reader:
                self._greeted = reader
                self._greet(reader)
            if self._state != "running":
                self._enter("running", "")
        self._newest.put(shot)

    def _greet(self, reader: Reader) -> None:
        """The first picture of a connection has come."""
        self._connections += 1
        self._wake.set()  # other deadlines hold from now on
        self._newest.begin(is_timed=reader.is_timed)
        if not reader.is_timed and self.address.clock == "pts":
            self._odd("untimed", "no time stamps of its own; timed by arrivals")
        if self._lost_at is not None:
            self._say(f"{self.address.place}: back after {self._clock() - self._lost_at:.1f} s")
            self._lost_at = None

    def _enter(self, state: State, reason: str) -> None:
        with self._lock:
            if self._state == "stopped":
                return
            self._state, self._reason, self._since = state, reason, self._clock()

    def _odd(self, kind: str, text: str) -> None:
        """Note something odd; say it the first time."""
        with self._lock:
            self._newest.count(kind)
            key = text if kind == "format" else kind
            if key in self._notes or len(self._notes) >= MAX_NOTES:
                return
            self._notes[key] = text
        self._say(f"{self.address.place}: {text}")

    def _say(self, line: str) -> None:
        self._on_note(f"{self.name}: {line}")
