import numpy as np
import pytest

from calibration import register as module
from calibration.gate import doubts
from calibration.models import corner_distances
from calibration.outlines import outlines, view_of
from calibration.register import CLEAR_LEAD, LOOKS, _lead, register
from calibration.search import Candidate, Start, beside
from tests.calibration.scenery import SIZE, pair, similarity

IR_SIZE = 200, 160


@pytest.fixture
def few_looks(monkeypatch):
    """A third of the time where no place leads; what is not believed of these is not of more, for each is a rival."""
    monkeypatch.setattr(module, "LOOKS", (5, 10))


def start_at(scale, dx, dy):
    return Start(scale * IR_SIZE[0] / SIZE[0], 0, dx, dy)


@pytest.fixture(scope="module")
def found():
    """The truth, and what is found from a start that is off by 30 px, 10 % and 4 degrees."""
    H = similarity(1.8, 4, 25, -15, IR_SIZE)
    return H, register(*map(view_of, pair(7, H, IR_SIZE)), start=start_at(2.0, 50, 0))


def test_a_similarity_is_found_to_a_pixel_and_said_to_be_one(found):
    H, estimate = found
    assert estimate.model == "similarity"
    assert corner_distances(estimate.matrix, H, IR_SIZE).max() < 1.0


def test_what_is_right_is_believed(found):
    _, estimate = found
    assert doubts(estimate, SIZE) == []
    assert estimate.share > 0.8
    assert estimate.differ < 3
    assert estimate.overlap == pytest.approx(1.0, abs=0.03)


def test_the_error_is_of_the_size_that_is_told(found):
    H, estimate = found
    assert np.median(corner_distances(estimate.matrix, H, IR_SIZE)) < 4 * estimate.sigma + 0.2


def test_two_scenes_that_have_nothing_in_common_are_not_believed():
    H = similarity(1.8, 0, 0, 0, IR_SIZE)
    estimate = register(*map(view_of, pair(20, H, IR_SIZE, ir_seed=40)), start=start_at(1.8, 0, 0))
    assert estimate is None or len(doubts(estimate, SIZE)) >= 2


@pytest.mark.parametrize(("rank", "looked"), [(0, LOOKS[0]), (LOOKS[0] + 5, LOOKS[1]), (LOOKS[1], LOOKS[2])])
def test_more_places_are_told_apart_as_long_as_none_leads(monkeypatch, rank, looked):
    """The search puts wrong places before the right one: told apart, it leads, and nothing after it is looked at."""
    H = similarity(1.8, 0, 0, 0, IR_SIZE)
    wrong = [similarity(1.8, 40 + 4 * n, 0, 0, IR_SIZE) for n in range(LOOKS[-1])]
    places = [Candidate(matrix, 100.0 - n) for n, matrix in enumerate([*wrong[:rank], H, *wrong[rank:]])]
    told = []

    def tell_apart(other, reference, place, model):
        told.append(place)
        return place._replace(score=30.0 if place.matrix is H else 20.0)

    monkeypatch.setattr(module, "search", lambda *_, **__: places)
    monkeypatch.setattr(module, "_told_apart", tell_apart)
    monkeypatch.setattr(module, "_repeated", lambda *_: [])
    estimate = register(*map(view_of, pair(7, H, IR_SIZE)))
    assert told == places[:looked]
    assert corner_distances(estimate.matrix, H, IR_SIZE).max() < 1.0
    assert estimate.lead == 1.5


@pytest.mark.parametrize(("best", "other", "is_clear"), [(3.0, 0.0, True), (3.0, -1.0, True), (0.0, 0.0, False)])
def test_a_place_that_scores_nothing_is_no_rival_and_does_not_lead(best, other, is_clear):
    views = [view_of(picture) for picture in pair(7, similarity(1.8, 0, 0, 0, IR_SIZE), IR_SIZE)]
    places = [Candidate(similarity(1.8, 0, dx, 0, IR_SIZE), score) for dx, score in ((0, best), (90, other))]
    assert (_lead(places, *views) >= CLEAR_LEAD) == is_clear


def test_a_shift_leaves_scale_and_angle():
    H = similarity(2.4, 0, 12, -7, IR_SIZE)
    estimate = register(*map(view_of, pair(9, H, IR_SIZE)), model="shift")
    np.testing.assert_allclose(estimate.matrix[:2, :2], 2.4 * np.eye(2), atol=1e-6)
    assert corner_distances(estimate.matrix, H, IR_SIZE).max() < 1.0


@pytest.mark.usefixtures("few_looks")
@pytest.mark.parametrize("period", [24, 40])
def test_on_a_fence_no_place_is_believed(period):
    """Fields of a chessboard in both lights: each place half a period off fits as well."""
    y, x = np.indices((384, 480))
    is_dark = (x % period < period / 2) ^ (y % period < period / 2)
    noise = np.random.default_rng(1).normal(0, 5, (2, 384, 480))
    ir, vis = (np.clip(np.where(is_dark, 60, 190) + part, 0, 255).astype(np.uint8) for part in noise)
    estimate = register(view_of(ir[40:340, 60:420]), view_of(vis), start=Start(0.75, 0, 0, 0))
    assert doubts(estimate, SIZE)


def test_a_place_one_window_off_is_looked_at():
    """Windows 14 px apart, too near each other for two candidates of the search."""
    y, x = np.indices((192, 256))
    picture = np.where((x % 14 < 7) & (y % 40 < 20), 60, 190) + np.random.default_rng(1).normal(0, 5, x.shape)
    lines = outlines(view_of(np.clip(picture, 0, 255).astype(np.uint8)))
    found = np.array(beside(lines, lines))
    for x in (-14, 14):
        assert np.hypot(*(found - (x, 0)).T).min() < 0.1
