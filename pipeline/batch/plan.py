"""Where a pair of files can be cut, and from where each chunk must be decoded to fuse as the whole would.

Only packets are read, nothing is decoded but the first frame of each file.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.steady import FRAMES, MEMORY
from pipeline.batch.carry import Handover
from pipeline.batch.recipe import Recipe, is_steady
from pipeline.frames import Frame, InputError
from pipeline.job import open_pair, output_info
from pipeline.sync import SyncPolicy, SyncReport, anchored, default_tolerance, pair_frames
from pipeline.video_decode import VideoFile
from pipeline.video_source import VideoSource

RULES_RUN_UP = 30
"""Pairs that the network sees before a chunk's own, so that its rules come into the state they have in the stream."""
GAIN_RUN_UP = 256
"""The same of a gain control that follows the scene; two that begin apart meet within 195 (tried, at 0.9)."""
SMALLEST = 1.0
"""s of a chunk."""

NEVER = -(2**63)
"""A pts before all others."""
_NOTHING = np.zeros((1, 1), np.uint8)


@dataclass(frozen=True, slots=True)
class Reach:
    """From where a chunk is read, pts; None: from the start of the file."""

    vis: int | None
    ir: int | None
    rules: int | None
    """VIS pts from which the network runs."""


FROM_START = Reach(None, None, None)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of VIS, and the IR that belongs to it. pts are of the files' own streams."""

    index: int
    begin: int
    """First VIS pts; a key frame, save in the first chunk."""
    end: int | None
    """VIS pts where the next begins; None: to the end of the file."""
    ir_end: int | None
    """Last IR pts that is needed, included; None: to the end of the file."""
    frames: int
    """VIS frames that the file promises."""
    pairs: int
    """Of them with a partner."""
    seconds: float
    """Of VIS."""
    handover: Handover
    """Where it takes over from the chunk before; in the first one, at its beginning."""
    next_handover: Handover | None
    """Where the next takes over; None: there is none."""
    guess: Reach
    """With a run-up that leads to the state of the stream, as far as can be told beforehand."""
    carry: Reach
    """For a state that is given: the pair before is read as well, to see that it is the same picture."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Chunk:
        """Back from the plain values of `Plan.to_json`."""
        reaches = {name: Reach(**values[name]) for name in ("guess", "carry")}
        following = values["next_handover"] and Handover(**values["next_handover"])
        return cls(**{**values, **reaches, "handover": Handover(**values["handover"]), "next_handover": following})


@dataclass(frozen=True, slots=True)
class Plan:
    """How a pair of files is cut."""

    chunks: tuple[Chunk, ...]
    pairs: int
    dropped: dict[str, int]
    """VIS frames without a partner, by reason."""
    held: dict[str, int]
    seconds: float
    """Of VIS."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def plan_of(recipe: Recipe, chunk: float) -> Plan:
    """Cut a pair at key frames of VIS, each piece at least `chunk` s long where the file allows.

    A file whose frames have no times of their own, or no key frames inside, is one chunk. Raises InputError for files
    that cannot be fused.
    """
    job = recipe.job
    ir, vis, _ = open_pair(job)
    with closing(ir), closing(vis):
        if not isinstance(ir, VideoSource) or not isinstance(vis, VideoSource):
            raise InputError(f"{job.ir} and {job.vis}: batch takes two videos; images are for the command fuse")
        if job.geometry.rigging is not None:
            job.geometry.rigging.check((ir.info.width, ir.info.height), (vis.info.width, vis.info.height))
        output_info(job, ir.info, vis.info)
        tolerance = job.policy.tolerance
        if tolerance is None:
            tolerance = default_tolerance(ir.info, vis.info)
        policy = replace(anchored(job.policy, ir.info), tolerance=tolerance)
        tracks = _Track(job.ir, ir), _Track(job.vis, vis)
        follows = vis.info.bits == 16 or (job.gain.mode != "fixed" and (ir.info.bits == 16 or job.gain.is_for_8bit))
        memory = (MEMORY, FRAMES - 1) if is_steady(job) else (0, 0)
    return _cut(tracks, policy, chunk, _Run(*memory, GAIN_RUN_UP if follows else 0))


@dataclass(frozen=True, slots=True)
class _Run:
    """What pairs before its own a chunk needs, counted back from its first."""

    gains: int
    """From where gains must be right: its first frames depend on pictures that far back."""
    rules: int
    """The same of rules, as its first frames depend on frames that far back."""
    gain_run_up: int
    """Pairs before `gains`."""


