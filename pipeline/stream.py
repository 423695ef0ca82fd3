"""The line itself: two sources in, pairs aligned, fused and coloured, one sink out."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from engines.base import Fuser
from pipeline.align import Aligned, Geometry, align
from pipeline.compose import Tint, compose
from pipeline.frames import Frame, InputError, Pair, Sink, Source
from pipeline.stats import Stats
from pipeline.sync import SyncPolicy, SyncReport, default_tolerance, pair_frames
from pipeline.thermal import Agc
from pipeline.threads import Line, ReadAhead, WriteBehind


@dataclass(frozen=True, slots=True)
class Options:
    """What a run does with its frames."""

    policy: SyncPolicy = field(default_factory=SyncPolicy)
    geometry: Geometry = field(default_factory=Geometry)
    tint: Tint = "vis"
    is_video: bool = True
    """Frames follow each other in time: rules and thermal gain keep state. False: each pair stands alone."""
    limit: int | None = None
    """Pairs to fuse at most."""


@dataclass(slots=True)
class Result:
    """What a run has to say when it ended well, or as well as its inputs let it."""

    stats: Stats
    report: SyncReport
    complaints: list[str]
    """What was not as the input files promised."""
    notes: list[str]
    """What is odd about the inputs, and what the output file could not hold."""
    is_interrupted: bool


def fused_frames(
    ir: Iterator[Frame],
    vis: Iterator[Frame],
    fuser: Fuser,
    options: Options,
    tolerance: float,
    report: SyncReport,
    stats: Stats,
    waited: Callable[[], float] = lambda: 0.0,
) -> Iterator[Frame]:
    """The whole line between source and sink as one generator, without a thread.

    tolerance: of a pair, s. waited: s spent so far on waiting for frames, which no stage is charged for.
    """
    flight = fuser.start(follows=options.is_video)
    under_way: deque[tuple[Aligned, float]] = deque()  # and the ms that `put` took
    gains = (Agc(), Agc()) if options.is_video else (Agc(inertia=0), Agc(inertia=0))
    pairs = pair_frames(ir, vis, options.policy, tolerance, report)
    limit = None if options.limit is None else min(options.limit, sys.maxsize)  # more than islice() takes

    def finish() -> Frame:
        aligned, ms = under_way.popleft()
        began = stats.clock()
        luma = flight.get()
        stats.stages["fuse"].add(ms + 1000 * (stats.clock() - began))
        with stats.timed("compose"):
            return compose(luma, aligned, options.tint)

    for pair in islice(_timed_pairs(pairs, stats, waited), limit):
        with stats.timed("align"):
            aligned = align(pair, options.geometry, *gains)
        began = stats.clock()
        flight.put(aligned.ir, aligned.vis)
        under_way.append((aligned, 1000 * (stats.clock() - began)))
        if len(under_way) == flight.depth:
            yield finish()
    while under_way:
        yield finish()


def run(
    ir: Source,
    vis: Source,
    fuser: Fuser,
    sink: Sink,
    options: Options,
    *,
    stop: threading.Event | None = None,
    on_frame: Callable[[Stats, SyncReport], None] = lambda stats, report: None,
) -> Result:
    """Fuse until a source ends, the limit is reached, or `stop` is set; the sink is closed in every case.

    The first error of any stage or thread is raised, after the file has been finished.
    """
    stats, report, line = Stats(), SyncReport(), Line(stop)
    tolerance = options.policy.tolerance
    if tolerance is None:
        tolerance = default_tolerance(ir.info, vis.info)
    readers: dict[str, ReadAhead] = {}
    try:
        with WriteBehind(sink, line, stats) as writer:
            for name, source in (("ir", ir), ("vis", vis)):
                readers[name] = ReadAhead(source.frames(), f"decode {name}", line, stats)
            frames = fused_frames(
                readers["ir"], readers["vis"], fuser, options, tolerance, report, stats, waited=lambda: line.waited
            )
            for frame in _until_stopped(frames, line):
                writer.put(frame)
                stats.frame_done()
                on_frame(stats, report)
    finally:
        line.over.set()
        for reader in readers.values():
            reader.close()
    is_whole = options.limit is None and not line.stop.is_set()
    complaints = ir.complaints() + vis.complaints() if is_whole else []
    remarks = ir.remarks() + vis.remarks() if is_whole else []
    return Result(stats, report, complaints, remarks + sink.notes(), line.stop.is_set())


def _until_stopped(frames: Iterator[Frame], line: Line) -> Iterator[Frame]:
    """Frames until the line is told to stop; a stop before the first pair is an end, not a complaint."""
    try:
        for frame in frames:
            yield frame
            if line.stop.is_set():
                return
    except InputError:
        if not line.stop.is_set():
            raise


def _timed_pairs(pairs: Iterator[Pair], stats: Stats, waited: Callable[[], float]) -> Iterator[Pair]:
    while True:
        began, idle = stats.clock(), waited()
        pair = next(pairs, None)
        if pair is None:
            return
        stats.stages["sync"].add(1000 * (stats.clock() - began - (waited() - idle)))
        yield pair
