"""The newest pictures of a camera, timed, with an exact account of those that nobody took."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from typing import Any

from pipeline.frames import Frame
from pipeline.live.clock import ClockMode, SourceClock
from pipeline.live.shots import OnOdd, Shot
from pipeline.live.status import LiveFrame

LENGTH = 2
"""Pictures that may wait: a third would be latency."""
WINDOW = 5.0
"""s over which the rate is measured."""
POLL = 0.1
"""s between looks whether a file that waits for room is to be closed."""
OVERTAKEN = "overtaken"
"""Why a picture was dropped: newer ones came before it was taken."""
MICRO = 1_000_000

_DROPS = {"order": "out of order", "undecodable": "undecodable"}


class Newest:
    """A short queue in which new pictures push out old ones. Any thread may call anything; one begins and puts."""

    def __init__(self, mode: ClockMode, on_odd: OnOdd, *, may_drop: bool = True) -> None:
        """mode: of the clock. on_odd: told what is odd about time stamps. may_drop: else `put` waits for room."""
        self._mode, self._may_drop = mode, may_drop
        self._clock = SourceClock(mode, on_odd)
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[LiveFrame] = deque()
        self._is_closed = False
        self._frames, self._pts = 0, -(2**63)
        self._drops: Counter[str] = Counter()
        self._arrivals: deque[float] = deque(maxlen=512)
        self._shape = (0, 0, 0)  # width, height, bits

    def begin(self, *, is_timed: bool) -> None:
        """A new connection: time stamps start anew; is_timed: whether they are the source's own."""
        self._clock.mode = self._mode if is_timed else "arrival"
        self._clock.restart()

    def put(self, shot: Shot) -> None:
        """Time a picture and add it, in place of the oldest if there is no room."""
        # Not under the lock: the clock may tell of something odd, to who knows whom.
        captured = shot.taken if shot.taken is not None else self._clock.captured(shot.pts, shot.arrived)
        if captured is None:
            return
        with self._changed:
            while len(self._waiting) >= LENGTH:
                if self._is_closed:
                    return
                if self._may_drop:
                    self._waiting.popleft()
                    self._drops[OVERTAKEN] += 1
                else:
                    self._changed.wait(POLL)
            # Rounding must not make two of them equal.
            self._pts = max(round(captured * MICRO), self._pts + 1)
            captured = self._pts / MICRO
            frame = Frame(shot.luma, shot.chroma, self._pts, captured, self._frames)
            self._waiting.append(LiveFrame(frame, captured, shot.arrived, shot.colour))
            self._frames += 1
            self._arrivals.append(shot.arrived)
            height, width = shot.luma.shape
            self._shape = (width, height, 8 * shot.luma.itemsize)
            self._changed.notify_all()

    def take(self, timeout: float) -> LiveFrame | None:
        """The oldest that waits; None after some s without one, or when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed, timeout)
            if not self._waiting:
                return None
            frame = self._waiting.popleft()
            self._changed.notify_all()
            return frame

    def count(self, kind: str) -> None:
        """Count something odd that cost a picture."""
        if kind in _DROPS:
            with self._changed:
                self._drops[_DROPS[kind]] += 1

    def account(self, now: float) -> dict[str, Any]:
        """The fields of a CameraStatus that are known here."""
        with self._changed:
            recent = [arrival for arrival in self._arrivals if now - arrival <= WINDOW]
            span = recent[-1] - recent[0] if recent else 0.0
            width, height, bits = self._shape
            return {
                "frames": self._frames,
                "drops": dict(self._drops),
                "fps": (len(recent) - 1) / span if span > 0 else math.nan,
                "last_frame": self._arrivals[-1] if self._arrivals else None,
                "width": width,
                "height": height,
                "bits": bits,
            }

    def close(self) -> None:
        """Let whoever waits go. What waits may still be taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