def _cut(tracks: tuple[_Track, _Track], policy: SyncPolicy, chunk: float, run: _Run) -> Plan:
    ir, vis = tracks
    report = SyncReport()
    if not (ir.is_timed and vis.is_timed):
        count, begin = len(vis.pts), vis.pts[0] if vis.pts else 0
        whole = Chunk(0, begin, None, None, 0, 0, vis.seconds, Handover(NEVER, NEVER), None, FROM_START, FROM_START)
        return Plan((whole,), count, {}, {}, vis.seconds)
    paired = [pair.vis.pts for pair in pair_frames(ir.frames(), vis.frames(), policy, policy.tolerance or 0.0, report)]
    edges = _edges(vis, paired, chunk)
    handovers = [_handover(paired, bisect_left(paired, edge), run) for edge in edges]
    chunks = []
    for index, (begin, end) in enumerate(zip(edges, [*edges[1:], None], strict=True)):
        first, last = bisect_left(paired, begin), len(paired) if end is None else bisect_left(paired, end)
        start, stop = bisect_left(vis.pts, begin), len(vis.pts) if end is None else bisect_left(vis.pts, end)
        ir_end = None if end is None else ir.after(vis.time(vis.pts[stop - 1]), policy)
        length = (vis.end if end is None else vis.time(end)) - vis.time(begin)
        following = handovers[index + 1] if end is not None else None
        guessed = max(run.gains + run.gain_run_up, run.gains + run.rules + RULES_RUN_UP)
        reaches = [
            _reach(tracks, paired, first, back, first - run.rules - network, policy)
            for back, network in ((guessed, RULES_RUN_UP), (run.gains + 1, 0))
        ]
        chunks.append(Chunk(index, begin, end, ir_end, stop - start, last - first, length, handovers[index], following,
                            *reaches))  # fmt: skip
    return Plan(tuple(chunks), len(paired), dict(report.dropped), dict(report.held), vis.seconds)


def _handover(paired: list[int], first: int, run: _Run) -> Handover:
    """Of the chunk whose first pair is at place `first`."""
    return Handover(*(paired[first - back] if first > back else NEVER for back in (run.gains, run.rules)))


def _reach(
    tracks: tuple[_Track, _Track], paired: list[int], first: int, back: int, network: int, policy: SyncPolicy
) -> Reach:
    """From where to read so that `back` pairs come before that at place `first`; the network from place `network`."""
    ir, vis = tracks
    if first <= back:
        return FROM_START
    begin = paired[first - back]
    return Reach(begin, ir.before(vis.time(begin), policy), paired[network])


def _edges(vis: _Track, paired: list[int], chunk: float) -> list[int]:
    """pts where chunks begin: every one but the first at a key frame, none without a pair, the last not too short."""
    edges = [vis.pts[0]]
    for key in vis.keys:
        length = vis.time(key) - vis.time(edges[-1])
        has_pairs = bisect_left(paired, edges[-1]) < bisect_left(paired, key) < len(paired)
        if length >= chunk - 1e-3 and has_pairs and vis.end - vis.time(key) >= min(chunk / 2, vis.seconds):
            edges.append(key)
    return edges


class _Track:
    """What the packets of a file tell of its frames."""

    def __init__(self, path: str, source: VideoSource) -> None:
        self.time_base = source.info.time_base
        times: list[int] = []
        keys: list[int] = []
        self.is_timed = source.is_timed
        with closing(VideoFile(Path(path), threads=1)) as file:
            for packet in file.packets():
                if packet is None or not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    self.is_timed = False
                    continue
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        self.pts = sorted(set(times))
        """Ascending, as shown."""
        self.keys = sorted(set(keys))[1:]
        if not self.pts and self.is_timed:
            raise InputError(f"{path}: holds not one frame; the file is damaged or cut short, copy it again")
        period = float(1 / source.info.rate) if source.info.rate else 0.0
        self.end = self.time(self.pts[-1]) + period if self.pts else 0.0
        self.seconds = self.end - self.time(self.pts[0]) if self.pts else 0.0

    def time(self, pts: int) -> float:
        """s, exactly as `Frame.time` has it."""
        return float(pts * self.time_base)

    def frames(self) -> Iterator[Frame]:
        """Frames without pictures, to be paired."""
        return (Frame(_NOTHING, None, pts, self.time(pts), index) for index, pts in enumerate(self.pts))

    def before(self, time: float, policy: SyncPolicy) -> int | None:
        """pts of the last frame at or before a VIS time, which pairing may still choose or hold; None: the first."""
        place = bisect_right(self.pts, time, key=lambda pts: policy.on_vis_clock(self.time(pts)))
        return self.pts[place - 2] if place >= 2 else None  # one more, in case one is damaged

    def after(self, time: float, policy: SyncPolicy) -> int | None:
        """pts of the first frame after a VIS time; None: there is none."""
        place = bisect_right(self.pts, time, key=lambda pts: policy.on_vis_clock(self.time(pts)))
        return self.pts[place] if place < len(self.pts) else None
