"""What a person sees of a live run: a few lines that stand still on a terminal, one every ten seconds elsewhere."""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pipeline.live.status import CameraStatus, LiveStatus

PERIOD = 10.0
"""s between plain lines."""


class Notices(logging.Handler):
    """Collects what the parts of the run log, from any thread, for the one that prints: printing may block."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._lines.put(" ".join(record.getMessage().split()))

    def take(self) -> list[str]:
        """The lines since the last call."""
        lines = []
        with suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return lines


class Screen:
    """Shows a live run while it goes. A context manager; one thread."""

    def __init__(self, console: Console, complain: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        """complain: for the notices."""
        self._console, self._complain, self._clock = console, complain, clock
        self._is_live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._told = clock()

    def __enter__(self) -> Screen:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._live.stop()

    def tell(self, lines: list[str]) -> None:
        """Print notices, with the time of day."""
        for line in lines:
            (self._console if self._is_live else self._complain).print(f"{time.strftime('%H:%M:%S')} {line}")

    def show(self, status: LiveStatus) -> None:
        """Call a few times a second."""
        if self._is_live:
            rows = [Text(head(status), no_wrap=True, overflow="ellipsis")]
            rows += [Text(row, no_wrap=True, overflow="ellipsis") for row in map(camera_row, status.cameras.values())]
            self._live.update(Group(*rows), refresh=True)
        elif self._clock() - self._told >= PERIOD:
            self._told = self._clock()
            cameras = "; ".join(f"{one.name} {_of(one)}" for one in status.cameras.values())
            self._console.print(f"{head(status)}; {cameras}")


def head(status: LiveStatus) -> str:
    """The run in a line: state, rate, latency, drops, recording."""
    parts = [status.state, _rate(status.fps)]
    if status.latency_ms:
        parts.append(f"latency {status.latency_ms['p50']:.0f} ms, p95 {status.latency_ms['p95']:.0f} ms")
    parts.append(f"{status.pairs} pairs")
    if status.drops:
        parts.append(f"dropped {counts(status.drops)}")
    if status.recording:
        told = f"recording {status.recording['seconds']:.0f} s, {status.recording['bytes'] / 1e6:.1f} MB"
        parts.append(str(status.recording["error"] or told))
    return ", ".join(part for part in parts if part)


def account(status: LiveStatus) -> list[str]:
    """What there is to say of a run that is over, a line each: the run, and both cameras."""
    return [head(status), *map(camera_row, status.cameras.values())]


def camera_row(status: CameraStatus) -> str:
    """A camera in a line."""
    return f"{status.name:>4} {_of(status)}  {status.label}"


def counts(drops: Mapping[str, int]) -> str:
    """`3 (vis superseded), 2 (vis no partner)`."""
    return ", ".join(f"{number} ({reason})" for reason, number in sorted(drops.items()))


def _of(status: CameraStatus) -> str:
    size = f"{status.width}x{status.height}" if status.width else ""
    rate = _rate(status.fps) if status.state == "running" else ""
    lost = f"lost {counts(status.drops)}" if status.drops else ""
    state = f"{status.state}: {status.reason}" if status.reason else status.state
    again = f"opened {status.reconnects} times again" if status.reconnects else ""
    return ", ".join(part for part in (state, size, rate, again, lost) if part)


def _rate(fps: float) -> str:
    return "" if math.isnan(fps) else f"{fps:.1f} frames/s"
