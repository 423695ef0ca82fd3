"""The line itself: two sources in, pairs aligned, fused and coloured, one sink out."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

from engines.base import Flight, Fuser, Luma, start_abreast
from engines.device_picture import Onto, PictureFuser
from engines.steady import Steady
from pipeline.align import Aligned, Geometry, align
from pipeline.compose import Tint, compose
from pipeline.frames import Frame, InputError, Pair, Sink, Source, StreamInfo
from pipeline.palettes import Palette, palette
from pipeline.stats import Stats
from pipeline.sync import SyncPolicy, SyncReport, default_tolerance, pair_frames
from pipeline.thermal import INERTIA, Agc, Gain
from pipeline.threads import Line, ReadAhead, WriteBehind
from pipeline.views import Choice, needs_network, render


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
    onto: Onto | None = None
    """How fused pictures are to lie in the memory of the fuser's device, for an encoder there; None: as arrays."""
    gain: Gain = field(default_factory=Gain)
    """Of IR; VIS of 16 bits goes by percentiles."""
    choice: Choice = field(default_factory=Choice)
    palette: Palette = field(default_factory=lambda: palette("white hot"))
    """Of IR, in the views that show it."""
    info: StreamInfo | None = None
    """Of the output, for its colours; the view `fused` does without."""
    on_aligned: Callable[[Aligned], None] | None = None
    """Told each pair as it is laid together, before it is fused."""
    steady: bool = False
    """Gain steps of IR and the grain of what rests are held back, see `engines.steady`; not for planes in a device."""


class Carry(Protocol):
    """Where a run takes over in the middle of a stream, and what it leaves for the run that goes on after it."""

    @property
    def gains(self) -> tuple[Agc, Agc]:
        """Gain controls of IR and VIS, in place of new ones."""
        ...

    def next(self, pair: Pair) -> None:
        """Told of each pair before anything is done with it; all of the one before is done, in flights of depth 1."""
        ...


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
    is_steady: bool = False
    """See `Options.steady`."""


def fused_frames(
    ir: Iterator[Frame],
    vis: Iterator[Frame],
    fuser: Fuser | None,
    options: Options,
    tolerance: float,
    report: SyncReport,
    stats: Stats,
    waited: Callable[[], float] = lambda: 0.0,
    carry: Carry | None = None,
) -> Iterator[Frame]:
    """The whole line between source and sink as one generator, without a thread.

    fuser: may be None for the views that do without the network, and is not asked for them.
    tolerance: of a pair, s. waited: s spent so far on waiting for frames, which no stage is charged for. carry: of a
    stream that was begun before.
    """
    flight = _start(fuser, options) if needs_network(options.choice) else None
    geometry = options.geometry if flight else replace(options.geometry, work_height=None)
    under_way: deque[tuple[Aligned, float]] = deque()  # and the ms that `put` took
    steady = Steady() if options.steady else None
    inertia = INERTIA if options.is_video else 0
    gains = carry.gains if carry else (Agc(options.gain, inertia=inertia), Agc(inertia=inertia))
    pairs = pair_frames(ir, vis, options.policy, tolerance, report)
    limit = None if options.limit is None else min(options.limit, sys.maxsize)  # more than islice() takes

    def finish(flight: Flight) -> Frame:
        aligned, ms = under_way.popleft()
        began = stats.clock()
        luma = flight.get() if steady is None else steady.get(flight.get())
        stats.stages["fuse"].add(ms + 1000 * (stats.clock() - began))
        with stats.timed("compose"):
            return _shown(luma, aligned, options)

    for pair in islice(_timed_pairs(pairs, stats, waited), limit):
        if carry:
            carry.next(pair)
        with stats.timed("align"):
            aligned = align(pair, geometry, *gains)
        if options.on_aligned is not None:
            options.on_aligned(aligned)
        if flight is None:
            with stats.timed("compose"):
                frame = _shown(None, aligned, options)
            yield frame
            continue
        began = stats.clock()
        seen = aligned.seen if aligned.reference == "vis" else None
        flight.put(aligned.ir if steady is None else steady.put(aligned.ir, aligned.vis, seen), aligned.vis)
        under_way.append((aligned, 1000 * (stats.clock() - began)))
        if len(under_way) == flight.depth:
            yield finish(flight)
    while under_way and flight is not None:
        yield finish(flight)


def _shown(luma: Luma | None, aligned: Aligned, options: Options) -> Frame:
    if luma is not None and options.choice.divider is None:
        return compose(luma, aligned, options.tint)
    assert options.info is not None, f"view {options.choice.view} without the output's colours"
    return render(luma, aligned, options.choice, options.palette, options.info, options.tint)


def _start(fuser: Fuser | None, options: Options) -> Flight:
    assert fuser is not None, f"view {options.choice.view} without a fuser"
    if options.onto is None:
        return start_abreast(fuser, follows=options.is_video)
    assert isinstance(fuser, PictureFuser), f"{fuser.name} has no pictures on a device"
    return fuser.start_on_device(follows=options.is_video, levels=options.onto.levels, is_gray=options.onto.is_gray)


def run(
    ir: Source,
    vis: Source,
    fuser: Fuser | None,
    sink: Sink,
    options: Options,
    *,
    stop: threading.Event | None = None,
    on_frame: Callable[[Stats, SyncReport], None] = lambda stats, report: None,
    carry: Carry | None = None,
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
                readers["ir"], readers["vis"], fuser, options, tolerance, report, stats, lambda: line.waited, carry
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
    return Result(stats, report, complaints, remarks + sink.notes(), line.stop.is_set(), options.steady)


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
