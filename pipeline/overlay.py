"""A few words in the corner of a picture: time, frames per second, latency. Readable on any background."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.picture import NEUTRAL

FONT = cv2.FONT_HERSHEY_SIMPLEX
SCALE = 0.5
"""Of the font, for a picture of 480 lines."""
SMALLEST_SCALE = 0.4
"""Below it the letters of this font run together."""
SHADE = 0.3
"""Share of the picture's own light behind the words: at most 77 of 255 behind letters of 255."""


def overlay_lines(wall: float, fps: float, latency: float | None) -> list[str]:
    """The words of a live picture. wall: s since 1970, shown in local time; latency: s, None if unknown."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))
    speed = "" if fps != fps else f"{fps:.1f} fps"  # nan before the second frame
    delay = "" if latency is None else f"{1000 * latency:.0f} ms"
    return [f"{clock}.{int(wall % 1 * 10)}", "  ".join(part for part in (speed, delay) if part)]


def draw(frame: Frame, lines: Sequence[str]) -> Frame:
    """The frame with lines of text in its upper left corner, on planes of its own; itself if there is no text."""
    words = [line for line in lines if line]
    height, width = frame.luma.shape
    scale = max(SCALE * height / 480, SMALLEST_SCALE)
    thick = max(1, round(scale))
    sizes = [cv2.getTextSize(line, FONT, scale, thick) for line in words]
    if not words or height < 2:
        return frame
    step = round(1.5 * max(size[0][1] + size[1] for size in sizes))
    pad = max(2, step // 4)
    right = min(max(size[0][0] for size in sizes) + 3 * pad, width)
    bottom = min(step * len(words) + 2 * pad, height)
    luma = np.array(frame.luma, np.uint8, order="C")
    box = luma[:bottom, :right]
    box[:] = cv2.convertScaleAbs(box, alpha=SHADE)
    for k, line in enumerate(words):
        base = pad + step * k + round(0.75 * step)
        cv2.putText(luma, line, (pad, base), FONT, scale, 255, thick, cv2.LINE_AA)
    if frame.chroma is None:
        return replace(frame, luma=luma)
    planes = [_neutral(plane, frame.luma, right, bottom) for plane in frame.chroma]
    return replace(frame, luma=luma, chroma=(planes[0], planes[1]))


def _neutral(plane: NDArray[np.uint8], luma: NDArray[Any], right: int, bottom: int) -> NDArray[np.uint8]:
    """A copy of a chroma plane without colour up to a column and row of the luma: white letters stay white."""
    step = 1 if plane.shape == luma.shape else 2
    copy = plane.copy()
    copy[: (bottom + step - 1) // step, : (right + step - 1) // step] = NEUTRAL
    return copy
