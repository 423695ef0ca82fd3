"""Gain control of 16-bit thermal counts: values by hand, numpy as witness, monotone for all inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.frames import Frame, InputError
from pipeline.image_source import read_image
from pipeline.thermal import Agc, percentile_span, to_8bit
from tests.pipeline.media import data


def frame_of(luma: np.ndarray, index: int = 0) -> Frame:
    return Frame(luma, None, index, index / 25, index)


def test_span_of_0_to_999_is_its_outer_half_percents() -> None:
    luma = np.arange(1000, dtype=np.uint16).reshape(25, 40) + 7000
    assert percentile_span(luma) == (7004, 7994)  # the 5th and the 995th of 1000


def test_one_hot_pixel_does_not_set_the_span() -> None:
    luma = np.full((20, 20), 5000, np.uint16)
    luma[::2] = 5100
    luma[3, 3] = 65535
    assert percentile_span(luma) == (5000, 5100)


def test_percentiles_0_and_100_are_minimum_and_maximum() -> None:
    luma = np.random.default_rng(0).integers(1, 65536, (31, 17)).astype(np.uint16)
    assert percentile_span(luma, 0, 100) == (luma.min(), luma.max())


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.sampled_from([0.5, 5, 50]))
def test_span_is_the_inverted_cdf_of_numpy(luma: np.ndarray, low: float) -> None:
    expected = np.percentile(luma, [low, 100 - low], method="inverted_cdf")
    assert percentile_span(luma, low, 100 - low) == tuple(expected)


def test_levels_by_hand() -> None:
    luma = np.array([[0, 100, 101, 102, 200, 355, 65535]], np.uint16)
    assert to_8bit(luma, (100, 355)).tolist() == [[0, 0, 1, 2, 100, 255, 255]]
    assert to_8bit(np.array([[100, 101, 102]], np.uint16), (100, 102)).tolist() == [[0, 128, 255]]  # 127.5 goes up


def test_constant_frame_is_mid_gray() -> None:
    luma = Agc().apply(frame_of(np.full((8, 8), 12345, np.uint16))).luma
    assert luma.dtype == np.uint8
    assert (luma == 128).all()


def test_span_narrower_than_a_count_has_no_gray_but_the_middle() -> None:
    luma = np.array([[99, 100, 101]], np.uint16)
    assert to_8bit(luma, (100 - 1e-300, 100 + 1e-300)).tolist() == [[0, 128, 255]]
    assert to_8bit(luma, (100.2, 100.9)).tolist() == [[0, 0, 255]]


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.uint16, 64),
    st.floats(0, 65535),
    st.floats(0, 65535),
)
def test_hotter_is_never_darker(counts: np.ndarray, one: float, other: float) -> None:
    luma = to_8bit(np.sort(counts)[None], (min(one, other), max(one, other)))[0]
    assert (np.diff(luma.astype(int)) >= 0).all()


def test_first_frame_takes_its_own_span() -> None:
    counts = np.tile(np.arange(1000, 2000, dtype=np.uint16), (4, 1))
    luma = Agc().apply(frame_of(counts)).luma
    assert (luma == to_8bit(counts, percentile_span(counts))).all()


def test_span_follows_a_step_exponentially() -> None:
    agc = Agc(low=0, high=100, inertia=0.5)
    agc.apply(frame_of(np.array([[1000, 2000]], np.uint16)))
    step = np.array([[1000, 4000]], np.uint16)
    probe = [int(agc.apply(frame_of(np.append(step, [[2000]], 1).astype(np.uint16), k)).luma[0, 2]) for k in range(4)]
    # White goes 2000, 3000, 3500, 3750, 3875: count 2000 is 255 * 1000 / (white - 1000).
    assert probe == [128, 102, 93, 89]


def test_inertia_0_treats_each_frame_for_itself() -> None:
    agc = Agc(low=0, high=100, inertia=0)
    for top in (2000, 9000, 3000):
        assert agc.apply(frame_of(np.array([[1000, top]], np.uint16))).luma.tolist() == [[0, 255]]


def test_flat_shutter_frame_does_not_blind_the_next() -> None:
    scene = np.tile(np.arange(7000, 8000, dtype=np.uint16), (10, 1))
    agc = Agc()
    before = agc.apply(frame_of(scene)).luma
    agc.apply(frame_of(np.full_like(scene, 7500)))
    after = agc.apply(frame_of(scene)).luma
    assert np.abs(after.astype(int) - before).max() <= 13  # a tenth of 500 counts on each side, of 990: 5 %


def test_8_bit_frame_passes_through_untouched() -> None:
    frame = frame_of(np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert Agc().apply(frame) is frame


def test_everything_but_luma_is_kept() -> None:
    frame = Frame(np.zeros((2, 2), np.uint16), None, 17, 0.68, 5, "a.png")
    result = Agc().apply(frame)
    assert (result.pts, result.time, result.index, result.name) == (17, 0.68, 5, "a.png")
    assert frame.luma.dtype == np.uint16


@pytest.mark.parametrize(
    "options", [{"low": 50, "high": 50}, {"low": -1}, {"high": 101}, {"inertia": 1}, {"inertia": -0.1}]
)
def test_impossible_settings_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="give"):
        Agc(**options)


@pytest.mark.parametrize("name", ["flirpy_example.png", "T640.png", "ax8.png"])
def test_real_counts_fill_the_8_bit_range(name: str) -> None:
    counts, _ = read_image(data("raw16", name))
    assert counts.dtype == np.uint16
    luma = Agc().apply(frame_of(counts)).luma
    assert 0.004 <= (luma == 0).mean() < 0.05
    assert 0.004 <= (luma == 255).mean() < 0.05
