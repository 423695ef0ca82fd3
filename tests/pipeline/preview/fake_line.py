"""A line without cameras: pairs in memory, fused by the brighter of both, published as a real line does."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from fractions import Fraction
from itertools import cycle

import numpy as np

from pipeline.align import Aligned
from pipeline.frames import Pair, StreamInfo
from pipeline.live.status import CameraStatus, LiveStatus, Panel
from pipeline.palettes import palette
from pipeline.preview.hub import Hub
from pipeline.synthetic import Scene, ir_frames, vis_frames
from pipeline.views import render

SCENE = Scene(320, 240, frames=50, shift=(0, 0), offset=0.0)


def pairs_of(scene=SCENE):
    """The scene's pairs, aligned."""
    return [
        Aligned(ir.luma, vis.luma, vis.chroma, Pair(ir, vis, 0.004))
        for ir, vis in zip(ir_frames(scene), vis_frames(scene), strict=True)
    ]


class FakePanel(Panel):
    """Refuses to record, as a run without --record does."""

    def change(self, **changes):
        if changes.get("recording"):
            raise ValueError("recording true: there is no --record to say where")
        return super().change(**changes)


class FakeLine:
    """Publishes its pairs over and over, from a thread between `start` and `close` or one by one by `step`."""

    def __init__(self, pairs=None, panel=None):
        self.hub = Hub(panel or Panel())
        self.hub.status = self.status
        self.pairs = pairs or pairs_of()
        self.count, self.began = 0, time.monotonic()
        self.cameras = {
            name: CameraStatus(name, label, "running", since=self.began, width=320, height=240, bits=bits, fps=fps)
            for name, label, bits, fps in (
                ("ir", "rtsp://***@10.0.0.12:554/thermal", 16, 25.0),
                ("vis", "rtsp://***@10.0.0.12:554/main", 8, 25.0),
            )
        }
        self._turn = cycle(self.pairs)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake line", daemon=True)

    def start(self):
        self._thread.start()

    def close(self):
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def step(self):
        aligned, controls = next(self._turn), self.hub.panel.controls
        info = StreamInfo("live", aligned.vis.shape[1], aligned.vis.shape[0], Fraction(1, 1_000_000))
        fused = np.maximum(aligned.ir, aligned.vis)

        def view(name):
            look = replace(controls, view=name, divider=None)
            return render(fused, aligned, look, palette(controls.palette), info)

        sides = None if controls.divider is None else (view("ir"), view("vis"))
        self.count += 1
        self.hub.publish(view(controls.view), time.monotonic(), sides)
        self.hub.observe(latency=0.06, skew=0.004, stages={"fuse": 0.03})

    def status(self):
        now, wave = time.monotonic(), math.sin(self.count / 20)
        cameras = {
            name: replace(camera, frames=self.count, last_frame=now - 0.02, drops={"queue full": self.count // 100})
            for name, camera in self.cameras.items()
        }
        return LiveStatus(
            cameras, pairs=self.count, drops={"no partner": self.count // 50}, fps=24.9 + 0.1 * wave, state="fusing",
            latency_ms={"p50": 62.0, "p95": 81.0 + 3 * wave, "last": 62 + 9 * wave},
            skew_ms={"last": 4 * wave, "p95": 4.0}, stages_ms={"fuse": {"p50": 31.2, "p95": 36.0}},
            backend="jcae on cpu", uptime=now - self.began, rss_bytes=312_000_000,
        )  # fmt: skip

    def _run(self):
        while not self._over.wait(0.04):
            self.step()
