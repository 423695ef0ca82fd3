"""Warping error on made sequences: motion it follows, and what it finds."""

import cv2
import numpy as np
import pytest

from tests.training.material import textured
from training.metrics import warping_error as module
from training.metrics.warping_error import LEAST_SIDE, motion, warping_error

HEIGHT, WIDTH, FRAMES = 96, 128, 5


def moving(step, seed=0, frames=FRAMES):
    """A texture that moves `step` px a frame to the left."""
    wide = textured(HEIGHT, WIDTH + frames * step, seed)
    wide = cv2.GaussianBlur(wide, (0, 0), 1)
    return [wide[:, t * step : t * step + WIDTH] for t in range(frames)]


def mean(a, b):
    return [((x.astype(int) + y + 1) // 2).astype(np.uint8) for x, y in zip(a, b, strict=True)]


def offset(frames, levels):
    return [(x.astype(int) + k).clip(0, 255).astype(np.uint8) for x, k in zip(frames, levels, strict=True)]


@pytest.mark.parametrize("step", [0, 1, 3])
def test_what_moves_with_its_sources_has_next_to_no_error(step):
    ir, vis = moving(step), moving(step, 1)
    assert warping_error(ir, vis, mean(ir, vis)) < (0.01 if step == 0 else 0.7)


@pytest.mark.parametrize("step", [0, 2])
def test_flicker_is_found_on_top_of_the_motion(step):
    ir, vis = ([x // 2 + 40 for x in moving(step, seed)] for seed in (0, 1))
    fused = offset(mean(ir, vis), [0, 10, 0, 10, 0])
    assert warping_error(ir, vis, fused) == pytest.approx(10, abs=0.4)


def test_a_trail_is_found():
    ir, vis = moving(3), moving(3, 1)
    clean = mean(ir, vis)
    trail = [clean[0], *mean(clean[1:], clean[:-1])]
    assert warping_error(ir, vis, trail) > 3 * warping_error(ir, vis, clean)


def test_the_flow_leads_back_to_where_the_pixel_was():
    ir, vis = moving(3), moving(3, 1)
    flow, followed = motion((ir[0], vis[0]), (ir[1], vis[1]))
    assert followed.mean() > 0.9
    assert np.median(flow[followed], axis=0) == pytest.approx([3, 0], abs=0.2)


def test_one_source_shows_the_motion_where_the_other_has_no_texture():
    ir, flat = moving(3), [np.full((HEIGHT, WIDTH), 60, np.uint8)] * FRAMES
    for pair in ((ir, flat), (flat, ir)):
        assert warping_error(*pair, ir) < 0.7
    assert warping_error(ir, flat, offset(flat, [0, 9, 0, 9, 0])) == pytest.approx(9, abs=0.01)


def test_what_no_single_motion_explains_does_not_count():
    """A warm target crosses a still, textured background: F, which shows both, is right in the rest."""
    vis = [textured(HEIGHT, WIDTH, 1)] * FRAMES
    ir = [np.full((HEIGHT, WIDTH), 40, np.uint8) for _ in range(FRAMES)]
    for t, frame in enumerate(ir):
        frame[40:64, 20 + 8 * t : 44 + 8 * t] = 220
    fused = [np.where(x > 100, x // 2 + y // 2, y) for x, y in zip(ir, vis, strict=True)]
    assert warping_error(ir, vis, fused) < 2.5
    assert np.sqrt(np.mean((fused[1].astype(float) - fused[0]) ** 2)) > 5


@pytest.mark.parametrize(("forth", "followed"), [(-5, True), (-4.2, True), (-3.5, False), (0, False)])
def test_a_way_that_does_not_lead_back_is_not_followed(monkeypatch, forth, followed):
    """On flat pictures every flow explains all; there, as where something is uncovered, only the way back tells."""
    flat = np.full((HEIGHT, WIDTH), 60, np.uint8)
    flows = iter(2 * [np.full((HEIGHT, WIDTH, 2), [step, 0], np.float32) for step in (5, forth)])
    monkeypatch.setattr(module, "_flow", lambda a, b: next(flows))
    assert (motion((flat, flat), (flat, flat))[1] == followed).all()


def test_nothing_can_be_followed_over_a_scene_cut():
    ir, vis = moving(0, frames=1), moving(0, 1, frames=1)
    other_ir, other_vis = moving(0, 7, frames=1), moving(0, 8, frames=1)
    _, followed = motion((ir[0], vis[0]), (other_ir[0], other_vis[0]))
    assert followed.mean() < 0.1
    black = [np.zeros((HEIGHT, WIDTH), np.uint8), np.full((HEIGHT, WIDTH), 200, np.uint8)]
    assert warping_error(black, black, black) is None


def test_one_frame_has_no_value_and_videos_that_differ_are_an_error():
    frame = [textured(HEIGHT, WIDTH)]
    assert warping_error(frame, frame, frame) is None
    tiny = [textured(LEAST_SIDE - 1, 40)] * 2
    for videos in ((frame, frame, frame * 2), (frame, frame, [frame[0][1:]]), (tiny, tiny, tiny)):
        with pytest.raises(ValueError, match="give three with the same frames"):
            warping_error(*videos)
