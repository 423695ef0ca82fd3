"""Chunks put together into one file by copying packets: nothing is encoded again, every time is set exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.audio import AudioCopy
from pipeline.batch.chunk import Fused, framehash_of, read_result
from pipeline.batch.durable import disk_full, output_error, part_of, publish, read_json, write_json_whole
from pipeline.batch.recipe import Recipe
from pipeline.batch.verify import check_whole
from pipeline.encoding import FORMATS, container_options
from pipeline.frames import InputError, OutputError, StreamInfo
from pipeline.job import open_pair, output_info
from pipeline.video_sink import DISK_FULL, write_failure

RECEIPT = "joined.json"
"""In a task's folder: written before the joined file gets its name, so that it is known again as ours."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What the whole file holds."""

    frames: int
    framehash: str
    size: int
    """Bytes."""
    notes: list[str]
    """What could not be carried over."""


def join(recipe: Recipe, folder: Path, plan: str, count: int, *, may_replace: bool = False) -> Joined:
    """Write the recipe's output from `count` chunks in a folder, check it, and give it its name.

    Audio and tags are those that the command `fuse` would carry. Raises InputError if the output exists or a chunk is
    missing, OutputError.
    """
    out = recipe.job.out
    done = joined_before(folder, plan, out)
    if done is not None:
        return done
    if out.exists() and not may_replace:
        raise InputError(f"{out}: exists; pass --overwrite or name another output")
    chunks = [_chunk(folder, plan, index) for index in range(count)]
    pts = [time for chunk in chunks for time in chunk.pts]
    if not pts:
        raise InputError(f"{out}: not one pair in all its chunks; check the offset and the tolerance")
    ir, vis, _ = open_pair(recipe.job)
    with closing(ir), closing(vis):
        info = output_info(recipe.job, ir.info, vis.info)
    is_near = folder.stat().st_dev == out.parent.stat().st_dev  # else it cannot be renamed from there
    part = part_of(folder / out.name if is_near else out)
    try:
        files = [folder / chunk.file for chunk in chunks if chunk.file]
        notes, audio = _write(recipe, info, part, files, pts)
        check_whole(part, pts, info.time_base, info.start_pts, audio=audio)
        hashed = framehash_of([chunk.digests for chunk in chunks])
        joined = Joined(len(pts), hashed, part.stat().st_size, notes)
        write_json_whole(folder / RECEIPT, {"plan": plan, **_plain(joined)})
        publish(part, out, may_replace=may_replace)
        return joined
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise output_error(out, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


def joined_before(folder: Path, plan: str | None, out: Path) -> Joined | None:
    """What a run before has joined, if its output is still there. plan: None for any."""
    receipt = read_json(folder / RECEIPT)
    try:
        if plan in (None, receipt["plan"]) and out.stat().st_size == receipt["size"]:
            return Joined(**{name: receipt[name] for name in Joined.__slots__})
    except (KeyError, TypeError, OSError):
        pass
    return None


def _plain(joined: Joined) -> dict[str, Any]:
    return {name: getattr(joined, name) for name in Joined.__slots__}


def _chunk(folder: Path, plan: str, index: int) -> Fused:
    fused = read_result(folder / f"{index:06d}.json", plan)
    if fused is None:
        raise InputError(f"{folder}: chunk {index} is missing or not whole; run the same command again")
    return fused


def _write(
    recipe: Recipe, info: StreamInfo, part: Path, files: Sequence[Path], pts: Sequence[int]
) -> tuple[list[str], int]:
    """The joined file under a temporary name; its notes, and how many audio streams it has."""
    job, written = recipe.job, 0
    options = container_options(part, info.metadata)
    audio = AudioCopy(
        [Path(job.vis), Path(job.ir)], origin=info.start_pts * info.time_base, shift=job.policy.offset,
        cuts_start=False, length=None,
    )  # fmt: skip
    with closing(audio):
        try:
            with av.open(f"file:{part}", "w", format=FORMATS[part.suffix.lower()], container_options=options) as file:
                file.metadata.update(info.metadata)
                with _opened(files[0]) as first:
                    stream = _video_stream(file, first.streams.video[0], info)
                audio.join(file, options)
                file.start_encoding()
                clock = _Clock(pts, info, _depth(files))
                for packet in _packets(files, stream, clock):
                    audio.copy_until(packet.dts * packet.time_base)  # type: ignore[operator]
                    file.mux(packet)
                    written += 1
                audio.finish(clock.end)
                streams = len(file.streams.audio)
        except (FFmpegError, OSError) as error:
            if isinstance(error, OutputError):
                raise
            is_disk_full = error.errno in DISK_FULL
            raise (disk_full(job.out) if is_disk_full else write_failure(job.out, error, 0)) from error
        return audio.notes(), streams


def _video_stream(file: OutputContainer, given: VideoStream, info: StreamInfo) -> VideoStream:
    """A stream for the packets of `given`."""
    stream = file.add_stream_from_template(given)
    stream.time_base = info.time_base
    if info.rate is not None:  # Matroska stores it
        stream.codec_context.framerate = info.rate
    if given.codec_context.name == "hevc" and file.format.name in ("mp4", "mov"):
        stream.codec_context.codec_tag = "hvc1"  # as `VideoSink` has it
    return stream


class _Clock:
    """Sets times of packets: the k-th picture shown gets the k-th time; decode times as libx264 makes them."""

    def __init__(self, pts: Sequence[int], info: StreamInfo, depth: int) -> None:
        """pts: of all pictures, ascending. depth: pictures that may be decoded before an earlier one is shown."""
        self._pts, self._info, self._depth = pts, info, depth
        self._count = 0

    def set(self, packet: Packet, place: int) -> None:
        """Date the next packet, whose picture is shown at `place`."""
        pts, number, depth = self._pts, self._count, self._depth
        origin, self._count = self._info.start_pts, self._count + 1
        delay = pts[min(depth, len(pts) - 1)] - pts[0]
        packet.pts = pts[place] - origin
        packet.dts = (pts[number] - delay if number < depth else pts[number - depth]) - origin
        packet.duration = self._duration(place)
        packet.time_base = self._info.time_base

    @property
    def end(self) -> Fraction:
        """s of the output, when the last picture stops to show."""
        last = len(self._pts) - 1
        return (self._pts[last] - self._info.start_pts + self._duration(last)) * self._info.time_base

    def _duration(self, place: int) -> int:
        """As in `Timeline`: a frame of the rate, else as long as the one before."""
        if self._info.rate is not None:
            return max(1, round(1 / self._info.rate / self._info.time_base))
        return (self._pts[place] - self._pts[place - 1]) if place else 1


def _depth(files: Sequence[Path]) -> int:
    """How many pictures come later in the order of decoding than in that of showing, at most."""
    depth = 0
    for path in files:
        with _opened(path) as file:
            depth = max(depth, *(number - place for number, place in enumerate(_places(_read(file)))))
    return depth


def _packets(files: Sequence[Path], stream: VideoStream, clock: _Clock) -> Iterator[Packet]:
    """All packets in the order of decoding, dated. Raises OutputError for chunks that do not go together."""
    shown = 0
    head: bytes | None = None
    for path in files:
        with _opened(path) as file:
            own = file.streams.video[0].codec_context.extradata or b""
            if head is not None and own != head:
                raise OutputError(
                    f"{path}: other encoder settings than the first chunk; use one version on all machines"
                )
            head = own
            packets = _read(file)
            for packet, place in zip(packets, _places(packets), strict=True):
                clock.set(packet, shown + place)
                packet.stream = stream
                yield packet
            shown += len(packets)


def _read(file: InputContainer) -> list[Packet]:
    return [packet for packet in file.demux(file.streams.video[0]) if packet.size]


def _places(packets: Sequence[Packet]) -> list[int]:
    """For each packet, how many of the others are shown before it."""
    order = sorted(range(len(packets)), key=lambda number: packets[number].pts or 0)
    places = [0] * len(packets)
    for place, number in enumerate(order):
        places[number] = place
    return places


def _opened(path: Path) -> InputContainer:
    try:
        return av.open(f"file:{path}")
    except (FFmpegError, OSError) as error:
        raise OutputError(f"{path}: cannot be read back ({error}); remove it and run the same command again") from error
