"""What is measured of fused clips: each planted fault moves its own number, as far as it was planted."""

import numpy as np
import pytest

from tests.training.moving import clip, halves, levels
from training.clip_rows import COLUMNS, LOWER_IS_BETTER, analysed, row_of
from training.methods import plain_mean
from training.metrics.brightness_jump import largest_jump
from training.metrics.moving_targets import LAG


@pytest.fixture(scope="module")
def sources():
    return analysed(*clip())


@pytest.fixture(scope="module")
def mean(sources):
    return halves(sources.ir, sources.vis)


@pytest.fixture(scope="module")
def clean(sources, mean):
    return row_of(sources, levels(mean))


def test_the_fused_clip_without_faults_has_none(sources, clean):
    assert tuple(clean) == COLUMNS
    assert {*COLUMNS} >= LOWER_IS_BETTER
    assert clean["flicker"] == 0  # nothing that rests changes
    assert clean["flicker/mean"] is None  # nor does it in plain mean: nothing to be set beside
    assert clean["retention"] == pytest.approx(0.5, abs=0.02)
    assert clean["least retention"] <= clean["retention"]
    assert clean["trail"] < 0.02
    assert clean["changes"] is None


def test_the_moving_target_is_seen_in_every_frame(sources):
    assert [len(targets) for targets in sources.moves.targets] == [1] * 16
    left = [place is not None and bool(place.any()) for place in sources.moves.left]
    assert left == [False] * LAG + [True] * (16 - LAG)


def test_planted_flicker_is_found_at_its_size(sources, mean, clean):
    """+3 and -3 levels by turns: a second difference of 12, over sqrt(6)."""
    shaken = row_of(sources, levels([frame + 3 * (-1) ** t for t, frame in enumerate(mean)]))
    assert shaken["flicker"] == pytest.approx(12 / 6**0.5, abs=0.3)  # rounding of halves
    assert shaken["warping"] > clean["warping"] + 3
    assert shaken["jump"] == pytest.approx(6, abs=0.1)
    assert shaken["retention"] == pytest.approx(clean["retention"], abs=0.02)
    assert shaken["trail"] < 0.1


@pytest.mark.parametrize("memory", [0.5, 0.8])
def test_a_planted_trail_is_found_at_its_size(sources, mean, clean, memory):
    """Each frame keeps a share of the one before it. The target is at a place two frames, so that it has left it three
    frames when it was there five frames ago, or four."""
    frames, last = [], mean[0]
    for frame in mean:
        last = memory * last + (1 - memory) * frame
        frames.append(last)
    trailing = row_of(sources, levels(frames))
    assert memory**5 < trailing["trail"] < memory**2
    assert trailing["trail"] > clean["trail"] + 0.02
    assert trailing["retention"] < clean["retention"] - 0.05
    assert trailing["flicker"] < 1


def test_a_longer_memory_leaves_a_longer_trail_and_a_dark_one_counts_as_much(sources, mean):
    def after(share):
        """What was there `LAG` frames ago stays, as far as it was brighter than the ground."""
        ghost = [mean[t] + share * (mean[max(0, t - LAG)] - np.minimum(mean[0], mean[-1])) for t in range(len(mean))]
        return row_of(sources, levels(ghost))["trail"]

    found = {share: after(share) for share in (0.1, 0.3, -0.3)}
    assert found[0.1] < found[0.3]
    assert found[0.3] == pytest.approx(0.3, abs=0.1)
    assert found[-0.3] == pytest.approx(found[0.3], abs=0.1)


def test_a_lamp_that_goes_on_where_a_target_was_is_no_trail():
    """Its source has not come back to its background, so that the fused clip need not either."""
    ir, vis = clip()
    for frame in vis[8:]:
        frame[20:45, 15:75] += 40
    row = row_of(analysed(ir, vis), levels(halves(ir, vis)))
    assert row["trail"] < 0.03


def test_a_target_that_fades_in_one_frame_is_the_worst_frame(sources, mean):
    frames = [*levels(mean)]
    frames[9] = sources.vis[9]
    faded = row_of(sources, frames)
    assert faded["least retention"] < 0.1
    assert faded["retention"] == pytest.approx(0.5 - 0.5 / 16, abs=0.03)


def test_a_gain_step_of_ir_is_told_over_that_of_each_source():
    ir, vis = clip(8, gain=[0, 0, 0, 0, 20, 20, 20, 20])
    sources = analysed(ir, vis)
    step = largest_jump(ir)
    assert step == pytest.approx(20, abs=0.5)
    row = row_of(sources, [plain_mean(a, b) for a, b in zip(ir, vis, strict=True)])
    assert row["jump"] == pytest.approx(step / 2, abs=0.3)
    assert row["jump/IR"] == pytest.approx(0.5, abs=0.02)
    assert row["jump/VIS"] is None  # it does not jump at all
    assert row_of(sources, ir)["jump/IR"] == 1
    assert row_of(sources, vis)["jump"] == 0
    for frame in vis[4:]:
        frame[:8] += 4  # of 64 rows: half a level
    assert largest_jump(vis) == 0.5
    assert row_of(analysed(ir, vis), vis)["jump/VIS"] is None  # too little to set anything beside


def test_without_a_moving_target_nothing_is_said_of_targets():
    ir, vis = clip(7)
    still = row_of(analysed([ir[0]] * 7, vis), vis)
    assert (still["retention"], still["least retention"], still["trail"]) == (None, None, None)


def test_a_target_that_the_fused_clip_does_not_show_leaves_no_measurable_trail(sources):
    row = row_of(sources, sources.vis)
    assert row["trail"] is None
    assert abs(row["retention"]) < 0.15
