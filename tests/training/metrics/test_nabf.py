"""Nabf: pixel by pixel after the formula, and what counts as artificial."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.material import noise, textured
from training.metrics.nabf import nabf

SEEDS = st.integers(0, 10**6)


def edge(picture, row, column):
    """Strength and angle at one pixel, the border mirrored."""
    p = np.pad(picture.astype(float), 1, "reflect")[row : row + 3, column : column + 3]
    x = (p[0, 2] + 2 * p[1, 2] + p[2, 2] - p[0, 0] - 2 * p[1, 0] - p[2, 0]) / 8
    y = (p[2, 0] + 2 * p[2, 1] + p[2, 2] - p[0, 0] - 2 * p[0, 1] - p[0, 2]) / 8
    angle = math.atan(x / y) if y else math.copysign(math.pi / 2, x) if x else 0.0
    return math.hypot(x, y), angle


def by_pixels(ir, vis, fused):
    above = below = 0.0
    for row in range(fused.shape[0]):
        for column in range(fused.shape[1]):
            g_f, a_f = edge(fused, row, column)
            edges = [edge(source, row, column) for source in (ir, vis)]
            for g, a in edges:
                weight = g**1.5 if g >= 2 else 0.001
                below += weight
                if all(g_f > other for other, _ in edges):
                    angle = abs(abs(a - a_f) - math.pi / 2) / (math.pi / 2)
                    q_strength = 0.9999 / (1 + math.exp(-19 * (g / g_f - 0.5)))
                    q_angle = 0.9995 / (1 + math.exp(-22 * (angle - 0.5)))
                    above += weight * (1 - math.sqrt(q_strength * q_angle))
    return above / below


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_formula_at_every_pixel(seed):
    ir, vis = textured(11, 14, seed), noise(11, 14, seed) // 4
    for fused in (np.maximum(ir, vis), noise(11, 14, 99), np.clip(2.0 * ir, 0, 255).astype(np.uint8)):
        assert nabf(ir, vis, fused) == pytest.approx(by_pixels(ir, vis, fused), rel=1e-12)


def test_copies_and_flat_pictures_add_nothing():
    ir, vis = noise(20, 30), textured(20, 30)
    flat = np.full((20, 30), 9, np.uint8)
    assert nabf(ir, vis, ir) == nabf(ir, vis, vis) == nabf(ir, vis, flat) == nabf(flat, flat, flat) == 0


def test_more_sharpening_adds_more():
    ir, vis = textured(60, 80), textured(60, 80, 1)
    mean = (ir // 2 + vis // 2).astype(float)
    detail = mean - cv2.GaussianBlur(mean, (0, 0), 2)
    found = [nabf(ir, vis, (mean + k * detail).clip(0, 255).astype(np.uint8)) for k in (0, 2, 4, 8)]
    assert found == sorted(found)
    assert found[0] < 0.01 < 0.1 < found[-1]


def test_noise_on_flat_sources_is_all_artificial():
    flat = np.full((20, 30), 9, np.uint8)
    assert nabf(flat, flat, noise(20, 30)) > 0.9


@given(SEEDS)
def test_it_is_within_its_bounds_and_indifferent_to_the_order(seed):
    ir, vis, fused = noise(12, 15, seed), noise(12, 15, seed + 1), noise(12, 15, seed + 2)
    found = nabf(ir, vis, fused)
    assert 0 <= found <= 1
    assert found == pytest.approx(nabf(vis, ir, fused), rel=1e-12)
