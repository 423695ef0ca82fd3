"""What temperature looks like: tables from IR luma to colour, by formulas of our own or from a user's file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import InputError
from pipeline.picture import CHROMA_SPAN, NEUTRAL, luma_weights

LEVELS = 256
TABLE_FILES = (".csv", ".png", ".bmp", ".tif", ".tiff")
"""What a user's table may be stored as: lossless."""
MAX_TABLE_BYTES = 1 << 20
"""A table of 256 colours has a few kilobytes; what is larger is another file."""

Curve = NDArray[np.float64]
"""(256,) over the levels."""
_RED, _BLUE = luma_weights(6)
_GREEN = 1 - _RED - _BLUE


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """A named table of colours, coldest first."""

    name: str
    table: NDArray[np.uint8]
    """(256, 3) uint8, full-range R, G, B; read only."""


@dataclass(frozen=True, slots=True, eq=False)
class Tones:
    """A palette in the terms of one output, so that a picture is coloured by three table look-ups. Read only."""

    luma: NDArray[np.uint8]
    """(256,) uint8, full range as in every Frame."""
    u: NDArray[np.uint8]
    """(256,) uint8 in the range asked for."""
    v: NDArray[np.uint8]
    is_gray: bool
    """u and v are neutral throughout."""


@lru_cache(maxsize=64)
def palette(text: str) -> Palette:
    """The palette of this name, or the table in a file, read once. Raises InputError for anything else."""
    if text in _FORMULAS:
        return _built_in(text)
    if Path(text).suffix.lower() in TABLE_FILES:
        return read_table(Path(text))
    known = ", ".join(PALETTES)
    raise InputError(f"palette {text!r}: not known; use one of {known}, or a table as {' '.join(TABLE_FILES)}")


@lru_cache(maxsize=64)
def tones(colours: Palette, matrix: int, *, full_range: bool) -> Tones:
    """The palette as luma and chroma by an H.273 matrix; chroma around 128, 16..240 unless full_range."""
    red, blue = luma_weights(matrix)
    rgb = colours.table.astype(np.float64)
    luma = rgb @ (red, 1 - red - blue, blue)
    span = 1.0 if full_range else CHROMA_SPAN
    u = NEUTRAL + (rgb[:, 2] - luma) * (span / (2 * (1 - blue)))
    v = NEUTRAL + (rgb[:, 0] - luma) * (span / (2 * (1 - red)))
    y8, u8, v8 = (_frozen(np.floor(np.clip(plane, 0, 255) + 0.5)) for plane in (luma, u, v))
    return Tones(y8, u8, v8, bool((u8 == NEUTRAL).all() and (v8 == NEUTRAL).all()))


def read_table(path: Path) -> Palette:
    """A user's palette: 256 lines `R,G,B` of .csv, or an image of 256x1 px, cold to hot. Raises InputError."""
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _image_rows(path)
    return Palette(path.stem, _frozen(rows))


def _csv_rows(path: Path) -> Curve:
    text = _bytes(path).decode("utf-8-sig", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    rows = np.zeros((LEVELS, 3))
    for k, line in enumerate(lines[:LEVELS]):
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part[:9]) <= 255 for part in parts):
            raise InputError(f"{path}: {line[:40]!r} as colour {k}: give R,G,B as whole numbers 0..255")
        rows[k] = [int(part) for part in parts]
    if len(lines) != LEVELS:
        raise InputError(f"{path}: {len(lines)} colours: a table has {LEVELS} lines R,G,B, the coldest first")
    return rows


def _image_rows(path: Path) -> Curve:
    try:
        image = cv2.imdecode(np.frombuffer(_bytes(path), np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path}: not an image that can be read; give {LEVELS}x1 px, or {LEVELS} lines R,G,B as .csv")
    height, width = image.shape[:2]
    if sorted((height, width)) != [1, LEVELS]:
        raise InputError(f"{path}: {width}x{height} px: a table is {LEVELS}x1 px, the coldest first")
    return image.reshape(LEVELS, 3).astype(np.float64)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a table of {LEVELS} colours") from error
    if not data or len(data) > MAX_TABLE_BYTES:
        size = "is empty" if not data else f"is larger than {MAX_TABLE_BYTES} bytes"
        raise InputError(f"{path}: {size}; give {LEVELS} lines R,G,B as .csv, or an image of {LEVELS}x1 px")
    return data


def _frozen(values: Curve) -> NDArray[np.uint8]:
    table = values.astype(np.uint8)
    table.setflags(write=False)
    return table


def _by_hue(luma: Curve, hue_deg: Curve, saturation: Curve) -> Curve:
    """(256, 3) in 0..1: colours of a given BT.601 luma and hue, as saturated as the RGB cube allows at that luma.

    hue_deg: angle of (B - Y, R - Y) in the chroma plane: blue -10, red 105, yellow 170, cyan -75. saturation: share
    of what the cube allows; negative for the opposite hue. Luma alone sets brightness, so it rises as given.
    """
    u, v = np.cos(np.radians(hue_deg)), np.sin(np.radians(hue_deg))
    u, v = u * np.sign(saturation), v * np.sign(saturation)
    blue, red = 2 * (1 - _BLUE) * u, 2 * (1 - _RED) * v
    away = np.stack([red, -(_RED * red + _BLUE * blue) / _GREEN, blue], axis=1)  # (256, 3), of luma 0
    room = np.where(away > 0, 1 - luma[:, None], luma[:, None]) / np.maximum(np.abs(away), 1e-9)
    return np.clip(luma[:, None] + away * (np.abs(saturation) * room.min(axis=1))[:, None], 0, 1)


def _ease(t: Curve) -> Curve:
    """0 up to 0, 1 from 1, smooth between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _ironbow(t: Curve) -> Curve:
    """Black, indigo, purple, red, orange, yellow, white."""
    return _by_hue(t, 6 + 160 * _ease(t**0.8), 0.95 * _ease(t / 0.03))


def _lava(t: Curve) -> Curve:
    """Black, dark red, red, orange, yellow, white."""
    return _by_hue(t, 103 + 64 * _ease((t - 0.15) / 0.75), np.full_like(t, 0.97))


def _arctic(t: Curve) -> Curve:
    """Black, deep blue, ice, then from neutral to gold and white: cold is blue, warm is gold."""
    return _by_hue(t, -12 - 20 * t, 0.9 * np.cos(np.pi * _ease(t / 1.12)))


def _rainbow(t: Curve) -> Curve:
    """Blue, cyan, green, yellow, red: three broad lobes. The one palette whose brightness does not follow t."""
    lobes = ((0.86, 0.54), (0.5, 0.46), (0.16, 0.46))  # centre and half width of red, green, blue
    away = [np.abs(t - centre) / width for centre, width in lobes]
    return np.stack([np.cos(np.pi / 2 * np.clip(1.5 * d - 0.5, 0, 1)) for d in away], axis=1)


def _gray(t: Curve) -> Curve:
    return np.repeat(t[:, None], 3, axis=1)


_FORMULAS: MappingProxyType[str, Callable[[Curve], Curve]] = MappingProxyType({
    "white hot": _gray,
    "black hot": lambda t: _gray(1 - t),
    "ironbow": _ironbow,
    "rainbow": _rainbow,
    "lava": _lava,
    "arctic": _arctic,
})  # fmt: skip
PALETTES = tuple(_FORMULAS)
"""Names of the palettes that come with the product."""


def _built_in(name: str) -> Palette:
    rgb = _FORMULAS[name](np.arange(LEVELS) / (LEVELS - 1))
    return Palette(name, _frozen(np.floor(255 * rgb + 0.5)))
