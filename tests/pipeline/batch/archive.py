"""Small archives, a fuser that remembers, an executor without processes, and what one run in one piece makes."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from engines.base import SerialFlight, StreamState
from pipeline.batch.chunk import NEVER, Tap, framehash_of
from pipeline.batch.driver import Driver, Outcome
from pipeline.batch.ledger import Ledger
from pipeline.batch.recipe import Recipe, is_steady, recipe_of
from pipeline.batch.task import Task
from pipeline.batch.work import Work, Worker, WorkError
from pipeline.job import open_pair, output_info, run_job
from pipeline.palettes import palette
from pipeline.stream import Options, run
from pipeline.sync import anchored
from tests.pipeline.media import gray, planar, write_video

RATE = 10
GOP_IR, GOP_VIS = 7, 5
BASE = Fraction(1, 1000)


class Moody:
    """Fuses by mean, but each of 64 columns sticks to maximum or mean until its level has left a band: as the rules of
    a stream do, and with a longer memory."""

    name, info = "moody", None

    def __init__(self, band=40):
        self.calls, self._band = 0, band

    def fuse_next(self, ir, vis, state):
        self.calls += 1
        level = np.abs(ir.astype(int) - vis).mean(0)
        before = level > 60 if state is None else state.averaged
        averaged = np.where(before, level > 60 - self._band, level > 60 + self._band)
        mean = ((ir.astype(np.uint16) + vis) // 2).astype(np.uint8)
        return np.where(averaged, mean, np.maximum(ir, vis)), StreamState(averaged)

    def start(self, *, follows):
        return SerialFlight(self, follows=follows)

    def close(self):
        pass


def scene(count, seed=0, height=48, width=64):
    """Luma (H, W) of a wandering pattern; columns brighten and darken, each at a pace of its own.

    Of the first seed all of it brightens and darkens in steps, as by a camera's own gain.
    """
    rng = np.random.default_rng(seed)
    phase, pace = rng.random(width) * 6.3, rng.uniform(0.002, 0.1, width)
    texture = rng.integers(0, 30, (height, width))
    for k in range(count):
        wave = 110 + 80 * np.sin(phase + pace * k)
        yield np.clip(np.roll(texture, k, 0) + wave + (k // 23 % 2) * 25 * (seed == 1), 16, 235).astype(np.uint8)


def write_pair(folder, name="a", count=80, *, suffix=".mp4", pts=None, codec="libx264", deep=False, frames_of_b=0):
    """`ir/NAME` and `vis/NAME`, 10 frames/s or at pts ms, key frames every 7 and 5 frames."""
    for side, seed, gop in (("ir", 1, GOP_IR), ("vis", 2, GOP_VIS)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        options = {"g": str(gop), "sc_threshold": "0", "bf": str(frames_of_b), "preset": "ultrafast", "qp": "18"}
        pictures = map(planar, scene(count, seed))
        path = folder / side / f"{name}{suffix}"
        if deep and side == "ir":
            counts = (30000 + 40 * luma.astype(np.uint16) + 9 * k for k, luma in enumerate(scene(count, seed)))
            path, pictures = path.with_suffix(".mkv"), (gray(luma, "gray16le") for luma in counts)
            write_video(path, pictures, codec="ffv1", rate=RATE, options={"g": str(gop)})
            continue
        timed = {} if pts is None else {"pts": pts, "time_base": BASE}
        write_video(
            path, pictures, codec=codec, rate=RATE, options=options, metadata={"title": f"{side} {name}"}, **timed
        )
    return folder


def task_of(folder, out, name="a", *, suffix=".mp4", ir_suffix=None, **options):
    """The task for a pair of `write_pair`."""
    ir, vis = folder / "ir" / f"{name}{ir_suffix or suffix}", folder / "vis" / f"{name}{suffix}"
    return Task(str(ir), str(vis), str(out), options={"steady": "false", **options})


def in_one_piece(task, fuser, folder) -> tuple[str, int]:
    """Framehash and number of frames of a run from start to end, by the classes of the command `fuse`."""
    recipe: Recipe = recipe_of(task, threads=1)
    job = recipe.job
    ir, vis, _ = open_pair(job)
    with closing(ir), closing(vis):
        info = output_info(job, ir.info, vis.info)
        one = folder / f"one{job.out.suffix}"
        one.unlink(missing_ok=True)
        tap = Tap(one, info, job.settings, NEVER)
        geometry = replace(job.geometry, size=(info.width, info.height))
        policy, colours = anchored(job.policy, ir.info), palette(job.palette)
        options = Options(policy, geometry, job.tint, gain=job.gain, choice=job.choice, palette=colours, info=info,
                          steady=is_steady(job))  # fmt: skip
        run(ir, vis, fuser, tap, options)
    return framehash_of([tap.digests.hex()]), len(tap.pts)


def fuse_whole(task: Task, fuser, out: Path) -> Path:
    """What the command `fuse` writes."""
    run_job(replace(recipe_of(task, threads=1).job, out=out), fuser)
    return out


class Inline:
    """An executor that does work when it is handed over; `spoil(work, count)` may raise first."""

    def __init__(self, slots=1, spoil=lambda work, count: None):
        self.slots, self._spoil, self.closed = slots, spoil, False
        self.done: list[Work] = []
        self._worker = Worker(1)

    def submit(self, work):
        outcome: Future[dict] = Future()
        self.done.append(work)
        try:
            self._spoil(work, len(self.done))
            outcome.set_result(self._worker.do(work))
        except WorkError as error:
            outcome.set_exception(error)
        return outcome

    def close(self):
        self.closed = True


def run_batch(out: Path, tasks, executor, *, chunk=1.0, **more) -> tuple[Outcome, list, list]:
    """A run, and afterwards the ledger's tasks and chunks."""
    with Ledger(out) as ledger:
        outcome = Driver(ledger, executor, chunk=chunk, **more).run(tasks)
        return outcome, ledger.tasks(), ledger.rows()
