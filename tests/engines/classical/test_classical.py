"""What every method without a model keeps, whatever its formula."""

import sys

import numpy as np
import pytest

from engines.base import BackendError
from engines.classical import CLASSICAL, open_classical
from tests.training.material import noise, textured

QUICK = [name for name in CLASSICAL if name != "csr"]
"""CSR has its own, smaller tests."""


@pytest.fixture(scope="module")
def pair():
    return textured(61, 90), textured(61, 90, 1)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 1), (7, 8), (33, 130)])
def test_any_size_comes_back_with_its_own(name, size):
    fused = open_classical(name).fuse(noise(*size), noise(*size, 1))
    assert (fused.shape, fused.dtype) == (size, np.uint8)


@pytest.mark.parametrize("name", QUICK)
def test_equal_pictures_are_their_own_fusion(name):
    for picture in (textured(61, 90), noise(24, 31), np.full((5, 7), 255, np.uint8), np.zeros((1, 1), np.uint8)):
        assert (open_classical(name).fuse(picture, picture) == picture).all()


@pytest.mark.parametrize(
    ("name", "level"),
    [("mean", 128), ("max", 255), ("laplacian", 128), ("lpsr", 128), ("gff", 128), ("gtf", 0)],
)
def test_black_beside_white_gives_one_level(name, level):
    """No details anywhere: the mean, but for max, and for GTF, whose intensities are IR's."""
    black, white = np.zeros((150, 150), np.uint8), np.full((150, 150), 255, np.uint8)
    assert np.unique(open_classical(name).fuse(black, white)).tolist() == [level]


@pytest.mark.parametrize("name", ["laplacian", "lpsr", "gff", "gtf"])
def test_levels_beyond_the_scale_are_cut_off_and_never_wrap(name):
    """Black and white dots on opposite grounds, one pixel each: their sums leave 0..255 on both sides."""
    ir, vis = np.full((64, 64), 250, np.uint8), np.full((64, 64), 5, np.uint8)
    ir[16:48:8, 16:48:8], vis[20:48:8, 20:48:8] = 0, 255
    fused = open_classical(name).fuse(ir, vis).astype(int)
    assert (fused[20:48:8, 20:48:8] >= fused[24, 28]).all()
    assert (fused[16:48:8, 16:48:8] <= fused[24, 28]).all()


@pytest.mark.parametrize("name", QUICK)
def test_a_result_is_the_same_in_every_run_and_the_callers_own(name, pair):
    kept = [plane.copy() for plane in pair]
    first = open_classical(name).fuse(*pair)
    second = open_classical(name).fuse(*pair)
    assert (first == second).all()
    first[:] = 0
    assert all((plane == before).all() for plane, before in zip(pair, kept, strict=True))


@pytest.mark.parametrize("name", ["mean", "gff"])
def test_batches_and_streams_are_pairs_one_by_one(name, pair):
    fuser = open_classical(name)
    alone = [fuser.fuse(*pair), fuser.fuse(*pair[::-1])]
    assert (fuser.fuse(np.stack(pair), np.stack(pair[::-1])) == np.stack(alone)).all()
    assert fuser.fuse(np.empty((0, 4, 4), np.uint8), np.empty((0, 4, 4), np.uint8)).shape == (0, 4, 4)
    flight = fuser.start(follows=True)
    flight.put(*pair)
    assert (flight.get() == alone[0]).all()
    assert fuser.fuse_next(*pair, None)[1] is None


def test_what_is_no_pair_is_refused(pair):
    fuser = open_classical("laplacian")
    with pytest.raises(ValueError, match="a pair has one shape"):
        fuser.fuse(pair[0], pair[1][:-1])
    with pytest.raises(ValueError, match="a fuser takes uint8"):
        fuser.fuse(pair[0].astype(float), pair[1])
    with pytest.raises(ValueError, match="not empty"):
        fuser.fuse(pair[0][:0], pair[1][:0])


def test_an_unknown_method_is_named_beside_those_there_are():
    with pytest.raises(BackendError, match=r"^method 'fft': not known; use mean, max, laplacian, lpsr, gff, gtf, csr$"):
        open_classical("fft")


def test_csr_without_its_library_says_what_to_install(monkeypatch):
    for name in ("sporco", "sporco.admm", "sporco.admm.cbpdn"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendError, match=r"^method csr: .*sporco.*; pip install 'crotalus\[baselines\]'") as raised:
        open_classical("csr")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2
