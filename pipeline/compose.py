"""The output picture: fused luma with the colour of the visible camera."""

from __future__ import annotations

from typing import Literal, cast

from engines.base import Luma
from engines.device_picture import DevicePicture
from pipeline.align import Aligned
from pipeline.frames import Chroma, Frame
from pipeline.rigging import laid_over
from pipeline.work_height import carried

Tint = Literal["vis", "gray"]


def compose(fused: Luma, aligned: Aligned, tint: Tint = "vis") -> Frame:
    """The fused frame (H, W) at the VIS frame's time, with its chroma planes untouched, or none for gray.

    What only one camera sees is that camera's picture. A picture on a device has the chroma that it is to have
    already, and stands for both. What was fused at a smaller size is carried to the output's.
    """
    vis = aligned.pair.vis
    if aligned.seen is not None:
        fused = laid_over(fused, aligned.vis if aligned.reference == "vis" else aligned.ir, aligned.seen)
    if aligned.whole is not None:
        fused = carried(fused, aligned.vis, aligned.whole)
    chroma = aligned.chroma if tint == "vis" else None
    if isinstance(fused, DevicePicture):
        chroma = cast(Chroma, fused)
    return Frame(fused, chroma, vis.pts, vis.time, vis.index, vis.name or aligned.pair.ir.name)
