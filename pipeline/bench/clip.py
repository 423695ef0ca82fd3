"""The synthetic pair that a benchmark decodes: one scene, played as often as is needed."""

from __future__ import annotations

import math
from pathlib import Path

import av

from pipeline.align import Size
from pipeline.synthetic import Scene, write_pair

LOOP = 24
"""Frames that are filmed and encoded; then they come again. A second of 720p takes as long to make as to measure."""


def synthetic_pair(folder: Path, size: Size, frames: int) -> tuple[str, str]:
    """IR and VIS files of a size with so many frames at least, made in a folder."""
    scene = Scene(width=size[0], height=size[1], frames=min(frames, LOOP), offset=0.0)
    pair = write_pair(folder / f"{size[0]}x{size[1]}", scene)
    if frames <= LOOP:
        return str(pair.ir), str(pair.vis)
    turns = math.ceil(frames / LOOP)
    ir, vis = (repeated(path, path.with_stem(f"{path.stem}-{frames}"), turns, scene) for path in (pair.ir, pair.vis))
    return str(ir), str(vis)


def repeated(path: Path, out: Path, turns: int, scene: Scene) -> Path:
    """The packets of a video so many times over, one after the other; nothing is encoded again."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        assert stream.time_base is not None, f"{path} was written here, with times"
        length = round(scene.frames / scene.rate / stream.time_base)
        for turn in range(turns):
            source.seek(0)
            for packet in source.demux(stream):
                if packet.pts is None or packet.dts is None:  # the one that flushes a decoder
                    continue
                packet.pts, packet.dts, packet.stream = packet.pts + turn * length, packet.dts + turn * length, copy
                target.mux(packet)
    return out
