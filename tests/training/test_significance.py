"""Paired tests: by hand, and where they say nothing."""

import math

import numpy as np
import pytest
import scipy.stats

from training.significance import Comparison, compare


def test_three_pairs_by_hand():
    # Differences 1 2 3: t = 2 / (1 / sqrt 3), and p = 1 - t / sqrt(t^2 + 2) with two degrees of freedom
    found = compare([2, 4, 6], [1, 2, 3])
    t = 2 * 3**0.5
    assert found.difference == 2
    assert found.t_test == pytest.approx(1 - t / math.sqrt(t * t + 2))
    assert found.wilcoxon == pytest.approx(2 / 2**3)  # all of one sign: 2 of 8 patterns


def test_pairs_without_a_value_do_not_count():
    found = compare([2, None, 4, 6, 9], [1, 5, 2, 3, None])
    assert found == compare([2, 4, 6], [1, 2, 3])
    assert found.pairs == 3


def test_a_steady_gain_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    base, away = rng.normal(0, 5, 40), rng.normal(0, 1, 40)
    gain, noise = compare(list(base + 1 + away), list(base)), compare(list(base + away), list(base))
    assert gain.t_test < 1e-4
    assert gain.wilcoxon < 1e-4
    assert noise.t_test > 0.05
    assert noise.wilcoxon > 0.05
    assert scipy.stats.ttest_ind(base + 1 + away, base).pvalue > 0.05  # unpaired it would be missed
    assert gain.t_test == compare(list(base), list(base + 1 + away)).t_test


def test_equal_methods_do_not_differ():
    assert compare([1, 2, 3], [1, 2, 3]) == Comparison(3, 0.0, None, None)


def test_a_constant_difference_has_no_spread_to_test_against():
    found = compare([1.5, 2.5, 3.5], [1, 2, 3])
    assert found.t_test is None
    assert found.wilcoxon == pytest.approx(0.25)


def test_one_pair_or_none():
    assert compare([1], [3]) == Comparison(1, -2.0, None, 1.0)
    assert compare([None, 1], [1, None]) == Comparison(0, None, None, None)
