"""Frames of both cameras that belong together, spread over two recordings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame, InputError, Pair
from pipeline.image_source import ImageSource
from pipeline.job import Job, open_pair
from pipeline.source import open_source
from pipeline.sync import SyncPolicy, SyncReport, anchored, default_tolerance, pair_frames
from pipeline.thermal import Agc, Gain

LONG = 20.0
"""s, from which a video is looked into at places instead of being read whole."""
LOOK = 1.0
"""s read at each place: a partner is found within, or there is none."""
COLOURFUL = 4.0
"""Levels, standard deviation of U or V from which a picture counts as coloured."""
OF_A_PALETTE = 0.25
"""Of the variance of U and V, that is left once luma is known, below which the colours are a palette's."""

Luma8 = NDArray[np.uint8]


def spread_pairs(ir: str, vis: str, count: int, offset: float, gain: Gain) -> list[tuple[Luma8, Luma8]]:
    """Up to `count` pairs of pictures (H, W) uint8, spread evenly over what both recordings cover.

    offset: s added to IR times. gain: of IR. Raises InputError, also where the two look swapped.
    """
    job = Job(ir, vis, Path(), SyncPolicy(offset))
    length = _length(vis)
    if length is None or length < LONG:
        pairs = _thinned(_pairs(job), count)
    else:
        places = [length * (number + 0.5) / count for number in range(count)]
        pairs = [pair for place in places for pair in _at(job, place)]
        if not pairs:
            list(_pairs(job))  # raises what says why there is none
    check_not_swapped(pairs[0])
    sizes = {(pair.ir.luma.shape, pair.vis.luma.shape) for pair in pairs}
    if len(sizes) > 1:
        raise InputError(
            f"{ir}, {vis}: pictures of {len(sizes)} sizes; a rig is of one: give one pair, or what one rig took"
        )
    agcs = Agc(gain, inertia=0.0), Agc(inertia=0.0)  # frames far apart are no stream
    return [(_luma(agcs[0], pair.ir), _luma(agcs[1], pair.vis)) for pair in pairs]


def check_not_swapped(pair: Pair) -> None:
    """Raise InputError if a pair's IR is in true colour, or its VIS as only thermal cameras have it."""
    if pair.vis.luma.dtype == np.uint16 and pair.ir.luma.dtype == np.uint8:
        raise InputError("vis has 16 bits and ir has 8: the two look swapped; give infrared first")
    if (
        _is_coloured(pair.ir)
        and not _has_palette(pair.ir)
        and not (_is_coloured(pair.vis) and not _has_palette(pair.vis))
    ):
        raise InputError("ir is in true colour and vis is not: the two look swapped; give infrared first")


def _pairs(job: Job) -> Iterator[Pair]:
    ir, vis, _ = open_pair(job)
    with closing(ir), closing(vis):
        tolerance = default_tolerance(ir.info, vis.info)
        yield from pair_frames(ir.frames(), vis.frames(), anchored(job.policy, ir.info), tolerance, SyncReport())


def _at(job: Job, place: float) -> list[Pair]:
    """The first pair from a place on, none if there is none."""
    try:
        with closing(_pairs(replace(job, start=place, end=place + LOOK))) as pairs:  # type: ignore[type-var]
            return list(islice(pairs, 1))
    except InputError:
        return []


def _thinned(pairs: Iterator[Pair], count: int) -> list[Pair]:
    """`count` of all, evenly spread, without knowing how many will come: holds twice as many at most."""
    kept: list[Pair] = []
    every = 1
    for number, pair in enumerate(pairs):
        if number % every == 0:
            kept.append(pair)
        if len(kept) >= 2 * count:
            kept, every = kept[::2], 2 * every
    places = np.unique(np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int))
    return [kept[place] for place in places]


def _length(path: str) -> float | None:
    """s that a video promises; None for images, and where it does not say."""
    with closing(open_source(path)) as source:
        info = source.info
        if isinstance(source, ImageSource) or not info.frames or not info.rate:
            return None
        return float(info.frames / info.rate)


def _luma(agc: Agc, frame: Frame) -> Luma8:
    return np.array(agc.apply(frame).luma, np.uint8)


def _is_coloured(frame: Frame) -> bool:
    return frame.chroma is not None and max(float(plane.std()) for plane in frame.chroma) > COLOURFUL


def _has_palette(frame: Frame) -> bool:
    """Whether the colour follows from the luma, as it does where a thermal camera paints its picture."""
    assert frame.chroma is not None
    height, width = frame.chroma[0].shape
    luma = cv2.resize(frame.luma, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8).ravel()
    count = np.maximum(np.bincount(luma, minlength=256), 1)
    left = whole = 0.0
    for plane in frame.chroma:
        value = plane.astype(np.float64).ravel()
        mean = np.bincount(luma, value, minlength=256) / count
        left += float(((value - mean[luma]) ** 2).mean())
        whole += float(value.var())
    return left < OF_A_PALETTE * whole
