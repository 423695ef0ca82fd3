"""Correlation and SCD: numpy's and scipy's values, by hand, and where they are not defined."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.training.material import noise, textured
from training.metrics.correlation import fusion_cc, pearson, scd

PICTURES = arrays(np.uint8, (4, 5), elements=st.integers(0, 255))


def varied(*pictures):
    return all(picture.min() < picture.max() for picture in pictures)


def test_pearson_by_hand():
    # deviations -1 0 1 and -2 1 1: 3 / sqrt(2 * 6)
    assert pearson(np.array([[1, 2, 3]]), np.array([[4, 7, 7]])) == pytest.approx(3 / 12**0.5)


@given(PICTURES, PICTURES)
def test_pearson_is_numpys_and_scipys(x, y):
    assume(varied(x, y))
    assert pearson(x, y) == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1], abs=1e-9)
    assert pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x.ravel(), y.ravel()).statistic, abs=1e-9)


@given(PICTURES, st.integers(-9, 9), st.integers(-500, 500))
def test_pearson_sees_the_line_and_its_direction_alone(x, slope, shift):
    assume(varied(x))
    assert pearson(x, slope * x.astype(int) + shift) == pytest.approx(np.sign(slope), abs=1e-9)


@pytest.mark.parametrize("value", [0, 7, 255, 0.1, 1 / 3])
def test_a_constant_correlates_with_nothing(value):
    """Found: the mean of equal floats is off by a bit, and the rest of rounding correlated."""
    flat, x = np.full((5, 7), value), noise(5, 7)
    assert pearson(flat, x) == pearson(x, flat) == pearson(flat, flat) == 0.0


def test_uint8_does_not_wrap():
    x = np.uint8([[250, 5, 250, 5]])
    assert pearson(x, x) == pytest.approx(1)
    assert pearson(x, 255 - x) == pytest.approx(-1)


def test_fusion_cc_is_the_mean_of_both():
    ir, vis, fused = noise(9, 9), noise(9, 9, 1), noise(9, 9, 2)
    wanted = (np.corrcoef(ir.ravel(), fused.ravel())[0, 1] + np.corrcoef(vis.ravel(), fused.ravel())[0, 1]) / 2
    assert fusion_cc(ir, vis, fused) == pytest.approx(wanted)


def test_scd_of_a_sum_is_two():
    """F = IR + VIS: what F adds to each source is the other one, whole."""
    ir, vis = textured(20, 30) // 2, textured(20, 30, 1) // 2
    assert scd(ir, vis, ir + vis) == pytest.approx(2)


def test_scd_of_a_copy_by_its_parts():
    # F = IR: r(IR - VIS, IR) + r(0, VIS), and a constant correlates with nothing
    ir, vis = noise(20, 30), noise(20, 30, 1)
    wanted = np.corrcoef((ir.astype(int) - vis).ravel(), ir.ravel())[0, 1]
    assert scd(ir, vis, ir) == pytest.approx(wanted)


def test_scd_of_the_mean_by_hand():
    # F - VIS = (IR - VIS) / 2 and F - IR = (VIS - IR) / 2
    ir, vis = np.uint8([[0, 0, 4, 4]]), np.uint8([[0, 8, 0, 8]])
    # IR - VIS = 0 -8 4 -4: deviations 2 -6 6 -2 with IR's -2 -2 2 2, and the other way round with VIS' -4 4 -4 4
    wanted = 16 / (80 * 16) ** 0.5 + 64 / (80 * 64) ** 0.5
    assert scd(ir, vis, np.uint8([[0, 4, 2, 6]])) == pytest.approx(wanted)


@given(PICTURES, PICTURES, PICTURES)
def test_scd_is_within_its_bounds_and_indifferent_to_the_order(ir, vis, fused):
    found = scd(ir, vis, fused)
    assert -2 - 1e-9 <= found <= 2 + 1e-9
    assert found == pytest.approx(scd(vis, ir, fused), abs=1e-9)
