"""Sparse codes: as orthogonal matching pursuit finds them, and the busier patch taken whole."""

import numpy as np
import pytest

from engines.classical.laplacian import bands
from engines.classical.lpsr import PATCH, TOLERANCE, dictionary, fuse_base, fuse_details, sparse_codes
from tests.training.material import textured


def pursuit(vector):
    """One code, by the book: least squares over all atoms taken so far, in every step."""
    atoms, taken, left, code = dictionary(), [], vector, np.zeros(0)
    while np.linalg.norm(left) > TOLERANCE:
        taken.append(int(np.abs(atoms.T @ left).argmax()))
        code = np.linalg.lstsq(atoms[:, taken], vector, rcond=None)[0]
        left = vector - atoms[:, taken] @ code
    return vector - left, np.abs(code).sum()


@pytest.fixture(scope="module")
def patches():
    base = bands(textured(200, 200))[-1].astype(float)
    found = np.stack([base[y : y + PATCH, x : x + PATCH].ravel() for y in (0, 3) for x in (0, 2, 5)])
    return found - found.mean(1, keepdims=True)


def test_atoms_have_unit_length_and_no_mean_and_span_all_patches():
    atoms = dictionary()
    assert atoms.shape == (64, 255)
    assert np.abs(np.linalg.norm(atoms, axis=0) - 1).max() < 1e-12
    assert np.abs(atoms.sum(0)).max() < 1e-12
    assert np.linalg.matrix_rank(atoms) == 63


def test_codes_are_those_of_matching_pursuit_by_the_book(patches):
    rebuilt, activity = sparse_codes(patches)
    wanted = [pursuit(vector) for vector in patches]
    assert np.abs(rebuilt - np.stack([vector for vector, _ in wanted])).max() < 1e-6
    assert activity == pytest.approx([total for _, total in wanted], rel=1e-6)


def test_codes_leave_no_more_than_the_tolerance(patches):
    for tolerance in (TOLERANCE, 10.0):
        left = np.linalg.norm(patches - sparse_codes(patches, tolerance)[0], axis=1)
        assert left.max() <= tolerance
    assert left.max() > 1  # a loose code is left loose: it stops as soon as it may


def test_one_atom_is_its_own_code_and_nothing_needs_none():
    atoms = dictionary()
    rebuilt, activity = sparse_codes(np.stack([30 * atoms[:, 7], np.zeros(64)]))
    assert activity == pytest.approx([30, 0])
    assert np.abs(rebuilt[0] - 30 * atoms[:, 7]).max() < 1e-9


def test_a_base_takes_the_busier_source_and_its_brightness():
    """IR is busy on the left and VIS on the right: each side is its source, mean and all, where no patch sees both."""
    busy = 20 * np.random.default_rng(0).standard_normal((12, 40)).astype(np.float32)
    left = np.arange(40) < 20
    ir, vis = np.where(left, 150 + busy, 150).astype(np.float32), np.where(left, 60, 60 + busy).astype(np.float32)
    fused = fuse_base(ir, vis)
    assert np.abs(fused[:, :12] - ir[:, :12]).max() < TOLERANCE
    assert np.abs(fused[:, -12:] - vis[:, -12:]).max() < TOLERANCE


def test_a_base_is_covered_up_to_its_border():
    """9x11: neither side is a whole number of steps beyond a patch."""
    busy = (100 + 20 * np.random.default_rng(0).standard_normal((9, 11))).astype(np.float32)
    assert np.abs(fuse_base(busy, np.full_like(busy, 30)) - busy).max() < TOLERANCE


def test_a_base_smaller_than_a_patch_is_averaged():
    a, b = np.full((7, 30), 10, np.float32), np.full((7, 30), 31, np.float32)
    assert np.unique(fuse_base(a, b)).tolist() == [20.5]


def test_a_lone_coefficient_is_outvoted_by_its_neighbours():
    ir, vis = np.full((7, 7), 2, np.float32), np.full((7, 7), -1, np.float32)
    vis[3, 3] = -9
    assert (fuse_details(ir, vis) == ir).all()
    vis[2:5, 2:5] = -9
    assert (fuse_details(ir, vis)[3, 2:5] == -9).all()
