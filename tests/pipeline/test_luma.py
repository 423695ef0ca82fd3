"""The quick ways between limited and full range give what the tables say, for every value and wherever rows lie."""

import numpy as np
import pytest

from pipeline.luma import TO_FULL, TO_LIMITED, lay_limited, to_full

EVERY = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("width", [1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 255, 256])
def test_every_value_is_that_of_the_tables_at_every_place_in_a_row(width):
    """SIMD does most of a row, other code its end."""
    rows = np.lib.stride_tricks.sliding_window_view(np.tile(EVERY, 2), width)[:256]  # each value at each place
    rows = np.ascontiguousarray(rows)
    np.testing.assert_array_equal(to_full(rows), TO_FULL[rows])
    laid = np.empty_like(rows)
    lay_limited(laid, rows)
    np.testing.assert_array_equal(laid, TO_LIMITED[rows])


def test_planes_whose_rows_lie_apart_are_read_and_written_inside_only():
    wide = np.random.default_rng(0).integers(0, 256, (20, 48), np.uint8)
    samples = wide[3:17, 5:38]
    samples.flags.writeable = False  # as a decoder's
    np.testing.assert_array_equal(to_full(samples), TO_FULL[samples])
    around = np.full((20, 48), 7, np.uint8)
    lay_limited(around[2:16, 9:42], samples)
    np.testing.assert_array_equal(around[2:16, 9:42], TO_LIMITED[samples])
    around[2:16, 9:42] = 7
    assert (around == 7).all()


def test_full_range_is_a_new_array():
    samples = np.full((4, 4), 100, np.uint8)
    full = to_full(samples)
    full[:] = 0
    assert (samples == 100).all()
