"""The residual of pictures whose displacement is known, and what must not be mistaken for one."""

import cv2
import numpy as np
import pytest

from calibration.check import correlate, pooled, residual


def scene(seed=0, height=240, width=320):
    """(ir, vis) uint8: the same outlines, other levels in each, and noise of their own."""
    rng = np.random.default_rng(seed)
    ir, vis = np.full((height, width), 70, np.float32), np.full((height, width), 110, np.float32)
    for _ in range(60):
        x, y, w, h = rng.integers(0, width), rng.integers(0, height), *rng.integers(8, 60, 2)
        for picture in (ir, vis):
            cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), float(rng.uniform(20, 220)), -1)
    pictures = (picture + rng.normal(0, 4, picture.shape) for picture in (ir, vis))
    ir8, vis8 = (np.clip(picture, 0, 255).astype(np.uint8) for picture in pictures)
    return ir8, vis8


def moved(picture, dx, dy):
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    return cv2.warpAffine(picture, shift, picture.shape[::-1], borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (7, -4), (-12.5, 9)])
def test_the_displacement_is_found_in_sign_and_size(dx, dy):
    ir, vis = scene()
    found = residual(correlate(moved(ir, dx, dy), vis))
    assert found.whole.is_sure
    assert found.whole.dx == pytest.approx(dx, abs=0.3)
    assert found.whole.dy == pytest.approx(dy, abs=0.3)
    assert len(found.sure) >= 8
    assert found.typical == pytest.approx(np.hypot(dx, dy), abs=0.4)


def test_it_is_in_pixels_of_the_pictures_given():
    ir, vis = (cv2.resize(each, (1280, 960), interpolation=cv2.INTER_LINEAR) for each in scene())
    found = residual(correlate(moved(ir, 20, -12), vis))
    assert (found.whole.dx, found.whole.dy) == (pytest.approx(20, abs=1), pytest.approx(-12, abs=1))


def test_another_scale_shows_as_residuals_that_grow_from_the_middle():
    ir, vis = scene()
    grown = cv2.warpAffine(ir, cv2.getRotationMatrix2D((160, 120), 0, 1.05), (320, 240))
    patches = residual(correlate(grown, vis)).sure
    for patch in patches:
        assert patch.dx == pytest.approx(0.05 * (patch.x - 160), abs=1.5)
        assert patch.dy == pytest.approx(0.05 * (patch.y - 120), abs=1.5)
    assert len(patches) >= 4


def test_pictures_of_different_scenes_are_not_believed():
    for seed in range(8):
        found = residual(correlate(scene(seed)[0], scene(seed + 20)[1]))
        assert not found.whole.is_sure
        assert len(found.sure) <= 1
        assert np.isnan(found.typical)


def test_an_even_picture_says_nothing():
    ir, vis = scene()
    for pair in ((np.full_like(ir, 90), vis), (ir, np.full_like(vis, 90))):
        found = residual(correlate(*pair))
        assert not found.whole.is_sure
        assert np.isnan(found.typical)


def test_where_visible_stands_in_for_infrared_it_proves_nothing():
    """The left half is filled with visible, as a rig does it; infrared proper is displaced."""
    ir, vis = scene()
    filled, seen = moved(ir, 6, 0), np.ones(ir.shape, np.float32)
    filled[:, :160], seen[:, :160] = vis[:, :160], 0
    told = residual(correlate(filled, vis, seen))
    assert told.whole.dx == pytest.approx(6, abs=0.5)
    assert {patch.x for patch in told.patches} == {200.0, 280.0}
    assert residual(correlate(filled, vis)).whole.dx == pytest.approx(0, abs=0.5)  # what the mask is for


def test_what_stands_in_is_left_out_of_a_patch_that_has_some_of_it():
    """Bands of a fifth of each patch are filled; infrared proper is faint, so that they would win."""
    ir, vis = scene()
    faint = np.clip(0.04 * moved(ir, 6, 0) + np.random.default_rng(2).normal(90, 4, ir.shape), 0, 255).astype(np.uint8)
    filled, seen = faint.copy(), np.ones(ir.shape, np.float32)
    for top in (30, 110, 190):
        filled[top : top + 18], seen[top : top + 18] = vis[top : top + 18], 0
    assert residual(correlate(filled, vis)).whole.dx == pytest.approx(0, abs=1)
    assert residual(correlate(filled, vis, seen)).whole.dx == pytest.approx(6, abs=1)


def test_several_noisy_pictures_tell_what_one_does_not():
    ir, vis = scene()
    rng = np.random.default_rng(1)

    def noisy(picture):
        return np.clip(0.1 * picture + 100 + rng.normal(0, 14, picture.shape), 0, 255).astype(np.uint8)

    each = [correlate(noisy(moved(ir, 5, 3)), noisy(vis)) for _ in range(12)]
    one, all_of_them = residual(each[0]).whole, residual(pooled(each)).whole
    assert all_of_them.confidence > 1.5 * one.confidence
    assert (all_of_them.dx, all_of_them.dy) == (pytest.approx(5, abs=1), pytest.approx(3, abs=1))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (24, 31), (5, 700)])
def test_pictures_too_small_to_judge_are_not_judged(size):
    rng = np.random.default_rng(0)
    ir, vis = (rng.integers(0, 256, size, np.uint8) for _ in range(2))
    assert np.isnan(residual(correlate(ir, vis, np.ones(size, np.float32))).typical)
