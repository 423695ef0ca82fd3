"""Does a warm target stay visible: copies, losses, and the weight of each target."""

import math

import cv2
import numpy as np
import pytest

from training.metrics import target_retention as module
from training.metrics.target_retention import Retention, target_retention

GROUND = 60


def scene(*targets, level=200, height=120, width=160):
    """(H, W) uint8 ground with warm squares of (top, left, side)."""
    picture = np.full((height, width), GROUND, np.uint8)
    for top, left, side in targets:
        picture[top : top + side, left : left + side] = level
    return picture


SMALL, LARGE = (20, 20, 8), (60, 100, 20)


def test_a_copy_of_ir_keeps_all():
    ir = scene(SMALL, LARGE)
    assert target_retention(ir, ir) == Retention(2, 1.0, 0)


def test_a_flat_picture_keeps_nothing_and_loses_all():
    ir = scene(SMALL, LARGE)
    assert target_retention(ir, np.full_like(ir, 128)) == Retention(2, 0.0, 2)


def test_a_target_that_is_missing_is_lost():
    found = target_retention(scene(SMALL, LARGE), scene(LARGE))
    assert (found.targets, found.lost) == (2, 1)


def test_targets_weigh_by_the_root_of_their_area():
    ir = scene(SMALL, LARGE)
    only_small, only_large = target_retention(ir, scene(SMALL)).mean, target_retention(ir, scene(LARGE)).mean
    assert only_small + only_large == pytest.approx(1)
    # Sides 8 and 20: 8 / 28 of the weight. The mask follows a blur, a pixel wider at most: 9 / 31 .. 10 / 32.
    assert 0.27 < only_small < 0.33
    # by area it would be 64 / 464 = 0.14, by number 0.5


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_retention_is_the_share_of_the_contrast(share):
    ir = scene(LARGE)
    fused = (GROUND + share * (ir.astype(float) - GROUND)).round().astype(np.uint8)
    assert target_retention(ir, fused).mean == pytest.approx(share, abs=0.5 / 140)  # half a level of 140


@pytest.mark.parametrize(("share", "lost"), [(0.28, 0), (0.22, 1)])
def test_below_a_quarter_a_target_is_lost(share, lost):
    ir = scene(LARGE)
    fused = (GROUND + share * (ir.astype(float) - GROUND)).round().astype(np.uint8)
    assert target_retention(ir, fused).lost == lost


def test_brightness_of_the_whole_picture_does_not_count():
    ir = scene(LARGE, level=180)
    assert target_retention(ir, ir + 50) == target_retention(ir, ir)


def test_a_target_turned_dark_counts_as_minus_one_at_most():
    ir = scene(LARGE)
    assert target_retention(ir, 255 - ir) == Retention(1, -1.0, 1)
    wide = scene(LARGE, level=120)  # contrast 60
    assert target_retention(wide, np.where(wide > GROUND, 0, 255).astype(np.uint8)).mean == -1.0


def test_more_contrast_than_ir_counts_up_to_half_more():
    ir = scene(LARGE, level=120)
    assert target_retention(ir, scene(LARGE, level=255)).mean == 1.5
    assert target_retention(ir, scene(LARGE, level=135)).mean == pytest.approx(75 / 60, abs=0.01)


def test_without_targets_there_is_nothing_to_keep():
    for ir in (scene(), np.zeros((40, 40), np.uint8)):
        found = target_retention(ir, ir)
        assert (found.targets, found.lost) == (0, 0)
        assert math.isnan(found.mean)


@pytest.mark.parametrize(
    ("name", "ir"),
    [
        ("too faint", scene(LARGE, level=GROUND + 25)),
        ("too small", scene((20, 20, 4))),
        ("too large", scene((20, 20, 60))),
        ("cold", 255 - scene(LARGE)),
        ("a slope", np.tile(np.linspace(0, 255, 160).astype(np.uint8), (120, 1))),
    ],
)
def test_what_is_no_target_does_not_count(name, ir):
    assert target_retention(ir, ir).targets == 0, name


@pytest.mark.parametrize(("height", "targets"), [(34, 0), (40, 1)])
def test_a_blob_stands_35_levels_above_its_surroundings(height, targets):
    """The opening keeps two levels of the blur's tail, so that 37 are needed here."""
    assert len(module.warm_targets(scene(LARGE, level=GROUND + height))) == targets


@pytest.mark.parametrize(("sigma", "targets"), [(14, 0), (4, 1)])
def test_a_glow_that_fades_slowly_has_too_little_contrast_to_its_ring(sigma, targets):
    """Both rise 60 levels; over 9 px of ring the wide one has fallen by less than 30."""
    rows, columns = np.mgrid[:240, :320]
    glow = 60 * np.exp(-((rows - 120) ** 2 + (columns - 160) ** 2) / (2 * sigma**2))
    ir = (GROUND + glow).round().astype(np.uint8)
    assert len(module.warm_targets(ir)) == 1
    assert target_retention(ir, ir).targets == targets


def test_the_ring_is_free_of_neighbours():
    """Two targets 8 px apart, one of them gone: the other keeps all of its contrast, as no ring covers a twin."""
    ir = scene((40, 40, 12), (40, 60, 12))
    found = target_retention(ir, scene((40, 40, 12)))
    assert (found.targets, found.lost) == (2, 1)
    assert found.mean == pytest.approx(0.5, abs=0.02)


def test_ring_and_target_by_an_own_measurement():
    """One disc: mean inside less mean of the ring around it, in a fused picture of random grain."""
    ir = scene()
    cv2.circle(ir, (80, 60), 9, 200, -1)
    fused = np.random.default_rng(0).integers(0, 256, ir.shape, np.uint8)
    target, ring = module.warm_targets(ir)[0]
    rows, columns = np.mgrid[: ir.shape[0], : ir.shape[1]]
    distance = np.hypot(rows - 60, columns - 80)
    assert target[distance < 8].all()
    assert not target[distance > 12].any()
    assert not ring[target].any()
    assert not ring[distance < 11].any()  # the blurred edge belongs to neither
    assert ring[(distance > 16) & (distance < 19)].all()
    assert not ring[distance > 12 + module.GAP + module.RING + 1].any()
    contrast = [float(p[target].mean() - p[ring].mean()) for p in (ir, fused)]
    assert target_retention(ir, fused).mean == pytest.approx(contrast[1] / contrast[0])
