"""What to launch for each step around the network: pure functions from sizes and device addresses to a `Launch`.

Nothing here allocates, copies or waits; the caller owns every buffer. Kernels are those of rules.cu.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engines.rules import ACTIVITY_RATIO, next_threshold

THREADS = 256
"""Threads of a block. 48 to 54 registers each leave four to five such blocks on a multiprocessor (not measured)."""
SIGNATURES = {
    "crotalus_count": "PPPI",
    "crotalus_decide": "PPPIfff",
    "crotalus_fuse": "PPPPPPPI",
    "crotalus_to_unit": "PQIiiPPPiiiii",
    "crotalus_half_to_bytes": "PiiPQIiiP",
    "crotalus_float_to_bytes": "PiiPQIiiP",
    "crotalus_copy": "PIPIii",
}
"""Parameters of each kernel as `struct` writes them: P pointer, Q and I unsigned, i int, f float32."""
TILE = (32, 8)
"""Columns and rows of a picture that a block takes: a warp reads 32 neighbours."""
COUNT_BLOCKS, FUSE_BLOCKS = 512, 2048
"""Most blocks to a picture; each then goes on to further positions. From occupancy on paper, not measured."""
LOADS = 4
"""Positions that a lane of crotalus_count reads at a time."""
UNKNOWN = 2
"""The rule of a map that no pair has come before."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel with all it takes: a value, so that a test can run it elsewhere."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[int | float, ...]

    def packed(self) -> bytes:
        """The arguments as the kernel's parameters lie in memory."""
        return struct.pack(SIGNATURES[self.kernel], *self.arguments)


@dataclass(frozen=True, slots=True)
class FeatureShape:
    """Size of a stack of features, (pictures, height, width, maps) fp16, at an address of a multiple of 16."""

    pictures: int
    height: int
    width: int
    maps: int

    def __post_init__(self) -> None:
        sides = self.pictures, self.height, self.width
        if min(sides) < 1 or self.pictures > 65535 or self.area >= 2**30 or self.maps not in (8, 16, 32, 64, 128, 256):
            raise ValueError(
                f"features {(*sides, self.maps)}: kernels take 1 to 65535 pictures of up to 2^30 positions and "
                "8, 16, 32, 64, 128 or 256 maps; use --backend cpu for this model"
            )

    @property
    def area(self) -> int:
        """Positions of a picture, h w of Eq. 9."""
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class Plane:
    """8-bit luma on the device: `pictures` of one size, full range 0..255 unless a launch takes a table with it."""

    address: int
    pitch: int
    """bytes from row to row"""
    height: int
    width: int
    pictures: int = 1
    stride: int = 0
    """bytes from picture to picture"""

    def __post_init__(self) -> None:
        size = self.pitch * (self.height - 1) + self.width
        if min(self.height, self.width) < 1 or self.pitch < self.width or (self.pictures > 1 and self.stride < size):
            raise ValueError(
                f"{self}: rows or pictures overlap; give a pitch of the width and a stride of {size} or more"
            )


def count_maps(common_ir: int, common_vis: int, counts: int, shape: FeatureShape) -> Launch:
    """Adds L of Eq. 9 to counts (N, 2, maps) uint32, infrared first; they must be 0 before the first pair."""
    _aligned(common_ir, common_vis)
    blocks = min(_share(shape.area, _positions(shape) * LOADS), COUNT_BLOCKS)
    return _features("crotalus_count", (blocks, shape.pictures, 2), shape, common_ir, common_vis, counts)


def decide_rules(
    counts: int, before: int | None, averaged: int, shape: FeatureShape, *, ratio: float = ACTIVITY_RATIO
) -> Launch:
    """Which maps are averaged, (N, maps) uint8 of 0 or 1, as `rules.averaged_maps`; counts are cleared.

    before: the same of the pair before, UNKNOWN for none, for hysteresis as `rules.next_threshold`; may be `averaged`.
    None takes each pair as a single picture.
    """
    rules = None, np.array([True]), np.array([False])
    thresholds = [float(next_threshold(rule, maps=1, ratio=ratio)[0]) for rule in rules]
    arguments = counts, before or 0, averaged, shape.area, *thresholds
    return Launch("crotalus_decide", (shape.pictures, 1, 1), (shape.maps, 1, 1), arguments)


