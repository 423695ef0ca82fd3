"""Each stage without the others: decoding both inputs, the fuser on pictures in memory, encoding what it made."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice

import numpy as np

from engines.base import Fuser, Luma
from pipeline.align import Aligned, Geometry, align
from pipeline.compose import compose
from pipeline.frames import Frame, Source, StreamInfo
from pipeline.job import Job, open_pair, output_info
from pipeline.sink import open_sink
from pipeline.sync import SyncReport, default_tolerance, pair_frames
from pipeline.thermal import Agc

HELD = 16
"""Pairs kept in memory for the fuser and the encoder: 50 MB of luma at 1080p."""
LEAST = 2
Cost = tuple[float, float]
"""Wall and CPU time, ms a pair."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The first pairs of the inputs on one grid, and the stream that comes out of them."""

    aligned: tuple[Aligned, ...]
    info: StreamInfo
    geometry: Geometry


def pictures_of(job: Job) -> Pictures:
    """Decode and align the first pairs of a job."""
    ir, vis, _ = open_pair(job)
    with closing(ir), closing(vis):
        info = output_info(job, ir.info, vis.info)
        geometry = replace(job.geometry, size=(info.width, info.height))
        pairs = pair_frames(ir.frames(), vis.frames(), job.policy, default_tolerance(ir.info, vis.info), SyncReport())
        return Pictures(tuple(_aligned(pair, geometry) for pair in islice(pairs, HELD)), info, geometry)


def _aligned(pair: object, geometry: Geometry) -> Aligned:
    laid = align(pair, geometry, Agc(), Agc())  # type: ignore[arg-type]
    return replace(laid, ir=np.array(laid.ir), vis=np.array(laid.vis))  # not views of a decoder's buffers


def decoding(job: Job, pairs: int, seconds: float) -> Cost:
    """What decoding both inputs at once costs, from the first frame of each on."""
    ir, vis, _ = open_pair(job)
    counts = [0, 0]
    with closing(ir), closing(vis):
        readers = [
            threading.Thread(target=_read, args=(source, counts, k, pairs, time.perf_counter() + seconds), daemon=True)
            for k, source in enumerate((ir, vis))
        ]
        began, worked = time.perf_counter(), time.process_time()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        wall, cpu = time.perf_counter() - began, time.process_time() - worked
    done = max(1, min(counts))
    return 1e3 * wall / done, 1e3 * cpu / done


def fusing(fuser: Fuser, pictures: Pictures, pairs: int, seconds: float) -> tuple[Cost, list[Luma]]:
    """What the fuser costs on pictures in memory, as many pairs under way as it takes, and what it made of them."""
    flight = fuser.start(follows=True)
    fused: list[Luma] = []
    waiting = 0

    def turns(source: Iterator[Aligned], until: float) -> Iterator[Luma]:
        nonlocal waiting
        for aligned in source:
            flight.put(aligned.ir, aligned.vis)
            waiting += 1
            if waiting == flight.depth:
                waiting -= 1
                yield flight.get()
                if time.perf_counter() > until:
                    return

    endless = cycle(pictures.aligned)
    warm = sum(1 for _ in turns(islice(endless, flight.depth), math.inf))
    began, worked = time.perf_counter(), time.process_time()
    done = 0
    for luma in turns(islice(endless, max(pairs, LEAST)), began + seconds):
        done += 1
        if len(fused) < HELD:
            fused.append(luma)
    wall, cpu = time.perf_counter() - began, time.process_time() - worked
    while waiting:
        waiting -= 1
        flight.get()
    assert warm
    return (1e3 * wall / done, 1e3 * cpu / done), fused


def encoding(job: Job, pictures: Pictures, fused: list[Luma], pairs: int, seconds: float) -> Cost:
    """What encoding those pictures costs, until the file is closed; they come forward and backward in turn."""
    frames = [compose(luma, aligned, job.tint) for luma, aligned in zip(fused, pictures.aligned, strict=False)]
    there_and_back = cycle(chain(frames, frames[-2:0:-1]))
    step = round(1 / (pictures.info.time_base * (pictures.info.rate or 25)))
    out = job.out.with_stem(f"{job.out.stem}-alone")
    sink = open_sink(out, pictures.info, replace(job.settings, threads=job.settings.threads or job.threads))
    began, worked, done = time.perf_counter(), time.process_time(), 0
    try:
        for k, frame in enumerate(islice(there_and_back, max(pairs, LEAST))):
            sink.write(_at(frame, pictures.info, k * step))
            done += 1
            if time.perf_counter() - began > seconds and done >= LEAST:
                break
    finally:
        sink.close()
    wall, cpu = time.perf_counter() - began, time.process_time() - worked
    out.unlink(missing_ok=True)
    return 1e3 * wall / done, 1e3 * cpu / done


def copying() -> float:
    """GB a second that one core copies, counting bytes read and bytes written."""
    source, target = np.ones(32 << 20, np.uint8), np.empty(32 << 20, np.uint8)
    target[:] = source  # its pages are there now; unwritten ones of zeros would be one page read again and again
    return 2 * source.nbytes * 4 / _seconds(lambda: np.copyto(target, source), 4) / 1e9


def multiplying(side: int = 768) -> float:
    """GFLOP a second of a square float32 matrix product, on the threads that numpy takes."""
    left = np.ones((side, side), np.float32)
    left @ left
    return 2 * side**3 * 4 / _seconds(lambda: left @ left, 4) / 1e9


def _seconds(work: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - began


def _read(source: Source, counts: list[int], k: int, pairs: int, until: float) -> None:
    for _ in islice(source.frames(), pairs):
        counts[k] += 1
        if time.perf_counter() > until and counts[k] >= LEAST:
            return


def _at(frame: Frame, info: StreamInfo, pts: int) -> Frame:
    return replace(frame, pts=info.start_pts + pts)
