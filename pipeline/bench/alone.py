"""Each part of the pipeline without the others: decoding both inputs, the middle of the line, encoding what it made.

The middle is what one thread does between the others: it pairs, aligns, fuses and composes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, count, cycle, islice

from engines.base import Fuser
from pipeline.align import Aligned, Geometry, align
from pipeline.bench.timed import WARM_UP
from pipeline.frames import Frame, Pair, StreamInfo
from pipeline.job import Job, open_pair, output_info
from pipeline.sink import open_sink
from pipeline.stats import Stats
from pipeline.stream import Options, fused_frames
from pipeline.sync import SyncReport, default_tolerance, pair_frames
from pipeline.thermal import Agc

HELD = 16
"""Pairs kept in memory where nothing depends on what follows what."""
HELD_BYTES = 200 << 20
"""That pairs in memory take at most: 227 of 640x480 with colour in both, 33 of 1920x1080."""
DEFAULT_RATE = Fraction(25)
Cost = tuple[float, float]
"""Wall and CPU time, ms a pair."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The first pairs of the inputs, and the stream that comes out of them."""

    pairs: tuple[Pair, ...]
    info: StreamInfo
    geometry: Geometry

    @property
    def aligned(self) -> tuple[Aligned, ...]:
        """The first `HELD` pairs on one grid, laid together anew for each who asks."""
        return tuple(align(pair, self.geometry, Agc(), Agc()) for pair in self.pairs[:HELD])

    @property
    def step(self) -> int:
        """Units of the output's time base from one frame to the next."""
        return round(1 / (self.info.time_base * (self.info.rate or DEFAULT_RATE)))


def pictures_of(job: Job, most: int = HELD) -> Pictures:
    """Decode the first pairs of a job, as far as `HELD_BYTES` hold them."""
    ir, vis, _ = open_pair(job)
    with closing(ir), closing(vis):
        info = output_info(job, ir.info, vis.info)
        geometry = replace(job.geometry, size=(info.width, info.height))
        tolerance = default_tolerance(ir.info, vis.info)
        pairs: list[Pair] = []
        for pair in islice(pair_frames(ir.frames(), vis.frames(), job.policy, tolerance, SyncReport()), most):
            pairs.append(pair)
            if len(pairs) >= HELD and len(pairs) * _bytes(pair) > HELD_BYTES:
                break
        return Pictures(tuple(pairs), info, geometry)


def decoding(job: Job, pairs: int, stop: threading.Event) -> Cost:
    """What decoding so many frames of both inputs at once costs, from the first frame of each on."""
    with _readers(job, pairs, stop) as readers:
        return _timed(readers, pairs)


def fusing(
    job: Job, fuser: Fuser, pictures: Pictures, pairs: int, seconds: float, wanted: int = 0
) -> tuple[Cost, list[Frame]]:
    """What the middle of the line costs on pictures in memory, and the first `wanted` frames that come out of it.

    Timed are at most so many pairs, and so long, after the first: one at the least.
    """
    made, frames = middle(job, fuser, pictures), []
    frames.append(next(made))
    began, worked, done = time.perf_counter(), time.process_time(), 0
    for frame in islice(made, max(pairs, 1)):
        done += 1
        if len(frames) < wanted:
            frames.append(frame)
        if time.perf_counter() - began > seconds:
            break
    cost = _cost(began, worked, done)
    frames += islice(made, max(0, wanted - len(frames)))
    return cost, frames[:wanted]


def middle(job: Job, fuser: Fuser, pictures: Pictures) -> Iterator[Frame]:
    """The pairs in memory through the middle of the line, again and again."""
    options = Options(
        job.policy, pictures.geometry, job.tint, gain=job.gain, choice=job.choice, info=pictures.info,
        steady=job.steady is not False,
    )  # fmt: skip
    ir, vis = ([getattr(pair, side) for pair in pictures.pairs] for side in ("ir", "vis"))
    tolerance = float(1 / (pictures.info.rate or DEFAULT_RATE)) / 2
    return fused_frames(_endless(ir, pictures), _endless(vis, pictures), fuser, options, tolerance,
                        SyncReport(), Stats())  # fmt: skip


