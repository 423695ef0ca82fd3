"""Convolutional codes: what they rebuild, what they leave, and whose are taken."""

import numpy as np
import pytest

pytest.importorskip("sporco", reason="no sporco; pip install 'crotalus[baselines]'")

from engines.classical import open_classical
from engines.classical.csr import LAMBDA, codes, dictionary, rebuilt
from tests.training.material import noise, textured


@pytest.fixture(scope="module")
def fuser():
    return open_classical("csr")


@pytest.fixture(scope="module")
def coded(fuser):
    """A detail (48, 56) in 0..1, and its maps."""
    from sporco.signal import tikhonov_filter

    detail = tikhonov_filter(textured(48, 56) / np.float32(255), 5.0, 16)[1]
    return detail, codes(np.stack([detail, 0 * detail], -1))


def test_codes_are_sparse_and_rebuild_the_detail_within_the_price_of_sparsity(coded):
    """At the minimum no filter matches what is left by more than lambda (the condition of a minimum)."""
    detail, maps = coded
    left = detail - rebuilt(maps[:, :, 0])
    spectrum = np.conj(np.fft.rfft2(dictionary(), left.shape, axes=(0, 1))) * np.fft.rfft2(left)[..., None]
    assert np.abs(np.fft.irfft2(spectrum, left.shape, axes=(0, 1))).max() < 1.5 * LAMBDA
    assert np.abs(left).mean() < np.abs(detail).mean() / 4
    assert np.mean(maps[:, :, 0] != 0) < 0.1
    assert np.abs(maps[:, :, 1]).max() < 1e-4


def test_a_map_of_one_point_rebuilds_its_filter():
    maps = np.zeros((20, 24, 32), np.float32)
    maps[5, 6, 9] = 2
    found = rebuilt(maps)
    assert np.abs(found[5:13, 6:14] - 2 * dictionary()[..., 9]).max() < 1e-5
    assert abs(found).sum() == pytest.approx(2 * np.abs(dictionary()[..., 9]).sum(), rel=1e-3)


def test_detail_is_taken_from_the_more_active_source_and_the_base_is_averaged(fuser):
    ir, vis = np.full((48, 96), 100, np.uint8), np.full((48, 96), 140, np.uint8)
    ir[:, :48], vis[:, 48:] = noise(48, 48) // 2 + 36, noise(48, 48, 1) // 2 + 76
    found = fuser.fuse(ir, vis).astype(float)
    for side, source in ((np.s_[8:-8, 8:36], ir), (np.s_[8:-8, 60:-8], vis)):
        assert np.corrcoef(found[side].ravel(), source[side].astype(float).ravel())[0, 1] > 0.9
        assert found[side].mean() == pytest.approx(120, abs=5)


def test_equal_pictures_come_back_but_for_what_is_too_faint_for_the_codes(fuser):
    picture = textured(48, 56)
    assert np.abs(fuser.fuse(picture, picture).astype(int) - picture).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (17, 3)])
def test_pictures_smaller_than_a_filter_come_back_in_their_size_and_twice_the_same(fuser, size):
    ir, vis = noise(*size), noise(*size, 1)
    fused = fuser.fuse(ir, vis)
    assert (fused.shape, fused.dtype) == (size, np.uint8)
    assert (fuser.fuse(ir, vis) == fused).all()


def test_black_beside_white_gives_gray(fuser):
    assert np.unique(fuser.fuse(np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8))).tolist() == [128]
