"""A camera that sends nothing: when that is so, what is shown meanwhile, and what is said about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from engines.base import CrotalusError
from pipeline.live.match import Match, Side, other
from pipeline.live.pairing import Pairer
from pipeline.live.status import CameraStatus

OnLoss = Literal["hold", "passthrough", "blank", "stop"]
Shown = Literal["both", "ir", "vis", "blank"]

HOLD_LIMIT = 10.0
"""s for which `hold` shows the last frame of a lost camera: an older one would show people where they are no more."""
START_GRACE = 5.0
"""s that a camera has for its first frame before it counts as lost: the time a connection may take to open."""
SILENCE = 2.0
"""s without a pair after which it is said why."""
REPEAT = 60.0
"""s after which it is said again."""
SIDES: tuple[Side, Side] = ("ir", "vis")

_log = logging.getLogger(__name__)


class CameraLostError(CrotalusError, ConnectionError):
    """A camera sends nothing, and the run was to stop then; what was recorded is kept."""


def shown(match: Match, on_loss: OnLoss) -> Shown:
    """Which pictures the output is made of."""
    if match.kind != "alone" or on_loss == "stop":
        return "both" if match.has_both else match.pace
    if on_loss == "blank":
        return "blank"
    is_fresh = abs(match.skew) <= HOLD_LIMIT  # not so for nan: there is nothing to hold
    return "both" if on_loss == "hold" and is_fresh else match.pace


class Watch:
    """Knows which cameras are lost. One thread; `now` in s monotonic."""

    def __init__(self, on_loss: OnLoss, started: float, *, say: Callable[[str], None] = _log.warning) -> None:
        """say: told each loss and each return, one line."""
        self.lost: frozenset[Side] = frozenset()
        """Cameras that send nothing."""
        self.last: dict[Side, float | None] = {"ir": None, "vis": None}
        """s, when each sent its last frame."""
        self._on_loss, self._started, self._say = on_loss, started, say
        self._since: dict[Side, float] = {}

    def seen(self, side: Side, now: float) -> None:
        """A frame came."""
        self.last[side] = now
        if side in self.lost:
            self.lost -= {side}
            self._say(f"{side} is back after {now - self._since.pop(side):.1f} s")

    def look(self, now: float, limit: float) -> None:
        """Find out who is lost. limit: s without a frame. Raises CameraLostError if the run is to stop then."""
        for side in SIDES:
            last = self.last[side]
            silent = now - (self._started if last is None else last)
            if side in self.lost or silent <= (START_GRACE if last is None else limit):
                continue
            self.lost |= {side}
            self._since[side] = now - silent
            what = f"{side} lost: no frame for {silent:.1f} s" if last is not None else f"{side}: no frame at all yet"
            if self._on_loss == "stop":
                raise CameraLostError(f"{what}; check the camera, or choose another --on-loss to go on without it")
            self._say(f"{what}; {self._consequence(side)}")

    def _consequence(self, side: Side) -> str:
        if other(side) in self.lost:
            return "nothing to show until one of the two is back"
        if self._on_loss == "blank":
            return f"black pictures at the pace of {other(side)}"
        if self._on_loss == "hold" and self.last[side] is not None:
            return f"its last frame is held for {HOLD_LIMIT:.0f} s, then {other(side)} is shown alone"
        return f"{other(side)} is shown alone"


class Silence:
    """Says why there is no pair, after `SILENCE` s and then every `REPEAT` s."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._told: float | None = None
        self.line = ""
        """What there is to say now; empty while pairs come."""

    def look(self, now: float, pairer: Pairer, watch: Watch, camera: Callable[[Side], CameraStatus]) -> str | None:
        """The line, if it is time to say it."""
        silent = now - max(pairer.paired, self._started)
        if silent < SILENCE and not watch.lost:
            self._told, self.line = None, ""
            return None
        self.line = f"no pair for {silent:.1f} s: {_reason(now, pairer, watch, camera)}"
        if silent < SILENCE:  # in the status already; the loss itself has been told
            return None
        if self._told is not None and now - self._told < REPEAT:
            return None
        self._told = now
        return self.line


def _reason(now: float, pairer: Pairer, watch: Watch, camera: Callable[[Side], CameraStatus]) -> str:
    """Which side is missing and by how much."""
    parts = []
    for side in SIDES:
        last = watch.last[side]
        if last is not None and now - last < SILENCE / 2 and side not in watch.lost:
            continue
        status = camera(side)
        state = f" ({status.state}{f': {status.reason}' if status.reason else ''})"
        missing = (
            f"{side} has sent no frame yet" if last is None else (f"{side} sent its last frame {now - last:.1f} s ago")
        )
        parts.append(missing + state)
    if parts:
        return "; ".join(parts)
    apart = f"the nearest frames are {pairer.nearest:.3f} s apart, the tolerance is {pairer.tolerance:.3f} s"
    return f"{apart}; raise --tolerance, or set --offset to the delay between the cameras"
