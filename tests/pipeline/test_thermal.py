"""Gain control of 16-bit thermal counts: values by hand, numpy as witness, monotone for all inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.batch.plan import GAIN_RUN_UP
from pipeline.frames import Frame, InputError
from pipeline.image_source import read_image
from pipeline.thermal import Agc, parse_gain, parse_region, percentile_span, plateau_curve, to_8bit
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


def counts(*values: int) -> np.ndarray:
    return np.array([values], np.uint16)


def test_plateau_curve_by_hand() -> None:
    """Ten pixels of three counts, 8, 1 and 1: typically 2. At a plateau of 1.5 of that the first weighs 3, not 8."""
    luma = np.array([[100] * 8 + [101, 900]], np.uint16)
    curve = plateau_curve(luma, 1.5)
    assert curve[[0, 99, 100, 101, 500, 900, 901, 65535]] == pytest.approx(
        np.array([0, 0, 1.5, 3.5, 4, 4.5, 5, 5]) * 255 / 5
    )


def test_an_unreachable_plateau_is_histogram_equalisation() -> None:
    luma = np.repeat(np.array([[5, 6, 4000]], np.uint16), [6, 3, 1], axis=1)
    assert plateau_curve(luma, 1e9)[[5, 6, 4000]] == pytest.approx([255 * 0.3, 255 * 0.75, 255 * 0.95])


def test_plateau_leaves_small_targets_levels_that_a_large_sky_would_take() -> None:
    rng = np.random.default_rng(0)
    sky = rng.normal(8000, 2, 99_000).round()
    target = rng.uniform(8300, 8400, 1000).round()
    luma = np.append(sky, target).astype(np.uint16).reshape(400, 250)
    spread = {}
    for plateau in (3.0, 1e9):
        curve = plateau_curve(luma, plateau)
        spread[plateau] = curve[8400] - curve[8300]
    assert spread[1e9] < 3
    assert spread[3.0] > 100


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)), st.floats(0.01, 100))
def test_every_plateau_curve_rises_within_0_to_255(luma: np.ndarray, plateau: float) -> None:
    curve = plateau_curve(luma, plateau)
    assert np.isfinite(curve).all()
    assert (np.diff(curve) >= -1e-9).all()
    assert curve[0] >= 0
    assert curve[-1] <= 255 + 1e-9


MODES = ("percentile", "plateau", "fixed:1000,2000")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [0, 7, 1500, 65535])
@pytest.mark.filterwarnings("error")
def test_constant_and_black_frames_have_one_level_and_divide_by_nothing(mode: str, level: int) -> None:
    agc = Agc(parse_gain(mode))
    for k in range(3):
        luma = agc.apply(frame_of(np.full((6, 8), level, np.uint16), k)).luma
        fixed = min(max(round((level - 1000) * 0.255), 0), 255)
        assert set(luma.ravel().tolist()) == {fixed if mode.startswith("fixed") else 128}


@pytest.mark.parametrize("mode", MODES[:2])
def test_counts_of_14_bits_give_the_same_picture_at_either_end_of_16(mode: str) -> None:
    low = np.random.default_rng(0).integers(0, 16384, (40, 50)).astype(np.uint16)
    one = Agc(parse_gain(mode)).apply(frame_of(low)).luma.astype(int)
    other = Agc(parse_gain(mode)).apply(frame_of(low * 4)).luma.astype(int)
    assert np.abs(one - other).max() <= 1


def test_a_fixed_span_does_not_follow_the_scene() -> None:
    agc = Agc(parse_gain("fixed:1000,2000"))
    for values in ((0, 1000, 1500), (1500, 2000, 60000)):
        luma = agc.apply(frame_of(counts(*values))).luma
        assert luma.tolist() == [[int(np.clip((v - 1000) * 0.255 + 0.5, 0, 255)) for v in values]]


def test_a_plateau_curve_follows_the_scene_slowly() -> None:
    agc = Agc(parse_gain("plateau"), inertia=0.5)
    probe = counts(10, 20, 30, 40)
    first = agc.apply(frame_of(probe)).luma.astype(int)
    assert first.tolist() == [[32, 96, 159, 223]]  # eighths, uneven, of 255
    second = agc.apply(frame_of(counts(40, 50, 60, 70))).luma
    # Count 40 was 223.1, is 31.9 in the new scene: halfway.
    assert second[0, 0] == 128


def test_a_region_alone_sets_the_gain() -> None:
    luma = np.full((10, 20), 60000, np.uint16)
    luma[2:4, 5:15] = np.arange(5000, 5010)
    for text in ("5,2,10,2", "0.25,0.2,0.5,0.2"):
        result = Agc(parse_gain("percentile", parse_region(text)), low=0, high=100).apply(frame_of(luma)).luma
        assert result[2, 5] == 0
        assert result[3, 14] == 255
        assert result[0, 0] == 255


@pytest.mark.parametrize("text", ["0,0,1,1", "0,0,99,99", "0.5,0.5,0.9,0.9"])
def test_a_region_may_reach_over_the_edge_of_the_picture(text: str) -> None:
    part = parse_region(text).of(np.zeros((10, 20), np.uint16))
    assert part.shape == ((5, 10) if text.startswith("0.5") else (10, 20))


def test_a_region_outside_the_picture_is_said_once_and_all_of_it_measured(caplog: pytest.LogCaptureFixture) -> None:
    agc = Agc(parse_gain("percentile", parse_region("100,0,50,50")))
    whole = Agc()
    for k in range(3):
        frame = frame_of(np.random.default_rng(k).integers(0, 9000, (30, 40)).astype(np.uint16), k)
        np.testing.assert_array_equal(agc.apply(frame).luma, whole.apply(frame).luma)
    assert [record.getMessage() for record in caplog.records] == [
        "the agc region lies outside the picture of 40x30 px: all of it is measured"
    ]


def test_8_bits_are_treated_only_if_asked() -> None:
    frame = frame_of(np.arange(100, 164, dtype=np.uint8).reshape(8, 8))
    assert Agc(parse_gain("plateau")).apply(frame) is frame
    gain = parse_gain("fixed:100,163", is_for_8bit=True)
    assert Agc(gain).apply(frame).luma.ravel()[[0, -1]].tolist() == [0, 255]


@pytest.mark.parametrize("text", ["", "auto", "plateau:3", "fixed", "fixed:1", "fixed:2,1", "fixed:1,1", "fixed:0,inf",
                                  "fixed:nan,1", "percentile "])  # fmt: skip
def test_gains_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="give percentile, plateau, or fixed:LO,HI"):
        parse_gain(text)


@pytest.mark.parametrize("text", ["", "1,2,3", "0,0,0,5", "-1,0,5,5", "a,b,c,d", "0,0,nan,1", "0,0,inf,1", "1,0,1,1"])
def test_regions_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="agc region"):
        parse_region(text)


@pytest.mark.parametrize("name", ["IR_2412.png", "T640.png"])
def test_plateau_shows_more_of_real_counts_than_percentiles(name: str) -> None:
    """Entropy of the picture, bits: what an even spread of levels raises."""
    raw, _ = read_image(data("raw16", name))
    entropy = {}
    for mode in MODES[:2]:
        share = np.bincount(Agc(parse_gain(mode)).apply(frame_of(raw)).luma.ravel(), minlength=256) / raw.size
        entropy[mode] = -(share[share > 0] * np.log2(share[share > 0])).sum()
    assert entropy["plateau"] > entropy["percentile"] + 0.2


@pytest.mark.parametrize(("mode", "noise"), [("percentile", 0), ("percentile", 40), ("plateau", 40)])
def test_two_gains_that_begin_apart_meet_exactly(mode: str, noise: int) -> None:
    """So a long video can be fused in pieces: in floats they stayed an ulp apart while the scene held still."""
    rng = np.random.default_rng(1)
    ground = rng.integers(29000, 33000, (24, 32))
    early, late = Agc(parse_gain(mode)), Agc(parse_gain(mode))
    early.apply(frame_of(rng.integers(0, 65536, (24, 32)).astype(np.uint16)))
    for k in range(GAIN_RUN_UP):
        frame = frame_of((ground + rng.integers(-noise, noise + 1, ground.shape)).astype(np.uint16), k)
        pictures = early.apply(frame).luma, late.apply(frame).luma
    assert early.state is not None
    assert late.state is not None
    assert np.array_equal(early.state, late.state)
    assert np.array_equal(*pictures)


def test_a_gain_goes_on_from_the_state_of_another() -> None:
    frames = [frame_of(np.random.default_rng(k).integers(0, 9000 + 50 * k, (8, 8)).astype(np.uint16)) for k in range(9)]
    whole, first, second = (Agc(parse_gain("plateau")) for _ in range(3))
    wanted = [whole.apply(frame).luma for frame in frames]
    for frame in frames[:4]:
        first.apply(frame)
    second.state = first.state
    assert all(np.array_equal(second.apply(f).luma, luma) for f, luma in zip(frames[4:], wanted[4:], strict=True))
