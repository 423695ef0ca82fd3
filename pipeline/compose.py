"""The output picture: fused luma with the colour of the visible camera."""

from __future__ import annotations

from typing import Literal

from engines.base import Luma
from pipeline.align import Aligned
from pipeline.frames import Frame

Tint = Literal["vis", "gray"]


def compose(fused: Luma, aligned: Aligned, tint: Tint = "vis") -> Frame:
    """The fused frame (H, W) at the VIS frame's time, with its chroma planes untouched, or none for gray."""
    vis = aligned.pair.vis
    chroma = aligned.chroma if tint == "vis" else None
    return Frame(fused, chroma, vis.pts, vis.time, vis.index, vis.name or aligned.pair.ir.name)
