"""It speaks where a pair plainly lies elsewhere, and holds its tongue where it lies right or nobody can tell."""

import cv2
import numpy as np
import pytest

from calibration.unaligned import best_fit
from tests.calibration.test_check import moved, scene


def test_an_aligned_pair_is_known_as_one():
    fit = best_fit([scene()])
    assert fit.is_aligned
    assert not fit.is_unaligned
    assert fit.displacement < 0.005


@pytest.mark.parametrize("dx", [5.4, 10])
def test_small_offsets_as_real_sets_have_them_are_left_alone(dx):
    ir, vis = scene()
    fit = best_fit([(moved(ir, dx, 0), vis)])
    assert fit.displacement == pytest.approx(dx / 320, abs=0.004)
    assert not fit.is_unaligned


def test_a_shift_of_a_tenth_is_measured():
    ir, vis = scene()
    fit = best_fit([(moved(ir, 32, 0), vis)])
    assert fit.is_unaligned
    assert (fit.scale, fit.dx, fit.dy) == (1.0, pytest.approx(-0.1, abs=0.01), pytest.approx(0, abs=0.01))
    assert str(fit) == "infrared fits moved by 10 % of the width left and 0 % of the width up"


def test_a_wider_lens_is_measured():
    ir, vis = scene()
    wide = cv2.warpAffine(vis, cv2.getRotationMatrix2D((160, 120), 0, 0.7), (320, 240), borderMode=cv2.BORDER_REFLECT)
    fit = best_fit([(ir, wide)])
    assert fit.is_unaligned
    assert fit.scale == pytest.approx(0.7, rel=0.04)
    assert str(fit).startswith(f"infrared fits at {fit.scale:.2f} of its size, moved by 0 %")


@pytest.mark.parametrize("seed", range(3))
def test_of_different_scenes_nothing_is_said(seed):
    fit = best_fit([(scene(seed)[0], scene(seed + 20)[1])])
    assert not fit.is_unaligned
    assert not fit.is_aligned


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (40, 60)])
def test_of_tiny_pictures_nothing_is_said(size):
    rng = np.random.default_rng(0)
    fit = best_fit([(rng.integers(0, 256, size, np.uint8), rng.integers(0, 256, size, np.uint8))])
    assert not fit.is_unaligned
    assert not fit.is_aligned


def read(folder, name):
    ir, vis = (next((folder / side).glob(f"{name}.*")) for side in ("ir", "vis"))
    ir, vis = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (ir, vis))
    return cv2.resize(ir, vis.shape[::-1], interpolation=cv2.INTER_AREA), vis


def test_real_pairs_are_told_apart(real_data):
    """Those nearest to the thresholds on both sides, of all there are."""
    vifb = real_data / "vifb"
    for folder, name in ((real_data / "tno", "15"), (real_data / "tno", "34"), (vifb, "labMan"), (vifb, "elecbike")):
        assert not best_fit([read(folder, name)]).is_unaligned, name
    for name in ("03", "08"):
        assert best_fit([read(real_data / "unregistered/vis_ir_matching", name)]).is_unaligned, name
