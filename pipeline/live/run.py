"""A live run from its start to its end: the threads, who stops whom, and what is left when it is over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from engines.base import Fuser
from pipeline.align import Geometry
from pipeline.frames import Colour, Frame, InputError
from pipeline.live.composer import Composer, Made
from pipeline.live.drift import Drift, watch
from pipeline.live.eye import Eye, LiveCamera
from pipeline.live.line import TAKE, LiveLine
from pipeline.live.loss import OnLoss, Watch
from pipeline.live.match import Side
from pipeline.live.pairing import Pairer, Pairing
from pipeline.live.recorder import RecordSettings
from pipeline.live.status import LiveStatus, Panel
from pipeline.live.tape import Tape
from pipeline.overlay import draw, overlay_lines
from pipeline.thermal import Region

log = logging.getLogger(__name__)

TICK = 0.25
"""s between looks at the run from outside."""
LAST_FRAME = 0.5
"""s that the picture under way may take at the end: a slow network must not delay the end."""
LAST_CAMERA = 1.5
"""s that the cameras' threads may take: each camera closes within 1 s."""


class Viewers(Protocol):
    """Where pictures are shown, see `preview.hub.Hub`."""

    status: Callable[[], LiveStatus]
    colour: Colour

    def publish(self, frame: Frame, at: float, sides: tuple[Frame, Frame] | None = None) -> None:
        """Show a frame captured at `at` s; sides: the IR and the VIS view to lay beside it. Returns at once."""
        ...

    def observe(self, *, latency: float, skew: float, stages: Mapping[str, float]) -> None:
        """Count the times of a frame, s."""
        ...


@dataclass(frozen=True, slots=True)
class LiveJob:
    """What a live run does with its frames."""

    pairing: Pairing = field(default_factory=Pairing)
    geometry: Geometry = field(default_factory=Geometry)
    on_loss: OnLoss = "hold"
    region: Region | None = None
    """Of the IR picture, that sets its gain."""
    record: RecordSettings | None = None
    duration: float | None = None
    """s after which the run ends by itself."""
    steady: bool = False
    """Gain steps of IR and the grain of what rests are held back, see `engines.steady`."""


class LiveRun:
    """A run: `start`, then `tick` until it is over, then `close`. One thread, but `status` from any."""

    def __init__(
        self,
        job: LiveJob,
        cameras: Mapping[Side, LiveCamera],
        fuser: Fuser,
        panel: Panel,
        *,
        viewers: Viewers | None = None,
        say: Callable[[str], None] = log.warning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """say: takes a line that a person should know, from any thread; must not wait.

        Raises InputError if it cannot be recorded as asked.
        """
        self._cameras: dict[Side, LiveCamera] = {side: Eye(camera, side, say) for side, camera in cameras.items()}
        self._job, self._panel, self._viewers = job, panel, viewers
        self._say, self._clock = say, clock
        self._tape = Tape(job.record, say=say)
        self._drift = Drift(job.geometry, say)
        self._composer = Composer(
            fuser, job.geometry, on_loss=job.on_loss, region=job.region, clock=clock, on_aligned=self._drift.put,
            steady=job.steady,
        )  # fmt: skip
        loss = Watch(job.on_loss, clock(), say=say)
        self.line = LiveLine(
            self._cameras, Pairer(job.pairing), loss, self._composer, panel, self._show, backend=fuser.name, say=say,
            clock=clock,
        )  # fmt: skip
        self.line.recording, self.line.alignment = self._tape.status, self._drift.status
        self.status = self.line.status
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._pump, args=(side,), name=f"{side} frames", daemon=True)
                         for side in cameras]  # fmt: skip
        self._worker = threading.Thread(target=self._work, name="line", daemon=True)
        self._checker = threading.Thread(
            target=watch, args=(self._drift, self._over, clock), name="alignment", daemon=True
        )
        self._started = clock()
        self._ended: float | None = None
        self.is_left_behind = False
        """After `close`: the network is still at work on a picture, so the fuser must not be closed."""
        if viewers is not None:
            viewers.status = self.status

    def start(self) -> None:
        """Start the cameras and the line."""
        for camera in self._cameras.values():
            camera.start()
        for thread in (*self._threads, self._worker, self._checker):
            thread.start()

    def tick(self, timeout: float = TICK) -> bool:
        """Wait a little; False once the run is over. Raises the error that ended it."""
        is_over = self._over.wait(timeout)
        if self._error is not None:
            raise self._error
        for side, camera in self._cameras.items():
            status = camera.status()
            if status.state == "stopped" and not status.frames:
                raise InputError(f"{side} {status.label}: {status.reason or 'no frame in it'}; nothing to fuse")
        if any(thread.is_alive() for thread in self._threads):
            self._ended = None
        elif self._ended is None:
            self._ended = self._clock()
        is_done = self._ended is not None and self._clock() - self._ended >= LAST_FRAME  # the last pairs are out
        duration = self._job.duration
        return not (is_over or is_done or (duration is not None and self._clock() - self._started >= duration))

    def close(self) -> None:
        """End cameras, line and recording; within 3 s, whatever hangs. May be called twice."""
        self._over.set()
        if self._worker.ident is not None:
            self._worker.join(LAST_FRAME)
        self._tape.close()
        until = self._clock() + LAST_CAMERA
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - self._clock()))
        for thread in (self._worker, self._checker):
            if thread.ident is not None:
                thread.join(max(LAST_FRAME, until - self._clock()))
        self.is_left_behind = self._worker.is_alive()

    def _pump(self, side: Side) -> None:
        """Carry one camera's frames into the line as they come."""
        camera = self._cameras[side]
        try:
            while not self._over.is_set():
                frame = camera.take(TAKE)
                if frame is not None:
                    self.line.offer(side, frame)
                elif camera.status().state == "stopped":
                    return
        except BaseException as error:  # crosses over to the thread that runs the whole
            self._fail(error)
        finally:
            camera.close()

    def _work(self) -> None:
        try:
            self.line.run(self._over)
        except BaseException as error:  # crosses over to the thread that runs the whole
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._over.set()

    def _show(self, made: Made) -> None:
        """Hand a picture to the recording and to the viewers; neither makes the line wait."""
        if self._over.is_set():
            return
        assert self._composer.info is not None
        controls, now = self._panel.controls, self._clock()
        latency = now - made.match.leader.captured
        frame = made.frame
        if controls.overlay:
            frame = draw(frame, overlay_lines(time.time() - latency, self.line.meter.fps(now), latency))
        self._tape.put(frame, self._composer.info, is_on=controls.recording)
        if self._viewers is not None:
            self._viewers.colour = self._composer.info.colour
            self._viewers.publish(frame, made.match.leader.captured, made.sides)
            stages = {name: ms / 1000 for name, ms in made.stages_ms.items()}
            self._viewers.observe(latency=latency, skew=made.match.skew, stages=stages)
