"""Sources, sinks and fusers in memory."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from engines.base import SerialFlight
from pipeline.frames import Frame, StreamInfo


class FakeSource:
    """Frames of one colour per index; may raise at one of them."""

    def __init__(self, name="vis", count=10, rate=25, fails_at=None, size=(6, 8)):
        self.info = StreamInfo(name, size[1], size[0], Fraction(1, rate), rate=Fraction(rate), frames=count)
        self._count, self._fails_at, self._size = count, fails_at, size
        self.made = 0
        self.closed = False

    def frames(self) -> Iterator[Frame]:
        for k in range(self._count):
            if k == self._fails_at:
                raise RuntimeError(f"{self.info.name} broke at {k}")
            self.made += 1
            yield Frame(np.full(self._size, k % 256, np.uint8), None, k, float(k * self.info.time_base), k)

    def complaints(self):
        return [f"{self.info.name}: as ever"]

    def remarks(self):
        return []

    def close(self):
        self.closed = True


class FakeSink:
    """Keeps what is written; may raise on writing or on closing, or wait before it takes a frame."""

    def __init__(self, fails_at=None, fails_on_close=False, gate=None):
        self.frames, self.closed = [], 0
        self._fails_at, self._fails_on_close, self._gate = fails_at, fails_on_close, gate

    def write(self, frame):
        if self._gate is not None:
            self._gate.wait(5)
        if len(self.frames) == self._fails_at:
            raise OSError("no space left")
        self.frames.append(frame)

    def notes(self):
        return ["a note"]

    def close(self):
        self.closed += 1
        if self._fails_on_close:
            raise OSError("cannot finish")


class VisFuser:
    """The identity on VIS; counts its calls, keeps the states it was given, may raise."""

    name, info = "identity", None

    def __init__(self, fails_at=None):
        self.calls, self.states, self.closed, self._fails_at = 0, [], False, fails_at

    def fuse(self, ir, vis):
        if self.calls == self._fails_at:
            raise RuntimeError("fuser broke")
        self.calls += 1
        return vis.copy()

    def fuse_next(self, ir, vis, state):
        self.states.append(state)
        return self.fuse(ir, vis), self.calls

    def start(self, *, follows):
        return SerialFlight(self, follows=follows)

    def close(self):
        self.closed = True
