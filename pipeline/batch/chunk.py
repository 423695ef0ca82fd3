"""One chunk fused into a file of its own: done again it changes nothing, half done it leaves nothing."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from engines.base import Fuser
from pipeline.batch.carry import Carrier, Handover, State, frame_digest
from pipeline.batch.durable import DiskFullError, disk_full, is_full, part_of, publish, read_json, write_json_whole
from pipeline.batch.plan import NEVER, Reach
from pipeline.batch.recipe import Recipe, is_steady, recipe_of
from pipeline.batch.task import Task
from pipeline.batch.verify import check_chunk
from pipeline.encoding import SinkSettings
from pipeline.frames import Frame, OutputError, StreamInfo
from pipeline.job import open_pair, output_info
from pipeline.palettes import palette
from pipeline.stream import Options, run
from pipeline.sync import anchored
from pipeline.video_sink import VideoSink
from pipeline.video_source import VideoSource


@dataclass(frozen=True, slots=True)
class Spec:
    """All that a worker must know of a chunk; plain values, to go by wire or as a file."""

    task: Task
    """As planned, wherever its files are."""
    plan: str
    """Fingerprint: results of another plan are of no use."""
    index: int
    begin: int
    end: int | None
    ir_end: int | None
    handover: Handover
    next_handover: Handover | None
    reach: Reach
    frames: int
    """VIS frames from begin to end; 0 if not known."""
    folder: str
    """Where the result goes."""
    given: State | None = None
    """To begin with; None: whatever the run-up leads to."""
    threads: int = 1

    @property
    def result(self) -> Path:
        """The file that says, once it is there, that the chunk is done."""
        return Path(self.folder) / f"{self.index:06d}.json"

    @property
    def key(self) -> str:
        """Of everything that its frames depend on."""
        values = {**self.to_json(), "threads": 0, "folder": ""}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "task": self.task.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Spec:
        """Back from `to_json`. Raises KeyError or TypeError for what is none."""
        parts = {
            "task": Task.from_json(values["task"]), "reach": Reach(**values["reach"]),
            "handover": Handover(**values["handover"]),
            "next_handover": values["next_handover"] and Handover(**values["next_handover"]),
            "given": values["given"] and State(**values["given"]),
        }  # fmt: skip
        return cls(**{**values, **parts})


@dataclass(frozen=True, slots=True)
class Fused:
    """What became of a chunk."""

    plan: str
    key: str
    index: int
    file: str
    """Name of the video beside this; empty if there was no pair."""
    size: int
    """Of it, bytes."""
    pts: list[int]
    """Of the frames, on the clock of VIS."""
    digests: str
    """32 hex digits for each frame as it went to the encoder."""
    before: State
    """State that it took over."""
    after: State
    """State that it passes on."""
    seconds: float
    """That it took."""
    host: str
    dropped: int = 0
    """VIS frames without a partner."""
    complaints: list[str] = field(default_factory=list)

    @property
    def framehash(self) -> str:
        """Of all its frames."""
        return framehash_of([self.digests])

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fused:
        """Back from `to_json`. Raises KeyError or TypeError for what is none."""
        return cls(**{**values, "before": State(**values["before"]), "after": State(**values["after"])})


def framehash_of(digests: list[str]) -> str:
    """One hash for the frames of several chunks in their order, the same however they were cut."""
    return hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()


def read_result(path: Path, plan: str) -> Fused | None:
    """The result of a chunk of this plan, if its video is there as well, whole."""
    try:
        fused = Fused.from_json(read_json(path))
        is_there = not fused.file or path.with_name(fused.file).stat().st_size == fused.size
    except (KeyError, TypeError, OSError):
        return None
    return fused if is_there and fused.plan == plan else None


def fuse_chunk(
    spec: Spec, task: Task, open_with: Callable[[Recipe], Fuser | None], *, stop: Event | None = None
) -> Fused:
    """Fuse a chunk, check what came out, and leave it in the spec's folder. Done already, it is only read.

    task: of the spec, with places that are paths of this machine. open_with: gives the fuser for a recipe, which stays
    the caller's. Raises InputError, OutputError, DiskFullError.
    """
    done = read_result(spec.result, spec.plan)
    if done is not None and done.key == spec.key:
        return done
    began = time.monotonic()
    recipe = recipe_of(task, threads=spec.threads)
    Path(spec.folder).mkdir(parents=True, exist_ok=True)
    part = part_of(Path(spec.folder) / f"{spec.index:06d}{recipe.job.out.suffix.lower()}")
    try:
        tap, carrier, dropped, complaints = _fuse(spec, recipe, open_with(recipe), part, stop)
        if stop is not None and stop.is_set():
            raise OutputError("chunk interrupted; run the same command again")
        if tap.pts:
            check_chunk(part, tap.pts, tap.info.time_base)
        carrier.finish()
        video = part.with_name(part.name.removeprefix(".").replace(".part", "")) if tap.pts else None
        if video is not None:
            publish(part, video)
        fused = Fused(
            spec.plan, spec.key, spec.index, video.name if video else "", video.stat().st_size if video else 0,
            tap.pts, tap.digests.hex(), carrier.before, carrier.after, round(time.monotonic() - began, 3),
            f"{platform.node()}:{os.getpid()}", dropped, complaints,
        )  # fmt: skip
        write_json_whole(spec.result, fused.to_json())
        if done is not None and done.file:
            spec.result.with_name(done.file).unlink(missing_ok=True)
        return fused
    except OutputError as error:
        if is_full(error) and not isinstance(error, DiskFullError):  # of a video: its own advice is not for here
            raise disk_full(Path(spec.folder)) from error
        raise
    finally:
        with suppress(OSError):
            part.unlink()


def _fuse(
    spec: Spec, recipe: Recipe, fuser: Fuser | None, part: Path, stop: Event | None
) -> tuple[Tap, Carrier, int, list[str]]:
    job, reach = recipe.job, spec.reach
    ir, vis, _ = open_pair(job)
    with closing(ir), closing(vis):
        assert isinstance(ir, VideoSource)
        assert isinstance(vis, VideoSource)
        ir.narrow(reach.ir, None if spec.ir_end is None else spec.ir_end + 1)
        vis.narrow(reach.vis, spec.end)
        info = output_info(job, ir.info, vis.info)
        rules_from = NEVER if reach.rules is None else reach.rules
        carrier = Carrier(fuser, job.gain, begin=spec.handover, end=spec.next_handover, rules_from=rules_from,
                          given=spec.given)  # fmt: skip
        tap = Tap(part, replace(info, metadata={}), job.settings, spec.begin)
        geometry = replace(job.geometry, size=(info.width, info.height))
        options = Options(
            anchored(job.policy, ir.info), geometry, job.tint, gain=job.gain, choice=job.choice,
            palette=palette(job.palette), info=info, steady=is_steady(job),
        )  # fmt: skip
        counted = _Counted(vis, spec.begin)
        result = run(ir, counted, carrier if fuser else None, tap, options, stop=stop, carry=carrier)
    complaints = result.complaints
    if spec.frames > counted.count and not any("promised" in line for line in complaints):
        complaints.append(f"{vis.info.name}: promised {spec.frames} frames, decoded {counted.count}")
    return tap, carrier, counted.count - len(tap.pts), complaints


class _Counted:
    """A source that counts its frames from a pts on."""

    def __init__(self, source: VideoSource, begin: int) -> None:
        self._source, self._begin = source, begin
        self.info = source.info
        self.complaints, self.remarks, self.close = source.complaints, source.remarks, source.close
        self.count = 0

    def frames(self) -> Iterator[Frame]:
        for frame in self._source.frames():
            self.count += frame.pts >= self._begin
            yield frame


class Tap:
    """The sink of a chunk: leaves out the run-up, notes what passes, and hands it to a video file."""

    def __init__(self, path: Path, info: StreamInfo, settings: SinkSettings, begin: int) -> None:
        """info: of the frames. begin: pts of the first that is to be kept."""
        self.info = info
        self.pts: list[int] = []
        """Of the frames kept."""
        self.digests = bytearray()
        """16 bytes for each, see `carry.frame_digest`."""
        self._path, self._settings, self._begin = path, settings, begin
        self._sink: VideoSink | None = None

    def write(self, frame: Frame) -> None:
        """See `Sink`."""
        if frame.pts < self._begin:
            return
        self.pts.append(frame.pts)
        self.digests += frame_digest(frame)
        if self._sink is None:  # times of its file begin at 0, where MP4 is exact
            self._sink = VideoSink(self._path, replace(self.info, start_pts=frame.pts), self._settings)
        self._sink.write(frame)

    def notes(self) -> list[str]:
        """See `Sink`."""
        return self._sink.notes() if self._sink else []

    def close(self) -> None:
        """See `Sink`."""
        if self._sink is not None:
            self._sink.close()
