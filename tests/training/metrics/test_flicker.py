"""Flicker on made sequences: what it measures, and what it does not count."""

import numpy as np
import pytest

from tests.training.material import textured
from training.metrics.flicker import flicker, resting

FRAMES, HEIGHT, WIDTH = 9, 60, 80
STILL = [textured(HEIGHT, WIDTH)] * FRAMES
OTHER = [textured(HEIGHT, WIDTH, 1)] * FRAMES
GROUND = np.full((HEIGHT, WIDTH), 100.0)


def video(*changes):
    """Frames of the ground plus a change each."""
    return [(GROUND + change).round().clip(0, 255).astype(np.uint8) for change in changes]


def grain(sigma, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, sigma, (HEIGHT, WIDTH)) for _ in range(FRAMES)]


def test_a_still_picture_does_not_flicker_and_a_steady_drift_is_no_flicker():
    assert flicker(STILL, OTHER, video(*[0] * FRAMES)) == 0
    assert flicker(STILL, OTHER, video(*range(0, 5 * FRAMES, 5))) == 0


def test_to_and_fro_by_hand():
    # -a +a -a: second difference 4 a, over sqrt(6)
    assert flicker(STILL, OTHER, video(*[3 * (-1) ** t for t in range(FRAMES)])) == pytest.approx(12 / 6**0.5)


@pytest.mark.parametrize("sigma", [3, 8])
def test_grain_counts_by_its_deviation(sigma):
    wanted = (sigma**2 + 1 / 12) ** 0.5  # with the rounding's
    assert flicker(STILL, OTHER, video(*grain(sigma))) == pytest.approx(wanted, rel=0.03)


def test_grain_of_the_sources_is_no_change():
    noisy = [(np.full((HEIGHT, WIDTH), 90) + g).clip(0, 255).astype(np.uint8) for g in grain(5)]
    assert all(mask.mean() > 0.95 for mask in resting(noisy, OTHER))
    fused = [((a.astype(int) + b) // 2).astype(np.uint8) for a, b in zip(noisy, STILL, strict=True)]
    assert flicker(noisy, STILL, fused) == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize("changing", ["ir", "vis"])
def test_what_follows_a_source_is_no_flicker(changing):
    """A block of one source blinks, and F with it; the rest is still."""
    blink = [np.where(np.arange(WIDTH) < 30, 60 * (t % 2), 0) for t in range(FRAMES)]
    source = video(*blink)
    ir, vis = (source, OTHER) if changing == "ir" else (OTHER, source)
    assert flicker(ir, vis, source) == 0
    assert flicker(STILL, OTHER, source) > 20
    beyond = [np.where(np.arange(WIDTH) >= 50, 60 * (t % 2), 0) for t in range(FRAMES)]
    assert flicker(ir, vis, video(*beyond)) > 20


def test_a_step_of_the_whole_picture_has_no_resting_pixel_around_it():
    step = video(0, 0, 0, 20, 20, 20, 20, 20, 20)
    seen = [mask.any() for mask in resting(step, OTHER)]
    assert seen == [True, False, False, True, True, True, True]
    assert flicker(step, OTHER, step) == 0


def test_without_a_pixel_at_rest_there_is_no_value():
    assert flicker(STILL[:2], OTHER[:2], STILL[:2]) is None
    assert flicker([], [], []) is None
    blinking = video(*[60 * (t % 2) for t in range(FRAMES)])
    assert flicker(blinking, OTHER, STILL) is None


def test_videos_of_other_lengths_or_sizes_are_an_error():
    for others in ((STILL[1:], OTHER), (STILL, [frame[1:] for frame in OTHER])):
        with pytest.raises(ValueError, match="give three with the same frames"):
            flicker(STILL, *others)