def fuse_features(
    private: tuple[int, int, int], common: tuple[int, int, int], averaged: int, shape: FeatureShape
) -> Launch:
    """Eq. 8 and Eq. 9. private, common: the stacks of ir, of vis, and the one to write, which may be one of the two.

    Features must be finite.
    """
    (private_ir, private_vis, private_out), (common_ir, common_vis, common_out) = private, common
    _aligned(*private, *common)
    _aligned(averaged, to=8)
    grid = min(_share(shape.area, _positions(shape)), FUSE_BLOCKS), shape.pictures, 1
    pointers = private_ir, private_vis, common_ir, common_vis, averaged, private_out, common_out
    return _features("crotalus_fuse", grid, shape, *pointers)


def to_unit(
    luma: Plane,
    unit: int,
    *,
    margin: int,
    multiple: int,
    warp: int | None = None,
    size: tuple[int, int] | None = None,
    table: int | None = None,
) -> Launch:
    """Luma / 255 -> (N, rows, columns) fp16, contiguous, padded as `onnx_cpu.reflected`; see `padded_length`.

    warp: (height, width, 2) float32, where in `luma` each pixel of the picture lies, x before y, px; read between
    pixels and not rounded to 8 bits; what lies outside takes the border's value. size: (height, width) of the
    warped picture; without a warp it is that of `luma`. table: (256,) uint8, the full-range level that each stored
    one stands for; looked up before the warp reads between pixels.
    """
    if (warp is None) != (size is None):
        raise ValueError(f"warp {warp}, size {size}: one without the other; give both or none")
    height, width = size or (luma.height, luma.width)
    rows, columns = (padded_length(side, margin, multiple) for side in (height, width))
    source = luma.address, luma.stride, luma.pitch, luma.height, luma.width, warp or 0, table or 0
    arguments = *source, unit, height, width, margin, rows, columns
    return Launch("crotalus_to_unit", _tiles(rows, columns, luma.pictures), (*TILE, 1), arguments)


def to_bytes(
    unit: int,
    size: tuple[int, int],
    luma: Plane,
    *,
    precision: Literal["half", "float"] = "half",
    table: int | None = None,
) -> Launch:
    """Luma in 0..1 -> 8 bits in the caller's plane, rounded half to even and clipped, cropped to the plane's size.

    unit: (N, *size), contiguous, fp16 or float32; size must be at least the plane's. table: (256,) uint8, what to
    store for each full-range level.
    """
    if size[0] < luma.height or size[1] < luma.width:
        raise ValueError(f"luma of {size} does not fill a plane of {luma.height, luma.width}; give a smaller plane")
    arguments = unit, *size, luma.address, luma.stride, luma.pitch, luma.height, luma.width, table or 0
    grid = _tiles(luma.height, luma.width, luma.pictures)
    return Launch(f"crotalus_{precision}_to_bytes", grid, (*TILE, 1), arguments)


def copy_plane(source: Plane, target: Plane) -> Launch:
    """The bytes of a plane into another of its size, whatever their pitches: chroma on its way to the output."""
    size = source.height, source.width
    if source.pictures != 1 or target.pictures != 1 or (target.height, target.width) != size:
        raise ValueError(f"{source} into {target}: one picture of one size is copied; give two planes of {size}")
    arguments = source.address, source.pitch, target.address, target.pitch, *size
    return Launch("crotalus_copy", _tiles(*size, 1), (*TILE, 1), arguments)


def padded_length(length: int, margin: int, multiple: int) -> int:
    """Length of an axis with `margin` on both sides, filled up to `multiple`."""
    return _share(length + 2 * margin, multiple) * multiple


def _features(kernel: str, grid: tuple[int, int, int], shape: FeatureShape, *pointers: int) -> Launch:
    return Launch(kernel, grid, (THREADS, 1, 1), (*pointers, shape.area))


def _positions(shape: FeatureShape) -> int:
    """How many positions a block holds at a time: 8 maps to a thread."""
    return THREADS * 8 // shape.maps


def _tiles(rows: int, columns: int, pictures: int) -> tuple[int, int, int]:
    return _share(columns, TILE[0]), _share(rows, TILE[1]), pictures


def _share(amount: int, portion: int) -> int:
    """Portions needed for an amount."""
    return -(-amount // portion)


def _aligned(*pointers: int, to: int = 16) -> None:
    """The kernels move that many bytes at once."""
    for pointer in pointers:
        if pointer % to:
            raise ValueError(f"address {pointer:#x}: not a multiple of {to}; give each array an allocation of its own")
