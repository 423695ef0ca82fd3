"""Where the line leaves its newest picture and the viewers find it, encoded once for all of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.frames import Colour, Frame
from pipeline.live.status import LiveStatus, Panel
from pipeline.preview.press import Press, PressError, Shot, png
from pipeline.preview.tally import SKEWS, Tally

log = logging.getLogger(__name__)

PERIOD = 1 / 30
"""s between two pictures of the stream at least: faster cameras are for the recording, not for an eye on a page."""
PATIENCE = 1.0
"""s that the encoding thread gets to end."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture."""

    number: int
    """Counted from 1 over those encoded."""
    jpeg: bytes
    captured: float
    """s, time.monotonic."""


class Hub:
    """Takes frames from the line and never makes it wait; a thread of its own encodes while somebody watches.

    The newest frame wins: what the encoder or a viewer has no time for is never shown.
    """

    def __init__(self, panel: Panel, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.panel = panel
        self.clock = clock
        self.status: Callable[[], LiveStatus] = lambda: LiveStatus({})
        """Set by the line: the run as it stands. Called from the server's thread; must not wait for the line."""
        self.colour = Colour()
        """Of the chroma planes published; set by the line once it is known."""
        self.latency, self.skew = Tally(), Tally(SKEWS)
        self.stages: dict[str, Tally] = {}
        self.published = self.encoded = 0
        """Frames taken from the line, and pictures made of them."""
        self.picture: Picture | None = None
        """The newest encoded one."""
        self._changed = threading.Condition()
        self._shot: Shot | None = None
        self._printed: Shot | None = None
        self._watchers: dict[object, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def is_watched(self) -> bool:
        """True while somebody has the stream open."""
        return bool(self._watchers)

    @property
    def is_closed(self) -> bool:
        """True once no picture will come any more."""
        return self._closed.is_set()

    @property
    def viewers(self) -> int:
        """How many have the stream open."""
        return len(self._watchers)

    def publish(self, frame: Frame, at: float, sides: tuple[Frame, Frame] | None = None) -> None:
        """Show this frame, captured at (s, monotonic). Returns at once; the planes must not be written to any more.

        sides: the IR and the VIS view, of the same size, wanted while `Controls.divider` is set.
        """
        shot = Shot(frame, at, sides, self.panel.controls.divider, self.colour)
        with self._changed:
            self._shot = shot
            self.published += 1
            self._changed.notify()

    def observe(self, *, latency: float, skew: float, stages: Mapping[str, float]) -> None:
        """Count the times of one frame put out, s: capture to output, IR minus VIS, and by stage."""
        self.latency.add(latency)
        self.skew.add(skew)
        for stage, seconds in stages.items():
            self.stages.setdefault(stage, Tally()).add(seconds)

    def watch(self, wake: Callable[[], None]) -> object:
        """Begin to watch; `wake` is called from another thread after each new picture and at the end. See `leave`."""
        seat = object()
        with self._changed:
            if self._shot is not self._printed:
                self.picture = None  # of when somebody watched last
            self._watchers[seat] = wake
            if self._thread is None and not self.is_closed:
                self._thread = threading.Thread(target=self._encode, name="preview pictures", daemon=True)
                self._thread.start()
            self._changed.notify()
        return seat

    def leave(self, seat: object) -> None:
        """End what `watch` began; may be called twice."""
        with self._changed:
            self._watchers.pop(seat, None)

    def snapshot(self) -> bytes | None:
        """The newest frame as PNG, in full size and with the divider if it is out; None before the first.

        Takes up to half a second. Raises PressError.
        """
        shot = self._shot
        return None if shot is None else png(shot)

    def close(self) -> None:
        """End all viewers' streams and the thread; may be called twice."""
        self._closed.set()
        with self._changed:
            self._changed.notify()
            watchers = list(self._watchers.values())
        for wake in watchers:
            wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)

    def _encode(self) -> None:
        press, told = Press(), False
        while (shot := self._next()) is not None:
            began = self.clock()
            try:
                jpeg = press.jpeg(shot)
            except PressError as error:
                if not told:  # the next frames will be no better
                    log.warning("preview: %s", error)
                told = True
                continue
            self.encoded += 1
            self.picture = Picture(self.encoded, jpeg, shot.captured)
            with self._changed:
                watchers = list(self._watchers.values())
            for wake in watchers:
                wake()
            self._closed.wait(max(0.0, PERIOD - (self.clock() - began)))

    def _next(self) -> Shot | None:
        """The newest frame that is not printed yet, once there is one and somebody watches; None at the end."""
        with self._changed:
            while not self.is_closed:
                if self._watchers and self._shot is not self._printed:
                    self._printed = self._shot
                    return self._shot
                self._changed.wait()
            return None
