"""Qabf: pixel by pixel after the formula, by hand, and its properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.material import noise, textured
from training.metrics.qabf import qabf

SEEDS = st.integers(0, 10**6)
FULL = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
"""Q of an edge that is kept whole."""


def edge(picture, row, column):
    """Strength and angle at one pixel, zeros outside, y upwards."""
    p = np.pad(picture.astype(float), 1)[row : row + 3, column : column + 3]
    x = p[0, 2] + 2 * p[1, 2] + p[2, 2] - p[0, 0] - 2 * p[1, 0] - p[2, 0]
    y = p[0, 0] + 2 * p[0, 1] + p[0, 2] - p[2, 0] - 2 * p[2, 1] - p[2, 2]
    return math.hypot(x, y), math.atan(y / x) if x else math.pi / 2


def by_pixels(ir, vis, fused):
    above = below = 0.0
    for row in range(fused.shape[0]):
        for column in range(fused.shape[1]):
            g_f, a_f = edge(fused, row, column)
            for source in (ir, vis):
                g, a = edge(source, row, column)
                if g == 0:
                    continue
                strength = min(g, g_f) / max(g, g_f)
                angle = 1 - abs(a - a_f) / (math.pi / 2)
                q_strength = 0.9994 / (1 + math.exp(-15 * (strength - 0.5)))
                above += g * q_strength * 0.9879 / (1 + math.exp(-22 * (angle - 0.8)))
                below += g
    return above / below


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_formula_at_every_pixel(seed):
    ir, vis = textured(11, 14, seed), noise(11, 14, seed)
    for fused in (np.maximum(ir, vis), ir // 2 + vis // 2, noise(11, 14, 99)):
        assert qabf(ir, vis, fused) == pytest.approx(by_pixels(ir, vis, fused), rel=1e-12)


def test_what_equals_both_sources_keeps_all():
    x = noise(20, 30)
    assert qabf(x, x, x) == pytest.approx(FULL, rel=1e-12)
    assert pytest.approx(0.97479, abs=1e-5) == FULL


def test_a_flat_picture_keeps_nothing_but_the_border():
    """Zeros outside make an edge of every border, so that the sources are dark there."""
    x, flat = noise(20, 30), np.zeros((20, 30), np.uint8)
    assert qabf(x, x, flat) < 0.01
    assert qabf(flat, flat, flat) is None
    assert qabf(flat, flat, x) is None


def test_equal_constants_keep_their_borders():
    flat = np.full((9, 9), 40, np.uint8)
    assert qabf(flat, flat, flat) == pytest.approx(FULL, rel=1e-12)


def test_the_source_with_more_edges_weighs_more():
    strong, weak = noise(30, 40), noise(30, 40, 1) // 16
    assert qabf(strong, weak, strong) > 0.8 > 0.3 > qabf(strong, weak, weak)


@given(SEEDS)
def test_it_is_within_its_bounds_and_indifferent_to_the_order(seed):
    ir, vis, fused = noise(12, 15, seed), noise(12, 15, seed + 1), noise(12, 15, seed + 2)
    found = qabf(ir, vis, fused)
    assert 0 <= found <= FULL + 1e-12
    assert found == pytest.approx(qabf(vis, ir, fused), rel=1e-12)
