"""Gain steps of infrared: found at their size, told from cuts, motion and warming, and taken back."""

import numpy as np
import pytest

from engines.tone import Tone, cells, step
from tests.training.material import textured


def scene(seed=1):
    return (textured(120, 160, seed) * 0.4 + 40).astype(np.uint8)


def stepped(picture, gain, offset):
    return np.rint(gain * picture.astype(float) + offset).clip(0, 255).astype(np.uint8)


def between(before, now):
    return step(cells(before), cells(now))


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 20), (1.0, -20), (1.6, -10), (0.5, 30)])
def test_a_step_is_found_at_its_size(gain, offset):
    found = between(scene(), stepped(scene(), gain, offset))
    assert found.gain == pytest.approx(gain, abs=0.03)
    assert found.offset[0] == pytest.approx(offset, abs=2)
    assert np.abs(found.offset[1:]).max() < 1


def test_a_step_that_is_larger_at_the_border_is_found_whole():
    """Measured on a real camera: 12 levels more at the bottom than in the middle."""
    shading = np.linspace(-12, 12, 120)[:, None] + np.zeros((120, 160))
    found = between(scene(), stepped(scene(), 1.5, 10 + shading))
    assert found.gain == pytest.approx(1.5, abs=0.05)
    assert found.offset[[1, 2]] == pytest.approx([0, 12], abs=1)


def test_up_and_down_again_comes_out_at_one_in_noise():
    random = np.random.default_rng(0)
    noise = [np.kron(random.normal(0, 5, (30, 40)), np.ones((4, 4))) for _ in range(3)]  # as coarse as a cell
    frames = [stepped(scene(), g, o + n) for g, o, n in zip((1, 1.8, 1), (0, 9, 0), noise, strict=True)]
    up, down = between(frames[0], frames[1]), between(frames[1], frames[2])
    assert up.gain * down.gain == pytest.approx(1, abs=0.05)


def test_what_is_no_step_is_none():
    before = scene()
    noisy = stepped(before, 1, np.random.default_rng(0).normal(0, 8, before.shape))
    entered = before.copy()
    entered[20:100, 20:80] = 230
    shifted = np.roll(before, 6, axis=1)
    for now in (before, noisy, entered, shifted, stepped(before, 1, 1), np.full_like(before, 200)):
        assert between(before, now) is None


def test_a_cut_is_no_step():
    assert between(scene(1), stepped(scene(2), 1, 40)) is None
    assert between(np.full((120, 160), 50, np.uint8), scene()) is None


def test_a_cut_between_two_dull_scenes_is_no_step():
    """All levels lie near each other, so that any tone explains them: only their likeness tells."""
    dull = [np.kron(np.random.default_rng(k).normal(100, 1.5, (30, 40)), np.ones((4, 4))) for k in (0, 1)]
    assert between(dull[0].astype(np.uint8), (dull[1] + 30).astype(np.uint8)) is None
    assert between(dull[0].astype(np.uint8), (dull[0] + 30).astype(np.uint8)) is not None


def test_half_a_picture_is_not_the_camera():
    """What happens in less than `LEAST_SHARE` of the picture happens in the scene."""
    now = stepped(scene(), 1, 30)
    now[:, :70] = scene(5)[:, :70]
    assert between(scene(), now) is None


def test_a_step_is_found_beside_a_large_mover_and_saturated_cells():
    now = stepped(scene(), 1.4, 10)
    now[:60, :50] = 255
    found = between(scene(), now)
    assert found.gain == pytest.approx(1.4, abs=0.06)


def test_where_the_camera_does_not_look_nothing_is_measured():
    seen = np.zeros((120, 160), np.float32)
    seen[:, 60:] = 1
    now = scene()
    now[:, 60:] = stepped(scene(), 1, 20)[:, 60:]
    found = step(cells(scene(), seen), cells(now, seen))
    assert found.gain == pytest.approx(1, abs=0.03)
    assert found.offset[0] == pytest.approx(20, abs=2)
    assert between(scene(), now) is None or between(scene(), now).offset[1] > 5


def test_a_picture_too_small_to_tell_is_left_alone():
    assert cells(np.zeros((29, 400), np.uint8)) is None


def test_a_tone_undone_gives_the_picture_back_and_half_undone_lies_between():
    picture = scene()
    tone = Tone(1.5, np.array([10.0, 3, -2, 1, 0, 2]))
    changed = tone.of(picture)
    assert np.abs(tone.undone(1).of(changed).astype(int) - picture).max() <= 1
    assert np.array_equal(tone.undone(0).of(changed), changed)
    half = tone.undone(0.5).of(changed).astype(float)
    assert np.abs(half - (changed.astype(float) + picture) / 2).max() <= 1
    twice = tone.after(Tone(0.8, np.array([4.0, 0, 0, 0, 0, 0])))
    by_hand = 1.5 * (0.8 * picture.astype(float) + 4) + (tone.of(np.zeros_like(picture)).astype(float))
    assert np.abs(twice.of(picture) - by_hand).max() <= 1.5


def test_levels_beyond_black_and_white_are_cut_off():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
    assert Tone(3.9, np.zeros(6)).of(ramp)[0, 200] == 255
    assert Tone(1.0, np.array([-900.0, 0, 0, 0, 0, 0])).of(ramp).max() == 0
