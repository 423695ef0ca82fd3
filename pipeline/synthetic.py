"""A scene that each camera sees half of: a textured street for VIS, a walking warm figure for IR, with known truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Colour, Frame, InputError, StreamInfo
from pipeline.sink import SinkSettings, open_sink

GROUND = 60.0
"""IR level of everything cold."""
WARM = 190.0
"""IR level added by the figure."""
FIGURE = ((0.0, -3.2, 0.75, 0.9), (0.0, -0.6, 1.15, 1.9), (-0.5, 2.6, 0.45, 1.8), (0.5, 2.6, 0.45, 1.8))
"""Head, trunk and two legs: centre and half axes of ellipses, in 1/24 of the picture's height."""
BT601 = 6
"""H.273 code of the matrix the scene's colours are made with."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is filmed, and how the two cameras differ."""

    width: int = 320
    height: int = 240
    frames: int = 50
    """Of the visible camera."""
    rate: Fraction = Fraction(25)
    """Frames per second of the visible camera."""
    ir_rate: Fraction = Fraction(25)
    shift: tuple[int, int] = (-6, 4)
    """px to move an IR picture right and down so that it lies on the visible one."""
    offset: float = 0.2
    """s to add to IR times to have VIS times."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SyntheticPair:
    """Two files and the truth about them."""

    ir: Path
    vis: Path
    scene: Scene


def target_centre(scene: Scene, time: float) -> tuple[float, float]:
    """Where the warm figure's middle is on the visible picture, px (x, y), at a VIS time in s."""
    length = scene.frames / float(scene.rate)
    x = scene.width * (0.2 + 0.6 * time / length)
    return x, scene.height * (0.55 + 0.02 * np.sin(9 * time))


def target_mask(scene: Scene, time: float) -> NDArray[np.float32]:
    """How much of each pixel of the visible grid the figure covers, (H, W) float32 in 0..1."""
    x, y = target_centre(scene, time)
    unit = scene.height / 24
    mask = np.zeros((scene.height, scene.width), np.float32)
    for dx, dy, rx, ry in FIGURE:
        centre = (round(x + dx * unit), round(y + dy * unit))
        cv2.ellipse(mask, centre, (max(1, round(rx * unit)), max(1, round(ry * unit))), 0, 0, 360, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), unit / 8), np.float32)


def ir_frames(scene: Scene) -> Iterator[Frame]:
    """What the thermal camera records: the figure on a smooth cold ground, no texture, on its own clock and grid."""
    rng = np.random.default_rng(scene.seed + 1)
    slope = np.linspace(-15, 15, scene.height, dtype=np.float32)[:, None]
    ground = np.repeat(slope + np.float32(GROUND), scene.width, axis=1)
    count = int(scene.frames * scene.ir_rate / scene.rate)
    back = np.array([[1, 0, -scene.shift[0]], [0, 1, -scene.shift[1]]], np.float64)
    for k in range(count):
        time = float(k / scene.ir_rate)
        mask = target_mask(scene, time + scene.offset)
        moved = cv2.warpAffine(mask, back, (scene.width, scene.height), borderMode=cv2.BORDER_REPLICATE)
        noise = rng.normal(0, 1.5, (scene.height, scene.width)).astype(np.float32)
        yield Frame(_levels(ground + WARM * moved + noise), None, k, time, k)


def vis_frames(scene: Scene) -> Iterator[Frame]:
    """What the visible camera records: the lit, coloured texture of the street. The figure leaves no trace in it."""
    luma, chroma = _street(scene)
    for k in range(scene.frames):
        yield Frame(luma, chroma, k, float(k / scene.rate), k)


def claim_folder(folder: Path, names: Sequence[str], *, may_replace: bool) -> None:
    """Make a folder in which files of these names can be written. Raises InputError if it cannot be had."""
    for name in names:
        if not may_replace and (folder / name).exists():
            raise InputError(f"{folder / name}: exists; pass --overwrite or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder ({error.strerror}); name another folder") from error


def write_pair(folder: Path, scene: Scene | None = None) -> SyntheticPair:
    """Film the scene into `ir.mp4` and `vis.mp4` in a folder, made if need be; existing files are replaced."""
    scene = scene or Scene()
    folder.mkdir(parents=True, exist_ok=True)
    settings = SinkSettings(crf=14, overwrite=True)
    streams = {"ir": (ir_frames(scene), scene.ir_rate), "vis": (vis_frames(scene), scene.rate)}
    for name, (frames, rate) in streams.items():
        colour = Colour(full_range=False, primaries=BT601, transfer=BT601, matrix=BT601)
        info = StreamInfo(name, scene.width, scene.height, 1 / rate, rate=rate, colour=colour)
        sink = open_sink(folder / f"{name}.mp4", info, settings)
        try:
            for frame in frames:
                sink.write(frame)
        finally:
            sink.close()
    return SyntheticPair(folder / "ir.mp4", folder / "vis.mp4", scene)


def _street(scene: Scene) -> tuple[NDArray[np.uint8], tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Luma (H, W) and chroma (H/2, W/2) of a dusk street: sky, windowed walls, cobbles; rich in edges, mid-dark."""
    rng = np.random.default_rng(scene.seed)
    height, width = scene.height, scene.width
    luma = np.tile(np.linspace(120, 60, height, dtype=np.float32)[:, None], (1, width))
    noise = rng.normal(0, 1, (height, width)).astype(np.float32)
    for sigma, weight in ((1, 7), (3, 9), (8, 12)):  # cobbles and stains of three sizes
        octave = cv2.GaussianBlur(noise, (0, 0), sigma)
        luma += weight * octave / octave.std() * (np.arange(height)[:, None] > 0.3 * height)
    u, v = (np.full((height, width), 128, np.float32) for _ in range(2))
    u[: int(0.3 * height)] += 18  # sky
    _walls(rng, luma, u, v)
    small = ((width + 1) // 2, (height + 1) // 2)
    u8, v8 = (_levels(np.asarray(cv2.resize(plane, small, interpolation=cv2.INTER_AREA))) for plane in (u, v))
    return _levels(luma), (u8, v8)


def _levels(plane: NDArray[Any]) -> NDArray[np.uint8]:
    return np.clip(plane, 0, 255).astype(np.uint8)


def _walls(rng: np.random.Generator, luma: NDArray[np.float32], u: NDArray[np.float32], v: NDArray[np.float32]) -> None:
    """Four house fronts with lit windows, drawn into the planes."""
    height, width = luma.shape
    edges = np.linspace(0, width, 5).astype(int)
    for left, right in pairwise(edges):
        top, bottom = int(height * rng.uniform(0.08, 0.25)), int(0.5 * height)
        luma[top:bottom, left:right] = rng.uniform(50, 95)
        v[top:bottom, left:right] += rng.uniform(5, 25)
        pane, pitch = max(2, height // 24), max(4, height // 12)
        for y in range(top + pane, bottom - pane, pitch):
            for x in range(left + pane, right - pane, pitch):
                is_lit = rng.random() < 0.4
                luma[y : y + pane, x : x + pane] = 210 if is_lit else 30
                u[y : y + pane, x : x + pane] -= 35 if is_lit else 0
