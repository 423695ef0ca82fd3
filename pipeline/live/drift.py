"""Whether two live cameras still look where they looked: measured beside the run every few seconds, told, never mended.

A mount that gives way moves all that one camera sees by the same few pixels. Single pictures may say so by chance;
several of them, seconds apart, do not.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from calibration.check import Correlation, Residual, correlate, pooled, residual
from pipeline.align import Aligned, Geometry, enlarged
from pipeline.alignment import Glance, is_told

log = logging.getLogger(__name__)

PERIOD = 3.0
"""s between looks: 7 ms of a core each for VGA, on a thread of its own."""
POOLED = 5
"""Looks taken together: 15 s."""
PERSISTENT = 3
"""Looks in a row beyond the limit after which it is told, and within it after which that is taken back."""
LIMIT_SHARE, LIMIT = 0.012, 3.0
"""Residual that is drift: of the longer side, and px at least. Clips of aligned cameras have 0.2 %, older
sets up to 0.9."""
REPEAT = 600.0
"""s before a drift that was told and is still there is told again."""


class Drift:
    """Takes pairs as they are laid over each other and measures the newest. `put` from one thread, `look` from one."""

    def __init__(self, geometry: Geometry, say: Callable[[str], None] = log.warning) -> None:
        """say: told a line that a person should know; must not wait."""
        self._say, self._is_told = say, is_told(geometry)
        self._glance = None if self._is_told else Glance(say, apart=1)
        self._newest: Aligned | None = None
        self._nudge = (0.0, 0.0)
        self._lock = threading.Lock()  # held for an assignment
        self._found: deque[Correlation] = deque(maxlen=POOLED)
        self._beyond, self._within = 0, 0
        self._since = self._told_at = -np.inf
        self.residual: Residual | None = None
        """As last measured, over the last looks; None before the first, and after a nudge."""

    def put(self, aligned: Aligned, nudge: tuple[float, float]) -> None:
        """The newest pair. nudge: what a viewer has moved infrared by; another one begins anew."""
        with self._lock:
            if nudge != self._nudge:
                self._found.clear()
                self._beyond, self.residual, self._nudge = 0, None, nudge
            self._newest = aligned

    def look(self, now: float) -> None:
        """Measure the newest pair, if one has come since the last look. now: s monotonic."""
        with self._lock:
            aligned, self._newest, nudge = self._newest, None, self._nudge
        if aligned is None:
            return
        if self._glance is not None and nudge == (0.0, 0.0):
            self._glance.look(aligned)
        aligned = enlarged(aligned)  # what is told is in px of the output
        found = correlate(np.asarray(aligned.ir), np.asarray(aligned.vis), aligned.seen)
        with self._lock:
            if nudge != self._nudge:  # changed meanwhile: this pair was of before
                return
            if self._found and self._found[-1].size != found.size:
                self._found.clear()
            self._found.append(found)
            self.residual = measured = residual(pooled(list(self._found)))
        if self._is_told and measured.whole.is_sure:
            self._judge(measured, max(LIMIT, LIMIT_SHARE * max(found.size)), now)

    def status(self) -> dict[str, float] | None:
        """For `LiveStatus.alignment`: px, nothing before the pictures can be judged. Any thread."""
        measured = self.residual
        if measured is None or not measured.whole.is_sure:
            return None
        whole = measured.whole
        return {"residual_px": whole.length, "dx_px": whole.dx, "dy_px": whole.dy, "confidence": whole.confidence,
                "patches": len(measured.sure)}  # fmt: skip

    def _judge(self, measured: Residual, limit: float, now: float) -> None:
        """Tell a drift that persists, once in a while, and its end."""
        whole = measured.whole
        if whole.length <= limit:
            self._within, self._beyond = self._within + 1, 0
            if self._within == PERSISTENT and np.isfinite(self._told_at):
                self._told_at = -np.inf
                self._say(f"the pictures lie together again, within {limit:.0f} px")
            return
        self._within, self._beyond = 0, self._beyond + 1
        if self._beyond >= PERSISTENT and now - self._told_at >= REPEAT:
            self._told_at = now
            self._say(
                f"alignment: infrared lies {_words(whole.dx, whole.dy)} of where it should, for "
                f"{self._beyond * PERIOD:.0f} s now: has a camera moved? calibrate again, "
                f"or shift it by {-whole.dx:.0f},{-whole.dy:.0f}"
            )


def watch(drift: Drift, over: threading.Event, clock: Callable[[], float]) -> None:
    """Look every `PERIOD` s until `over` is set. An error ends the looking, not the run."""
    try:
        while not over.wait(PERIOD):
            drift.look(clock())
    except Exception as error:
        log.warning("alignment is not checked any more: %s: %s", type(error).__name__, error)


def _words(dx: float, dy: float) -> str:
    """E.g. `7 px right and 2 px below`."""
    return f"{abs(dx):.0f} px {'right' if dx > 0 else 'left'} and {abs(dy):.0f} px {'below' if dy > 0 else 'above'}"
