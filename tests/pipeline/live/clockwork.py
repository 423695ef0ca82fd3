"""Two cameras and a clock on paper: frames with the times they are taken and seen, and a pairer fed with them."""

import heapq
import random
from itertools import count

import numpy as np

from engines.base import SerialFlight
from pipeline.frames import Frame
from pipeline.live.status import CameraStatus, LiveFrame

PICTURE = np.zeros((4, 4), np.uint8)


def live_frame(captured, arrived=None, index=0, luma=PICTURE):
    frame = Frame(luma, None, round(captured * 1e6), captured, index)
    return LiveFrame(frame, captured, captured if arrived is None else arrived)


def camera(rate, seconds, *, jitter=0.0, loss=0.0, lag=0.0, start=0.0, seed=0):
    """(arrival, captured) of a camera's frames: jitter s either way without changing the order, a share lost."""
    chance, frames, last = random.Random(seed), [], float("-inf")
    for k in range(round(rate * seconds)):
        captured = max(start + k / rate + chance.uniform(-jitter, jitter), last + 0.001)
        last = captured
        if chance.random() >= loss:
            frames.append((captured + lag, captured))
    return frames


def play(pairer, ir, vis, *, busy=0.0, on_time=lambda now: None):
    """Feed both cameras' frames as they arrive; `busy` s pass after each match before the next is asked for.

    Returns [(s when it was handed out, match)].
    """
    order, matches, free, asked = count(), [], 0.0, None
    events = [(arrival, next(order), side, captured) for side, frames in (("ir", ir), ("vis", vis))
              for arrival, captured in frames]  # fmt: skip
    heapq.heapify(events)
    while events:
        now, _, side, captured = heapq.heappop(events)
        on_time(now)
        if side in ("ir", "vis"):
            pairer.offer(side, live_frame(captured, now), now)
        if now < free:
            continue
        while (match := pairer.poll(now)) is not None:
            matches.append((now, match))
            if busy:
                free = now + busy
                heapq.heappush(events, (free, next(order), "free", 0.0))
                break
        if pairer.wake not in (None, asked):
            asked = pairer.wake
            heapq.heappush(events, (max(pairer.wake, now), next(order), "wake", 0.0))
    return matches


class Stage:
    """A line on paper: cameras' frames are offered when the clock passes their arrival, also while a fuser works."""

    def __init__(self, ir=(), vis=(), *, busy=0.0, on_loss="hold", controls=None, geometry=None, size=(6, 8),
                 **pairing):  # fmt: skip
        from pipeline.align import Geometry
        from pipeline.live.composer import Composer
        from pipeline.live.line import LiveLine
        from pipeline.live.loss import Watch
        from pipeline.live.pairing import Pairer, Pairing
        from pipeline.live.status import Panel

        self.now, self.busy, self.made, self.said = 0.0, busy, [], []
        self._order = count()
        self._events = []
        for side, frames in (("ir", ir), ("vis", vis)):
            self.add(side, frames, size=size)
        self.panel = Panel(controls)
        self.fuser = SlowMean(self)
        self.composer = Composer(self.fuser, geometry or Geometry(), on_loss=on_loss, clock=lambda: self.now)
        self.pairer = Pairer(Pairing(**pairing))
        cameras = {"ir": StubCamera("ir", self), "vis": StubCamera("vis", self)}
        self.line = LiveLine(cameras, self.pairer, Watch(on_loss, 0.0, say=self.said.append), self.composer, self.panel,
                             lambda made: self.made.append((self.now, made)), say=self.said.append,
                             clock=lambda: self.now)  # fmt: skip

    def add(self, side, frames, *, size=(6, 8), chroma=False, dtype=np.uint8):
        """Frames (arrival, captured) of a camera; their luma is 60 for IR, 180 for VIS."""
        value = 60 if side == "ir" else 180
        for k, (arrival, captured) in enumerate(frames):
            planes = (np.full(((size[0] + 1) // 2, (size[1] + 1) // 2), 90 + 60 * u, np.uint8) for u in (0, 1))
            frame = Frame(np.full(size, value, dtype), tuple(planes) if chroma else None, 0, captured, k)
            heapq.heappush(self._events, (arrival, next(self._order), side, LiveFrame(frame, captured, arrival)))

    def pass_time(self, seconds):
        """Let so much time go by; frames arrive meanwhile."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, side, frame = heapq.heappop(self._events)
            self.line.offer(side, frame)
        self.now = end

    def play(self, until):
        """Run the line as its thread would, until this time."""
        while self.now < until:
            if self.line.step():
                continue
            soonest = [until, self.now + 0.1]
            if self._events:
                soonest.append(self._events[0][0])
            if self.pairer.wake is not None:
                soonest.append(max(self.pairer.wake, self.now + 1e-6))
            self.pass_time(min(soonest) - self.now)

    @property
    def times(self):
        return [made.frame.pts for _, made in self.made]


class SlowMean:
    """The mean of both pictures, after `busy` s of the stage's time."""

    name, info, fails_at = "slow mean", None, None

    def __init__(self, stage):
        self._stage, self.calls = stage, 0

    def fuse_next(self, ir, vis, state):
        if self.calls == self.fails_at:
            raise RuntimeError("device lost")
        self.calls += 1
        self._stage.pass_time(self._stage.busy)
        return ((ir.astype(np.uint16) + vis + 1) // 2).astype(np.uint8), None

    def start(self, *, follows):
        return SerialFlight(self, follows=follows)

    def close(self):
        pass


class StubCamera:
    """Has a status and nothing else."""

    def __init__(self, name, stage):
        self._name, self._stage = name, stage

    def status(self):
        return CameraStatus(self._name, f"rtsp://{self._name}.example", "running")
