"""What repeats say: medians, intervals and exponents, held to values by hand and to scipy."""

import math

import pytest

from pipeline.bench.spread import T_95, change, exponent, spread, student_t

STEP = math.log(1.1)
"""Of the logarithms of 100, 110, 121: their variance is STEP^2."""
HALF = 2.776 * STEP * math.sqrt(2 / 3)
"""Of Welch's interval for two sides of three such values: 4 degrees of freedom."""


def test_an_interval_is_welchs_of_the_logarithms():
    found = change([100, 110, 121], [150, 165, 181.5])
    assert found.ratio == pytest.approx(1.5)
    assert (found.low, found.high) == pytest.approx((1.5 * math.exp(-HALF), 1.5 * math.exp(HALF)))
    assert found.is_real
    assert str(found) == "faster by 50 % (21..86)"


def test_slower_is_the_same_turned_round():
    found = change([150, 165, 181.5], [100, 110, 121])
    assert str(found) == "slower by 33 % (17..46)"
    assert found.is_real


def test_what_noise_explains_is_called_noise():
    found = change([100, 110, 121], [110, 121, 133.1])  # 10 % apart, ±24 % of noise
    assert not found.is_real
    assert str(found) == "no difference larger than noise (±24 %)"


def test_small_differences_have_a_digit_more():
    assert str(change([100, 100, 100], [103, 103, 103])) == "faster by 3.0 % (2.0..4.0)"


def test_repeats_without_any_spread_do_not_make_half_a_percent_real():
    assert str(change([100, 100], [100.5, 100.5])) == "no difference larger than noise (±1 %)"


def test_noise_past_the_speed_itself_is_no_number():
    assert str(change([10, 100, 1000], [10, 100, 1000])) == "no difference larger than noise (more than ±100 %)"


def test_one_repeat_each_tells_nothing():
    found = change([100], [112])
    assert not found.is_real
    assert str(found) == "faster by 12 % in one repeat each: noise not known; pass --repeats 3"


def test_a_single_repeat_borrows_the_noise_of_the_other_side():
    """Variance STEP^2 / 3 + STEP^2 / 1, with the 2 degrees of freedom of the side of three."""
    half = 4.303 * STEP * math.sqrt(4 / 3)
    for found in (change([100, 110, 121], [220]), change([55], [100, 110, 121])):
        assert (found.ratio, found.high) == pytest.approx((2, 2 * math.exp(half)))


def test_unequal_noise_has_welchs_degrees_of_freedom():
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the extra train")
    before, after = [100, 101, 103, 99, 100.5], [130, 150, 171, 141]
    logs = [[math.log(value) for value in side] for side in (after, before)]
    found, other = change(before, after), stats.ttest_ind(*logs, equal_var=False)
    # Ours rounds the degrees of freedom down, 3.2 to 3: wider by t(3) / t(3.2).
    wider = stats.t.ppf(0.975, math.floor(other.df)) / stats.t.ppf(0.975, other.df)
    half = (other.confidence_interval().high - other.confidence_interval().low) / 2
    assert math.log(found.high / found.low) / 2 == pytest.approx(half * wider, rel=1e-3)
    assert math.floor(other.df) == 3


def test_students_t_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the extra train")
    for freedom in (1, 2, 3, 7, 30, 31, 60, 500):
        assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=3e-3)
    assert len(T_95) == 30
    assert (student_t(0.4), student_t(2.9)) == (T_95[0], T_95[1])


def test_spread_is_half_the_range_over_the_median():
    assert spread([90, 100, 130]) == 0.2
    assert spread([5]) is None


def test_the_exponent_of_a_power_is_found():
    assert exponent([1, 2, 4, 8], [3 * n**1.5 for n in (1, 2, 4, 8)]) == pytest.approx(1.5)
    assert exponent([10, 100], [7, 7]) == pytest.approx(0)
