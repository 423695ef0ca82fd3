"""One fusion job: what the user names, opened, matched, run, and told about."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from engines.base import Fuser
from pipeline.align import Geometry
from pipeline.alignment import looker
from pipeline.compose import Tint
from pipeline.device_frames import Decoder
from pipeline.device_job import Hwaccel, decoder_of, plan_output
from pipeline.encoding import FORMATS
from pipeline.frames import MAX_SIDE, InputError, Source, StreamInfo
from pipeline.image_sink import IMAGE_SUFFIXES
from pipeline.image_source import ImageSource, open_images
from pipeline.palettes import palette
from pipeline.sink import SinkSettings, open_sink
from pipeline.source import open_source
from pipeline.stats import Stats
from pipeline.stream import Options, Result, run
from pipeline.sync import SyncPolicy, SyncReport, anchored, ir_range, match_names
from pipeline.thermal import Gain
from pipeline.views import Choice, needs_network
from pipeline.work_height import check_work_height

MAX_OFFSET = 1e10
"""s; clocks that count from 1970 are at 2e9."""
START_NOTICE = 0.5
"""s between the first timestamps of the two files from which the user is told; muxers put a fixed start in some."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to fuse, how, and into what. Paths are files, folders or globs as `open_source` takes them."""

    ir: str
    vis: str
    out: Path
    policy: SyncPolicy = field(default_factory=SyncPolicy)
    geometry: Geometry = field(default_factory=Geometry)
    tint: Tint = "vis"
    choice: Choice = field(default_factory=Choice)
    palette: str = "white hot"
    """Name or file, see `palettes.palette`; of IR, in the views that show it."""
    gain: Gain = field(default_factory=Gain)
    """Of IR."""
    settings: SinkSettings = field(default_factory=SinkSettings)
    start: float | None = None
    """s from the first VIS frame."""
    end: float | None = None
    """s from the first VIS frame, excluded."""
    rate: Fraction | None = None
    """Frames/s of images, and of videos that do not say."""
    limit: int | None = None
    """Pairs at most."""
    threads: int = 0
    """Of decoders and encoder, 0 for as many as fit the cores."""
    hwaccel: Hwaccel = "auto"
    """Of a GPU that fuses: `auto` lets it decode and encode too, where it can."""
    steady: bool | None = False
    """See `stream.Options`; None: for videos, unless their frames stay in a GPU's memory."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A job whose inputs and output are open: what there is to tell before the first frame."""

    ir: StreamInfo
    vis: StreamInfo
    out: StreamInfo
    is_video: bool
    """The output is one: its rate means something."""
    expected: int | None
    """Frames that will come out if every VIS frame finds a partner; None if nobody knows."""
    notices: list[str]

    def __str__(self) -> str:
        """E.g. `ir.mp4 640x512 + vis.mp4 1280x720 -> fused.mp4 1280x720 at 30000/1001 frames/s`."""
        ir, vis, out = (f"{info.name} {info.width}x{info.height}" for info in (self.ir, self.vis, self.out))
        rate = f" at {self.out.rate} frames/s" if self.is_video and self.out.rate else ""
        return f"{ir} + {vis} -> {out}{rate}"


def run_job(
    job: Job,
    fuser: Fuser | None,
    *,
    stop: threading.Event | None = None,
    on_open: Callable[[Opened], None] = lambda opened: None,
    on_frame: Callable[[Stats, SyncReport], None] = lambda stats, report: None,
    on_notice: Callable[[str], None] | None = None,
) -> Result:
    """Fuse a pair of inputs into an output; every file is closed in the end.

    fuser: None will do where `views.needs_network` says so.
    on_open: told what was opened, before the first frame. on_frame: called after each. on_notice: told what the first
    pairs show of the inputs; None saves that time. Raises InputError before anything is written, OutputError or the
    first error of a stage after the file has been finished.
    """
    _check(job)
    colours = palette(job.palette)
    decoder = decoder_of(job, fuser)
    ir, vis, notices = open_pair(job, decoder)
    with closing(ir), closing(vis):
        _check_count(job, vis.info)
        is_video = not (isinstance(ir, ImageSource) and isinstance(vis, ImageSource)) or _is_video_file(job.out)
        info = output_info(job, ir.info, vis.info)
        if job.geometry.rigging is not None:
            job.geometry.rigging.check((ir.info.width, ir.info.height), (vis.info.width, vis.info.height))
        plan = plan_output(job, fuser, ir, vis, info)
        sink = open_sink(
            job.out,
            info,
            replace(plan.settings, threads=job.settings.threads or job.threads),
            inputs=_input_paths(job),
            audio_from=_audio_sources(job, ir, vis),
            audio_shift=job.policy.offset,
            start=job.start or 0.0,
            end=job.end,
        )
        notices += plan.notices
        is_steady = job.steady is not False and is_video and job.limit != 1 and needs_network(job.choice)
        if is_steady and decoder is not None:  # by itself then: asked for, it is made on the host
            is_steady = False
            notices.append("steady: off, as frames stay on the GPU; pass --steady to have them steadied on the host")
        on_open(Opened(ir.info, vis.info, info, _is_video_file(job.out), _expected(job, vis.info), notices))
        size = (info.width, info.height) if is_video or job.geometry.size else None
        look = looker(job.geometry, ir.info, vis.info, on_notice)
        policy, geometry = anchored(job.policy, ir.info), replace(job.geometry, size=size)
        options = Options(policy, geometry, job.tint, is_video, job.limit, plan.onto, job.gain, job.choice, colours,
                          info, look, is_steady)  # fmt: skip
        return run(ir, vis, fuser, sink, options, stop=stop, on_frame=on_frame)


