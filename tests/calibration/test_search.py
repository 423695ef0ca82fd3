import numpy as np
import pytest

from calibration.models import corner_distances
from calibration.outlines import view_of
from calibration.search import SCALE_STEP, Start, search, search_range
from tests.calibration.scenery import SIZE, pair, similarity

IR_SIZE = 240, 180


@pytest.mark.parametrize(("scale", "angle", "dx", "dy"), [(1.1, 8, 140, -20), (2.6, -9, -60, 70)])
def test_a_place_30_percent_of_the_width_away_is_found_from_no_idea(scale, angle, dx, dy):
    H = similarity(scale, angle, dx, dy, IR_SIZE)
    best = search(*map(view_of, pair(5, H, IR_SIZE)), search_range())[0]
    assert corner_distances(best.matrix, H, IR_SIZE).max() < 0.06 * SIZE[0]  # half a step of scale and angle, and a px


@pytest.mark.parametrize(("dx", "dy"), [(140, 0), (0, 100)])
def test_a_start_is_kept_to(dx, dy):
    """The picture stands to the right, or below; from a start on the other side nothing near the truth is tried."""
    H = similarity(1.1, 0, dx, dy, IR_SIZE)
    views = [view_of(picture) for picture in pair(5, H, IR_SIZE)]
    width = 1.1 * IR_SIZE[0] / SIZE[0]
    near = search(*views, search_range(Start(width, 0, dx, dy)))[0]
    assert corner_distances(near.matrix, H, IR_SIZE).max() < 0.05 * SIZE[0]
    away = search(*views, search_range(Start(width, 0, -dx, -dy)))
    assert away
    for place in away:
        assert corner_distances(place.matrix, H, IR_SIZE).min() > 0.1 * SIZE[0]


def test_a_tall_picture_is_searched_on_a_wide_one():
    """Visible is five times as wide as high: infrared, turned and at its largest, is four times as high."""
    H = similarity(1.0, 0, 30, 4, IR_SIZE)
    ir, vis = pair(5, H, IR_SIZE)
    low = (SIZE[1] - 96) // 2
    strip = vis[low : low + 96]
    on_strip = np.array([[1, 0, 0], [0, 1, -low], [0, 0, 1]]) @ H
    best = search(view_of(ir), view_of(strip), search_range())[0]
    assert corner_distances(best.matrix, on_strip, IR_SIZE).max() < 0.06 * SIZE[0]


def test_places_lie_apart_and_the_best_comes_first():
    places = search(*map(view_of, pair(5, np.eye(3), SIZE)), search_range(Start(1, 0, 0, 0)), keep=4)
    assert [place.score for place in places] == sorted((place.score for place in places), reverse=True)
    for number, place in enumerate(places):
        for other in places[:number]:
            assert corner_distances(place.matrix, other.matrix, SIZE).max() > 0.04 * SIZE[0]


def test_a_shift_tries_one_scale_and_one_angle():
    tried = search_range(is_shift_only=True)
    assert (tried.scales, tried.angles_deg) == ((1.0,), (0.0,))
    wide = search_range()
    assert min(wide.scales) < 0.37
    assert max(wide.scales) > 1.6
    assert np.diff(np.log(wide.scales)) == pytest.approx(SCALE_STEP)
