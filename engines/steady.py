"""A fused stream that does not flicker: gain steps of infrared let through slowly, grain of what rests averaged away.

All that is remembered is finite: a frame depends on the `MEMORY` pairs before it and on nothing else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma
from engines.tone import SAME, WINDOW, Cells, Tone, cells, step

FRAMES = 3
"""Fused frames in an average: grain of its own each time falls to 0.58, and its second difference, flicker, to 0.27."""
MEMORY = WINDOW + FRAMES - 1
"""Pairs before a frame that it depends on: the oldest frame of an average has `WINDOW` pairs to make its tone of."""
SMOOTHING = 1.0
"""Sigma of the blur before a change is sought, px of the picture at half its size: more hides targets of a few pixels,
and at 0.8 flicker of a coded clip came out a quarter higher."""
QUARTILE = 0.3186
"""Of the size of a normal value of standard deviation 1."""
SURE = 3.5
"""Standard deviations of a source's own grain that its change may reach and still be called rest."""
LEAST, MOST = 4.0, 6.0
"""Levels between which that is held. What a video codec leaves out and brings later has no grain to be measured by, yet
flickers; and where the picture moves as a whole, grain cannot be told from motion."""
FADING = 0.5
"""Part of it over which the average fades out."""
GUARD = 5
"""Side of the square around a pixel that must rest, px at half size."""

Small = NDArray[np.uint8]
FULL = 63
"""A share of 1, in a picture of shares: times all that two frames can differ from a third, it fits into 16 bits."""
CALM = 64
"""What stands for the limit of a change: 0..255 then holds four times as much."""
_SHARES = np.clip((1 + FADING - np.arange(256) / CALM) / FADING * FULL, 0, FULL).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _Past:
    """A pair that was fused."""

    smalls: tuple[Small, Small]
    fused: Luma


class Steady:
    """Of one stream: `put` before a pair is fused, `get` after, in order. One thread."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[Small, Small]] = deque()
        self.forget()

    def forget(self) -> None:
        """Start anew with the next pair put: it does not follow what was."""
        self._shape: tuple[int, ...] = ()
        self._cells: Cells | None = None
        self._steps: deque[Tone | None] = deque(maxlen=WINDOW)
        self._past: deque[_Past] = deque(maxlen=FRAMES - 1)

    def put(self, ir: Luma, vis: Luma, seen: NDArray[np.float32] | None = None) -> Luma:
        """The IR picture to be fused instead: ir itself where nothing is to be changed.

        ir, vis: (H, W) uint8. seen: (H, W) in 0..1, how far IR is seen; elsewhere VIS stands in for it and is left
        alone.
        """
        if ir.shape != self._shape:
            self.forget()
            self._shape = ir.shape
        ir = self._toned(ir, seen)
        self._under_way.append((_small(ir), _small(vis)))
        return ir

    def get(self, fused: Luma) -> Luma:
        """The fused picture (H, W) of the oldest pair put, with the grain of what rests averaged away.

        fused: kept, so nobody may write to it any more.
        """
        smalls = self._under_way.popleft()
        past = [old for old in self._past if old.fused.shape == fused.shape]
        self._past.append(_Past(smalls, fused))
        share = _resting(smalls, past) if past else None
        if share is None or not share.any():
            return fused
        height, width = fused.shape
        away = fused.astype(np.int16) * np.int16(-len(past))
        for old in past:
            away += old.fused
        away *= np.asarray(cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        return np.asarray(cv2.addWeighted(fused, 1.0, away, 1 / (FULL * (len(past) + 1)), 0.0, dtype=cv2.CV_8U))

    def _toned(self, ir: Luma, seen: NDArray[np.float32] | None) -> Luma:
        """IR with the steps of the last `WINDOW` frames taken back, each the less the longer it is ago."""
        now = cells(ir, seen)
        self._steps.appendleft(None if now is None or self._cells is None else step(self._cells, now))
        self._cells = now
        tone = SAME
        for age, change in enumerate(self._steps):
            if change is not None:
                tone = change.undone(1 - age / WINDOW).after(tone)
        if tone is SAME:
            return ir
        toned = tone.of(ir)
        if seen is None:
            return toned
        way = cv2.multiply(cv2.subtract(toned, ir, dtype=cv2.CV_32F), seen)
        return np.asarray(cv2.add(ir, way, dtype=cv2.CV_8U))


def _small(luma: Luma) -> Small:
    """A picture at half its size, smoothed."""
    height, width = luma.shape
    half = cv2.resize(luma, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(half, (5, 5), SMOOTHING))


def _resting(smalls: tuple[Small, Small], past: list[_Past]) -> Small:
    """Shares of the average at half size: `FULL` where neither source, nor what is near, differs from past pairs."""
    restless = np.zeros_like(smalls[0])
    for old in past:
        for now, before in zip(smalls, old.smalls, strict=True):
            change = np.asarray(cv2.absdiff(now, before), np.uint8)
            cv2.max(restless, cv2.convertScaleAbs(change, alpha=CALM / _limit(change)), restless)
    shares = cv2.erode(cv2.LUT(restless, _SHARES), np.ones((GUARD, GUARD), np.uint8))
    side = GUARD - 2  # narrower than the guard, so that what moves has no share at all
    return np.asarray(cv2.blur(shares, (side, side)))


def _limit(change: Small) -> float:
    """Largest change of a source that is still its grain, levels: by the quarter of the picture that changes least."""
    counts = np.bincount(change[::4, ::4].ravel())
    below, wanted = np.cumsum(counts), counts.sum() / 4
    level = int(np.searchsorted(below, wanted))
    quartile = level + 0.5 - (below[level] - wanted) / counts[level]  # within the level, as if spread evenly
    return min(max(SURE * float(quartile) / QUARTILE, LEAST), MOST)
