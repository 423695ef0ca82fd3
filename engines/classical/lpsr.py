"""LPSR: a Laplacian pyramid whose base is fused as sparse codes of patches, instead of averaged.

Y. Liu, S. Liu, Z. Wang, "A general framework for image fusion based on multi-scale transform and sparse
representation", Information Fusion 24, 2015, with the Laplacian pyramid of 4 levels that the paper recommends.

Details: the coefficient of larger magnitude, after a 3x3 majority vote on which source that is.
Base, on patches of 8x8 pixels that overlap by 6: m = mean of a patch, a = argmin |a|_0 with |D a - (patch - m)|_2 <=
0.1 by orthogonal matching pursuit; the fused patch is D a + m of the source of larger |a|_1; overlaps are averaged.

Where we differ: the authors learned their dictionary D of 64x256 by K-SVD from 100,000 patches of natural pictures;
ours is the overcomplete DCT of the same size, from which such learning starts, so that nothing has to be shipped. The
last patch ends at the border, where theirs may leave a rim to the mean. A base smaller than a patch is averaged, and
so are patches that are equally busy (both flat), where theirs takes the first.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engines.base import Luma
from engines.classical.fuser import to_luma
from engines.classical.laplacian import Plane, bands, collapse

PATCH, STEP = 8, 2
"""px of the base: the side of a patch, and from one to the next (an overlap of 6)."""
FREQUENCIES = 16
"""Of the dictionary along each axis: 16 x 16 atoms."""
TOLERANCE = 0.1
"""Of what a code leaves of its patch, L2 over 64 pixels in 0..255: the authors' value."""
Vectors = NDArray[np.float64]


def lpsr(ir: Luma, vis: Luma) -> Luma:
    """The picture fused band by band, the base by sparse codes. (H, W) uint8 each."""
    *ir_bands, ir_base = bands(ir)
    *vis_bands, vis_base = bands(vis)
    details = [fuse_details(a, b) for a, b in zip(ir_bands, vis_bands, strict=True)]
    return to_luma(collapse([*details, fuse_base(ir_base, vis_base)]))


def fuse_details(ir: Plane, vis: Plane) -> Plane:
    """The band (h, w) of larger magnitude at each place, where most of its 3x3 neighbours agree."""
    votes = np.pad((np.abs(ir) >= np.abs(vis)).astype(np.uint8), 1, mode="edge")
    return np.where(sliding_window_view(votes, (3, 3)).sum((2, 3), dtype=np.uint8) > 4, ir, vis)


def fuse_base(ir: Plane, vis: Plane) -> Plane:
    """The base (h, w) float32 from the patches of larger activity, |a|_1."""
    if min(ir.shape) < PATCH:
        return (ir + vis) / np.float32(2)
    places = [(y, x) for y in _starts(ir.shape[0]) for x in _starts(ir.shape[1])]
    rebuilt, activity, means = zip(*(_coded(plane, places) for plane in (ir, vis)), strict=True)
    share = np.where(activity[0] == activity[1], 0.5, activity[0] > activity[1])[:, None]
    patches = share * (rebuilt[0] + means[0]) + (1 - share) * (rebuilt[1] + means[1])
    total, count = np.zeros(ir.shape), np.zeros(ir.shape)
    for (y, x), patch in zip(places, patches.reshape(-1, PATCH, PATCH), strict=True):
        total[y : y + PATCH, x : x + PATCH] += patch
        count[y : y + PATCH, x : x + PATCH] += 1
    return (total / count).astype(np.float32)


@functools.cache
def dictionary() -> Vectors:
    """(64, 255) atoms of unit length and zero mean: the overcomplete DCT less its constant, as patches have no mean."""
    place, frequency = np.arange(PATCH)[:, None], np.arange(FREQUENCIES)[None]
    waves = np.cos(place * frequency * np.pi / FREQUENCIES)  # (8, 16)
    waves[:, 1:] -= waves[:, 1:].mean(0)
    waves /= np.linalg.norm(waves, axis=0)
    return np.asarray(np.kron(waves, waves)[:, 1:], np.float64)


def sparse_codes(vectors: Vectors, tolerance: float = TOLERANCE) -> tuple[Vectors, Vectors]:
    """What the codes of vectors (n, 64) of zero mean rebuild, (n, 64), and |a|_1 of each code, (n,).

    Orthogonal matching pursuit (Pati et al. 1993), all vectors at once: the atom most like what is left joins the code,
    until no more is left than the tolerance.
    """
    atoms, length = dictionary(), vectors.shape[1]
    rebuilt, activity = np.zeros_like(vectors), np.zeros(len(vectors))
    going = np.flatnonzero(np.linalg.norm(vectors, axis=1) > tolerance)
    left = vectors[going]
    basis = np.zeros((len(going), length, length))  # orthonormal rows: the atoms taken so far, by Gram and Schmidt
    chosen = np.zeros((len(going), length), np.intp)
    for size in range(1, length):  # vectors without a mean have 63 dimensions
        if not len(going):
            break
        chosen[:, size - 1] = pick = np.abs(left @ atoms).argmax(1)
        axis, earlier = atoms.T[pick, None], basis[:, : size - 1]  # (n, 1, 64), (n, size - 1, 64)
        for _ in range(2):  # twice is enough to stay orthogonal, though the atoms are much alike
            axis = axis - (axis @ earlier.transpose(0, 2, 1)) @ earlier
        axis = axis[:, 0] / np.linalg.norm(axis, axis=2)
        basis[:, size - 1] = axis
        left -= (axis * left).sum(1, keepdims=True) * axis
        is_done = (np.linalg.norm(left, axis=1) <= tolerance) | (size == length - 1)
        if is_done.any():
            done = going[is_done]
            rebuilt[done] = vectors[done] - left[is_done]
            activity[done] = _activity(atoms, chosen[is_done, :size], basis[is_done, :size], rebuilt[done])
            going, left, basis, chosen = (kept[~is_done] for kept in (going, left, basis, chosen))
    return rebuilt, activity


def _activity(atoms: Vectors, chosen: NDArray[np.intp], basis: Vectors, rebuilt: Vectors) -> Vectors:
    """|a|_1 (n,) of D a = rebuilt (n, 64), by what both sides are along the basis (n, size, 64) of the chosen atoms."""
    system = basis @ atoms.T[chosen].transpose(0, 2, 1)
    return np.abs(np.linalg.solve(system, basis @ rebuilt[..., None])).sum((1, 2))


def _coded(plane: Plane, places: list[tuple[int, int]]) -> tuple[Vectors, Vectors, Vectors]:
    """Patches as their codes rebuild them (n, 64), without their means; |a|_1 (n,); the means (n, 1)."""
    windows = sliding_window_view(plane.astype(np.float64), (PATCH, PATCH))
    patches = np.stack([windows[place].ravel() for place in places])
    means = patches.mean(1, keepdims=True)
    return *sparse_codes(patches - means), means


def _starts(length: int) -> list[int]:
    """Where patches begin along an axis; the last ends with it."""
    return sorted({*range(0, length - PATCH + 1, STEP), length - PATCH})