def open_pair(job: Job, decoder: Decoder | None = None) -> tuple[Source, Source, list[str]]:
    """Both sources, cut to the job's range, images matched by name; and what the user should know of them.

    decoder: of a device, for videos.
    """
    vis = open_source(job.vis, start=job.start, end=job.end, rate=job.rate, threads=job.threads, decoder=decoder)
    try:
        ir = open_source(job.ir, rate=job.rate, threads=job.threads, decoder=decoder)
    except BaseException:
        vis.close()
        raise
    if isinstance(ir, ImageSource) and isinstance(vis, ImageSource):
        return _matched_images(job)
    starts = [float(s.info.start_pts * s.info.time_base) for s in (ir, vis)]
    notices = []
    gap = starts[1] - starts[0]
    if not job.policy.offset and abs(gap) > START_NOTICE:
        notices.append(
            f"by their own timestamps ir starts at {starts[0]:.3f} s and vis at {starts[1]:.3f} s; "
            f"if both were started together pass --offset {gap:.3f}"
        )
    if job.start is None and job.end is None:
        return ir, vis, notices
    ir.close()
    start, end = ir_range(job.policy, job.start, job.end, starts[0], starts[1])
    ir = open_source(job.ir, start=start, end=end, rate=job.rate, threads=job.threads, decoder=decoder)
    return ir, vis, notices


def output_info(job: Job, ir: StreamInfo, vis: StreamInfo) -> StreamInfo:
    """The output's stream: VIS in time, colour and tags, the reference's grid in size."""
    leader = vis if job.geometry.reference == "vis" else ir
    width, height = job.geometry.size or (leader.width, leader.height)
    stretch = Fraction(leader.width * height, leader.height * width)
    start = round(Fraction(job.start or 0).limit_denominator(10**6) / vis.time_base)
    return replace(
        vis,
        name=job.out.name,
        width=width,
        height=height,
        bits=8,
        frames=None,
        sample_aspect=leader.sample_aspect * stretch,
        start_pts=vis.start_pts + start,
        metadata={**ir.metadata, **vis.metadata},
    )


def _matched_images(job: Job) -> tuple[Source, Source, list[str]]:
    """Two image sources whose k-th images belong together, and a notice for each image left over."""
    ir, vis = (open_source(path, rate=job.rate) for path in (job.ir, job.vis))
    assert isinstance(ir, ImageSource)
    assert isinstance(vis, ImageSource)
    by_name = [_by_name(source) for source in (ir, vis)]
    pairs, notices = match_names(list(by_name[0]), list(by_name[1]))
    if job.policy.offset:
        raise InputError(f"--offset {job.policy.offset}: images have no clock; leave it out")
    if job.geometry.rigging is not None and job.geometry.rigging.rig.clock_offset:
        notices.append("the rig's clock_offset is left out: images have no clock")
    chosen = [[by_name[side][pair[side]] for pair in pairs] for side in (0, 1)]
    opened = [
        open_images(paths, name=name, start=job.start, end=job.end, rate=job.rate)
        for paths, name in zip(chosen, (ir.info.name, vis.info.name), strict=True)
    ]
    return opened[0], opened[1], notices


def _by_name(source: ImageSource) -> dict[str, Path]:
    """The images of a source by their names. Raises InputError if two have one name: images are paired by it."""
    named: dict[str, Path] = {}
    for path in source.paths:
        first = named.setdefault(path.name, path)
        if first is not path:
            raise InputError(f"{first} and {path}: two images of one name; fuse one folder at a time")
    return named


def _check(job: Job) -> None:
    if job.limit is not None and job.limit < 1:
        raise InputError(f"--limit {job.limit}: give the number of pairs to fuse, 1 or more")
    if job.geometry.size and not all(1 <= side <= MAX_SIDE for side in job.geometry.size):
        width, height = job.geometry.size
        raise InputError(f"--size {width}x{height}: a side is 1 to {MAX_SIDE} px")
    check_work_height(job.geometry.work_height)
    tolerance = job.policy.tolerance
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"--tolerance {tolerance}: give seconds, 0 or more")
    if not abs(job.policy.offset) <= MAX_OFFSET:  # nan is not, either
        raise InputError(f"--offset {job.policy.offset}: give seconds, at most {MAX_OFFSET:.0e} either way")


def _check_count(job: Job, vis: StreamInfo) -> None:
    """Raise InputError if more than one picture would go into one image file, as far as that is known."""
    is_one = job.out.suffix.lower() in IMAGE_SUFFIXES and not job.out.is_dir()
    if is_one and (vis.frames or 1) > 1 and job.limit != 1:
        held = f"{job.out}: one image file, but {vis.name} holds {vis.frames} frames"
        raise InputError(f"{held}; name a folder or a video, or pass --limit 1")


def _expected(job: Job, vis: StreamInfo) -> int | None:
    count = vis.frames
    if vis.rate and (job.start or job.end):
        length = min(count / vis.rate if count else math.inf, math.inf if job.end is None else job.end)
        seconds = length - (job.start or 0)
        count = round(seconds * vis.rate) if math.isfinite(seconds) else None
    return min(count, job.limit) if count and job.limit else job.limit or count


def _is_video_file(path: Path) -> bool:
    return path.suffix.lower() in FORMATS and not path.is_dir()


def _input_paths(job: Job) -> list[Path]:
    return [Path(name) for name in (job.ir, job.vis) if Path(name).exists()]


def _audio_sources(job: Job, ir: Source, vis: Source) -> list[Path]:
    """VIS before IR; only video files have audio."""
    return [Path(name) for name, source in ((job.vis, vis), (job.ir, ir)) if not isinstance(source, ImageSource)]