def encoding(job: Job, pictures: Pictures, frames: Sequence[Frame], pairs: int, stop: threading.Event) -> Cost:
    """What encoding so many frames costs after `WARM_UP` of them, until the file is closed.

    Where there are more to be encoded than in memory, they come forward and backward in turn.
    """
    with _writer(job, pictures, frames, pairs, stop) as writer:
        return _timed([writer], pairs)


def at_once(
    job: Job, fuser: Fuser, pictures: Pictures, frames: Sequence[Frame], pairs: int, stop: threading.Event
) -> Cost:
    """What all three cost side by side, each for itself on so many pairs: nothing is handed over or waited for.

    What the pipeline takes more than this is its own; what this takes more than each alone is the machine's, whose
    cores share caches and memory.
    """
    made = middle(job, fuser, pictures)
    with _readers(job, pairs, stop) as readers, _writer(job, pictures, frames, pairs, stop) as writer:
        next(made)
        return _timed([*readers, writer, _thread(_exhaust, _until(stop, islice(made, pairs)))], pairs)


@contextmanager
def _readers(job: Job, pairs: int, stop: threading.Event) -> Iterator[list[threading.Thread]]:
    """A thread for each input, open and yet to be started, that decodes so many frames."""
    ir, vis, _ = open_pair(job)
    with closing(ir), closing(vis):
        yield [_thread(_exhaust, _until(stop, islice(source.frames(), pairs))) for source in (ir, vis)]


@contextmanager
def _writer(
    job: Job, pictures: Pictures, frames: Sequence[Frame], pairs: int, stop: threading.Event
) -> Iterator[threading.Thread]:
    """A thread, yet to be started, that encodes so many frames more into a file and closes it."""
    out = job.out.with_stem(f"{job.out.stem}-alone")
    sink = open_sink(out, pictures.info, replace(job.settings, threads=job.settings.threads or job.threads))
    there_and_back = enumerate(cycle(chain(frames, frames[-2:0:-1])))

    def write(count: int) -> None:
        for k, frame in islice(there_and_back, count):
            sink.write(replace(frame, pts=pictures.info.start_pts + k * pictures.step))
            if stop.is_set():
                break

    def finish() -> None:
        write(pairs)
        sink.close()

    try:
        write(WARM_UP)
        yield _thread(finish)
    finally:
        sink.close()
        out.unlink(missing_ok=True)


def _thread(work: Callable[..., object], *given: object) -> threading.Thread:
    return threading.Thread(target=work, args=given, daemon=True)


def _timed(threads: Sequence[threading.Thread], pairs: int) -> Cost:
    """What they cost for so many pairs, from the start of the first to the end of the last."""
    began, worked = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _cost(began, worked, pairs)


def _exhaust(frames: Iterator[Frame]) -> None:
    for _ in frames:
        pass


def _endless(frames: Sequence[Frame], pictures: Pictures) -> Iterator[Frame]:
    """Frames again and again, on one clock that goes on."""
    info, step = pictures.info, pictures.step
    above, below = (info.time_base * step).as_integer_ratio()
    for k in count():
        frame = frames[k % len(frames)]
        yield replace(frame, pts=info.start_pts + k * step, time=k * above / below, index=k)


def _until(stop: threading.Event, frames: Iterator[Frame]) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        if stop.is_set():
            return


def _bytes(pair: Pair) -> int:
    """Of both pictures with their colour."""
    planes = [plane for frame in (pair.ir, pair.vis) for plane in (frame.luma, *(frame.chroma or ()))]
    return sum(plane.nbytes for plane in planes)


def _cost(began: float, worked: float, pairs: int) -> Cost:
    return 1e3 * (time.perf_counter() - began) / pairs, 1e3 * (time.process_time() - worked) / pairs
