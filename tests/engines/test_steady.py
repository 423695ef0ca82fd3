"""A steadied stream: what rests is quiet, gain steps come slowly, and nothing that moves is held back."""

import numpy as np
import pytest

from engines.classical.max import maximum
from engines.steady import FRAMES, MEMORY, Steady
from engines.tone import WINDOW
from tests.training.material import textured
from tests.training.moving import clip
from training.clip_rows import analysed, row_of
from training.metrics.brightness_jump import brightness, largest_jump

SHAPE = 64, 96


def ground(seed=1):
    return (textured(*SHAPE, seed) * 0.3 + 50).astype(np.uint8)


def steadied(ir, vis, fuse=maximum, steady=None):
    steady = steady or Steady()
    return [steady.get(fuse(steady.put(a, b), b)) for a, b in zip(ir, vis, strict=True)]


def noisy(frame, random, sigma=2.0):
    return np.rint(frame + random.normal(0, sigma, frame.shape)).clip(0, 255).astype(np.uint8)


def flickering(frames):
    video = np.array(frames, float)
    return np.sqrt(np.mean((video[:-2] - 2 * video[1:-1] + video[2:]) ** 2) / 6)


def test_grain_of_what_rests_falls_as_an_average_of_three_lets_it():
    """Second difference of a mean of three, over one frame's: sqrt(4 / 9 / 6) = 0.27; rounding adds 0.3 levels."""
    random = np.random.default_rng(0)
    ir, vis = ([noisy(ground(seed), random) for _ in range(10)] for seed in (1, 2))
    before = flickering([maximum(a, b) for a, b in zip(ir, vis, strict=True)][FRAMES:])
    after = flickering(steadied(ir, vis)[FRAMES:])
    assert after == pytest.approx(np.hypot(0.27 * before, 0.3), rel=0.25)


def test_one_odd_picture_of_what_rests_is_shared_by_three():
    """The network may change its mind where neither source does."""
    steady, still, shown = Steady(), np.full(SHAPE, 90, np.uint8), []
    for level in (100, 100, 100, 100, 109, 100, 100, 100):
        steady.put(still, still)
        shown.append(np.unique(steady.get(np.full(SHAPE, level, np.uint8))).tolist())
    assert shown == [[100]] * 4 + [[103]] * 3 + [[100]]


def test_a_clean_still_stream_is_left_as_it_is():
    ir, vis = [ground(1)] * 5, [ground(2)] * 5
    for frame in steadied(ir, vis):
        assert np.array_equal(frame, maximum(ir[0], vis[0]))


def test_a_moving_target_keeps_every_level_and_leaves_none():
    ir, vis = clip()
    plain, steady = ([maximum(a, b) for a, b in zip(ir, vis, strict=True)], steadied(ir, vis))
    for before, after in zip(plain, steady, strict=True):
        assert np.array_equal(before, after)


def test_a_target_moving_in_grain_keeps_its_brightness_and_drags_no_trail():
    random = np.random.default_rng(0)
    ir, vis = ([noisy(frame, random) for frame in side] for side in clip())
    sources = analysed(ir, vis)
    plain = row_of(sources, [maximum(a, b) for a, b in zip(ir, vis, strict=True)])
    steady = row_of(sources, steadied(ir, vis))
    assert steady["retention"] == pytest.approx(plain["retention"], abs=0.01)
    assert steady["least retention"] == pytest.approx(plain["least retention"], abs=0.02)
    assert steady["trail"] < plain["trail"] + 0.01
    assert steady["flicker"] < 0.6 * plain["flicker"]


def test_a_small_target_of_two_pixels_is_not_smeared():
    ir, vis = [np.full(SHAPE, 60, np.uint8) for _ in range(8)], [np.full(SHAPE, 60, np.uint8)] * 8
    for t, frame in enumerate(ir):
        frame[30:32, 10 + 3 * t : 12 + 3 * t] = 140
    for raw, frame in zip(ir, steadied(ir, vis), strict=True):
        assert np.array_equal(raw, frame)


def test_a_gain_step_passes_over_the_window_and_is_gone_after_it():
    ir = [ground(1)] * 4 + [(ground(1) + 37).astype(np.uint8)] * (WINDOW + 4)
    shown = steadied(ir, ir, lambda a, b: a)
    assert largest_jump(ir) == pytest.approx(37)
    assert largest_jump(shown) < 1.7  # 37 / 45, and the rounding of a picture that changes as one
    way = brightness(shown) - brightness(ir)[0]
    assert way[4] == pytest.approx(0, abs=1)
    assert way[4 + WINDOW // 2] == pytest.approx(37 / 2, abs=2)
    assert np.array_equal(shown[-1], ir[-1])


def test_slow_warming_is_shown_as_it_is():
    ir = [(ground(1) + t).astype(np.uint8) for t in range(40)]
    steady = Steady()
    for frame in ir:
        assert steady.put(frame, frame) is frame
        steady.get(frame)


def test_a_cut_passes_at_once():
    ir, vis = [ground(1)] * 4 + [ground(3)] * 2, [ground(2)] * 4 + [(ground(4) + 60).astype(np.uint8)] * 2
    assert np.array_equal(steadied(ir, vis)[4], maximum(ir[4], vis[4]))


def test_a_stream_taken_up_in_the_middle_is_the_same_after_its_memory():
    random = np.random.default_rng(3)
    levels = np.cumsum(random.choice([0, 0, 0, 9, -9], MEMORY + 14)).clip(-30, 90)
    ir = [noisy(ground(1) + level, random) for level in levels]
    vis = [noisy(ground(2), random) for _ in levels]
    whole = steadied(ir, vis)
    for begin in (1, 13):
        part = steadied(ir[begin:], vis[begin:])
        assert all(np.array_equal(a, b) for a, b in zip(whole[begin + MEMORY :], part[MEMORY:], strict=True))


def test_the_memory_is_no_longer_than_it_needs_be():
    """A step between the first two of `MEMORY` + 1 pairs is still there in the last, and not in the one after."""
    first, later = (ground(1) + 40).astype(np.uint8), ground(1)
    ir = [first] + [later] * (MEMORY + 1)
    left = [int((shown != later).any()) for shown in steadied(ir, ir, lambda a, b: a)]
    assert left[WINDOW - 2] == 1
    assert left[MEMORY + 1] == 0


def test_where_infrared_does_not_look_its_stand_in_is_left_alone():
    seen = np.zeros(SHAPE, np.float32)
    seen[:, 40:] = 1
    before, after = ground(2), ground(2)
    before[:, 40:], after[:, 40:] = ground(1)[:, 40:], ground(1)[:, 40:] + 20
    steady = Steady()
    steady.put(before, ground(2), seen)
    shown = steady.put(after, ground(2), seen)
    assert np.array_equal(shown[:, :40], after[:, :40])
    assert np.abs(shown[:, 40:].astype(int) - before[:, 40:]).max() <= 2


def test_pairs_under_way_and_a_change_of_size_are_kept_apart():
    steady = Steady()
    small, large = np.full((1, 1), 7, np.uint8), ground(1)
    for frame in (small, small, large, large):
        steady.put(frame, frame)
    assert [steady.get(f).shape for f in (small, small, large, large)] == [(1, 1), (1, 1), SHAPE, SHAPE]
    steady.forget()
    assert np.array_equal(steadied([large], [large], steady=steady)[0], large)
