"""What moved tells the clock; what did not, or came round again, or is another scene, tells nothing."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.clock import ClockError, find_clock
from calibration.motion import COLUMNS, ROWS, Motion, baseline_of, motion_of
from tests.calibration.walkers import Walkers, still


def motions(ir, vis, rates):
    baseline = baseline_of(*rates)
    return motion_of(ir, baseline), motion_of(vis, baseline)


def filmed(rates, seconds=10, *, offset=0.0, ppm=0.0, seeds=(3, 3), **scene):
    ir = Walkers(seeds[0], **scene).film("ir", rates[0], seconds, offset=offset, ppm=ppm)
    vis = Walkers(seeds[1], **scene).film("vis", rates[1], seconds, seed=2)
    return motions(ir, vis, rates)


@pytest.mark.parametrize(
    ("rates", "offset", "pan"),
    [((9, 25), 1.37, 0), ((9, 25), -0.42, 0), ((25, 30), -1.9, 0), ((30, 60), 0.731, 0), ((9, 30), 0.25, 0.4)],
)
def test_the_offset_is_found_to_a_part_of_an_infrared_frame(rates, offset, pan):
    """Walkers alone, the camera fixed; in the last case it pans as well."""
    ir, vis = filmed(rates, offset=offset, pan=pan)
    found = find_clock(ir, vis)
    error = found.middle_offset - offset
    assert abs(error) < 0.5 / rates[0], f"{1000 * error:+.1f} ms"
    assert abs(error) < 4 * found.sigma + 0.003, f"{1000 * error:+.1f} ms, sigma {1000 * found.sigma:.1f}"
    assert found.rate == 0.0
    assert found.rate_found is None  # 10 s say nothing of it


def test_cameras_that_pan_over_an_empty_scene_tell_it_too():
    ir, vis = filmed((9, 25), offset=-0.7, count=0, pan=0.6)
    assert find_clock(ir, vis).middle_offset == pytest.approx(-0.7, abs=0.5 / 9)


def test_the_offset_is_searched_about_a_rough_one():
    ir, vis = filmed((9, 25), offset=0.4)
    late = replace(ir, times=ir.times - 1000.0)
    assert find_clock(late, vis, about=1000.3).middle_offset == pytest.approx(1000.4, abs=0.05)
    with pytest.raises(ClockError, match=r"have 0\.0 s in common; record 2 s or more .* or give the rough --offset"):
        find_clock(late, vis)


def test_a_scene_without_motion_is_refused_and_named():
    ir, vis = motions(still("ir", 9, 8), Walkers(3).film("vis", 25, 8), (9, 25))
    with pytest.raises(ClockError, match=r"^ir: nothing moves in it; record something that moves"):
        find_clock(ir, vis)
    ir, vis = motions(Walkers(3).film("ir", 9, 8), still("vis", 25, 8), (9, 25))
    with pytest.raises(ClockError, match=r"^vis: nothing moves"):
        find_clock(ir, vis)


def test_key_frames_of_both_files_are_no_motion():
    """All levels jump for one frame each 3.6 s, in both at the same time: a codec's rhythm, not an event."""
    ir, vis = motions(still("ir", 25, 8, key_every=90), still("vis", 25, 8, seed=1, key_every=90), (25, 25))
    with pytest.raises(ClockError):
        find_clock(ir, vis)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_recordings_of_different_scenes_are_refused(seed):
    ir, vis = filmed((9, 25), seeds=(3, seed))
    with pytest.raises(ClockError):
        find_clock(ir, vis)


def test_what_comes_round_again_is_refused_as_that():
    """Three walkers in a ring: after a third of a turn, 0.8 s, all is as before."""
    ir, vis = filmed((9, 25), offset=0.2, period=2.4)
    with pytest.raises(ClockError, match="comes round again"):
        find_clock(ir, vis)


def test_an_offset_beyond_the_range_is_not_answered():
    ir, vis = filmed((9, 25), offset=1.0)
    with pytest.raises(ClockError):
        find_clock(ir, vis, most=0.5)


def long_motion(rate, seconds, seed, *, offset=0.0, ppm=0.0, noise=0.1, baseline=1 / 9):
    """Minutes of bumps in the parts of a picture, as a camera of such a clock would see them; without pictures."""
    rng, own = np.random.default_rng(0), np.random.default_rng(seed)
    times = np.arange(0, seconds, 1 / rate)
    true = times * (1 + 1e-6 * ppm) + offset
    parts = np.zeros((len(times), ROWS * COLUMNS))
    for _ in range(int(seconds)):
        at, part, width = rng.uniform(-3, seconds + 3), rng.integers(ROWS * COLUMNS), rng.uniform(0.15, 0.5)
        near = np.abs(true - at) < 4 * width
        parts[near, part] += 3 * np.exp(-(((true[near] - at) / width) ** 2))
    parts += own.normal(0, noise, parts.shape)
    return Motion(times, parts, own.normal(0, 0.1, (len(times), 2)), baseline)


def test_a_clock_that_runs_away_by_100_ppm_is_told_from_one_that_does_not():
    vis = long_motion(25, 360, 1)
    drifting = find_clock(long_motion(9, 360, 2, offset=-0.8, ppm=100), vis)
    assert drifting.rate == pytest.approx(100, abs=min(4 * drifting.rate_sigma, 25))
    assert drifting.offset == pytest.approx(-0.8, abs=0.5 / 9 / 4)
    assert drifting.middle_offset == pytest.approx(-0.8 + 100e-6 * 180, abs=0.005)
    steady = find_clock(long_motion(9, 360, 3, offset=0.3), vis)
    assert steady.rate == 0.0
    assert abs(steady.rate_found) < 4 * steady.rate_sigma


def test_too_few_frames_are_not_motion():
    with pytest.raises(ValueError, match=r"0 pairs of frames 0\.120 s apart; 3 are needed"):
        motion_of(Walkers(1).film("ir", 25, 0.1), baseline_of(25, 25))


def read(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while (frame := capture.read()[1]) is not None:
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    return frames


def test_smoke_of_a_real_fire_tells_the_offset(real_data):
    """61 frames, called 10 a second; the first of infrared are left out."""
    ir, vis = (read(real_data / "video" / "tno_fire_part3" / f"{side}.mp4") for side in ("ir", "vis"))
    cut = 5
    found = find_clock(*motions([(k / 10, f) for k, f in enumerate(ir[cut:])],
                                [(k / 10, f) for k, f in enumerate(vis)], (10, 10)))  # fmt: skip
    assert found.offset == pytest.approx(cut / 10, abs=0.05)
    assert re.fullmatch(r"parts|whole", found.kind)
