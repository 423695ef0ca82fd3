"""The live line: two cameras' frames in, pictures out, whatever happens to either camera."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping

from pipeline.live.composer import Composer, Made
from pipeline.live.eye import LiveCamera
from pipeline.live.loss import SIDES, Silence, Watch
from pipeline.live.match import Side
from pipeline.live.meter import Meter
from pipeline.live.pairing import Pairer
from pipeline.live.status import CameraStatus, LiveFrame, LiveStatus, Panel

log = logging.getLogger(__name__)

TAKE = 0.2
"""s that a pump waits for a frame before it looks whether the run is over."""
BUSY = 2.0
"""s at work on one picture after which a person is told: meanwhile nothing else can be."""
WAIT = 0.1
"""s that the line waits at most before it looks around."""


class LiveLine:
    """Pairs, composes and hands out. `offer` and `status` from any thread, `step` from one."""

    def __init__(
        self,
        cameras: Mapping[Side, LiveCamera],
        pairer: Pairer,
        watch: Watch,
        composer: Composer,
        panel: Panel,
        show: Callable[[Made], None],
        *,
        backend: str = "",
        say: Callable[[str], None] = log.warning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """show: takes each picture, without waiting. say: told what a person should know, one line."""
        self.meter = Meter()
        self.recording: Callable[[], dict[str, object] | None] = lambda: None
        """What there is to tell of the recording; set by who opens it."""
        self.alignment: Callable[[], dict[str, float] | None] = lambda: None
        """How well the pictures lie on each other; set by who measures it."""
        self._cameras, self._pairer, self._watch, self._composer = cameras, pairer, watch, composer
        self._panel, self._show, self._backend, self._say, self._clock = panel, show, backend, say, clock
        self._changed = threading.Condition()
        self._offers = 0
        self._started = clock()
        self._silence = Silence(self._started)
        self.beat = self._started
        """s monotonic, when the line last came round: how a watchdog sees that it is not stuck."""

    def offer(self, side: Side, frame: LiveFrame) -> None:
        """A frame of a camera has come."""
        with self._changed:
            now = self._clock()
            self._watch.seen(side, now)
            self._pairer.lost = self._watch.lost
            self._pairer.offer(side, frame, now)
            self._offers += 1
            self._changed.notify()

    def step(self) -> bool:
        """Do what is to be done now; False if there was nothing. Raises CameraLostError if the run is to stop then."""
        match = None
        with self._changed:
            now = self.beat = self._clock()
            self._look(now)
            if self._composer.under_way < self._composer.depth:
                match = self._pairer.poll(now)
        if match is not None:
            self._composer.put(match, self._panel.controls)
            if self._composer.under_way < self._composer.depth:
                return True
        elif not self._composer.under_way:
            return False
        self._hand_out(self._composer.get())
        return True

    def run(self, over: threading.Event) -> None:
        """Work until `over` is set."""
        while not over.is_set():
            offers = self._offers
            if self.step():
                continue
            with self._changed:
                if self._offers == offers:  # else a frame came since the step looked, and its notice is gone
                    now, wake = self._clock(), self._pairer.wake
                    self._changed.wait(WAIT if wake is None else min(max(wake - now, 0.0), WAIT))

    def status(self) -> LiveStatus:
        """The run as it stands."""
        now, meter = self._clock(), self.meter
        cameras: dict[str, CameraStatus] = {side: camera.status() for side, camera in self._cameras.items()}
        tally = self._pairer.tally
        stages = {name: {key: summary[key] for key in ("p50", "p95")} for name in ("align", "fuse", "compose", "show")
                  if (summary := meter.summary(name))}  # fmt: skip
        skew = meter.summary("skew")
        return LiveStatus(
            cameras,
            pairs=tally.matches["paired"],
            drops=dict(tally.drops),
            fps=meter.fps(now),
            latency_ms=meter.summary("latency"),
            skew_ms={key: skew[key] for key in ("last", "p95") if key in skew},
            stages_ms=stages,
            state=self._state(),
            message=self._silence.line if now - self.beat < BUSY else _too_slow(now - self.beat),
            recording=self.recording(),
            alignment=self.alignment(),
            backend=self._backend,
            steady=self._composer.is_steady,
            uptime=now - self._started,
            rss_bytes=resident_bytes(),
        )

    def _look(self, now: float) -> None:
        """Find out who is lost, and say why there is no pair."""
        self._watch.look(now, self._pairer.age_limit)
        self._pairer.lost = self._watch.lost
        line = self._silence.look(now, self._pairer, self._watch, lambda side: self._cameras[side].status())
        if line is not None:
            self._say(line)

    def _hand_out(self, made: Made) -> None:
        began = self._clock()
        self._show(made)
        now = self._clock()
        values = {"latency": 1000 * (now - made.match.leader.captured), "show": 1000 * (now - began)}
        self.meter.count(now, {**made.stages_ms, **values, "skew": 1000 * made.match.skew})

    def _state(self) -> str:
        lost = self._watch.lost
        if lost:
            return "both lost" if len(lost) == len(SIDES) else f"{next(iter(lost))} lost"
        if not self.meter.frames:
            return "starting"
        return "waiting" if self._silence.line else "fusing"


def _too_slow(seconds: float) -> str:
    return (
        f"at work on one picture for {seconds:.1f} s: too slow to be live; "
        "choose a smaller --work-height, --model auto, a faster --backend, or a view without the network"
    )


def resident_bytes() -> int:
    """Memory of this process, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
