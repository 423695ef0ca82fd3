"""What a board is: where its points are, and how often it looks the same."""

import numpy as np
import pytest

from calibration.boards import Board, BoardError, parse_board


def test_points_run_along_rows_in_metres():
    board = Board("chess", 4, 3, 0.02)
    assert board.points.shape == (12, 3)
    np.testing.assert_allclose(board.points[[0, 1, 4]], [[0, 0, 0], [0.02, 0, 0], [0, 0.02, 0]])


def test_every_second_row_of_asymmetric_circles_is_moved_by_the_pitch():
    board = Board("acircles", 4, 11, 0.01)
    np.testing.assert_allclose(board.points[[0, 1, 4, 8], :2] * 100, [[0, 0], [2, 0], [1, 1], [0, 2]])
    assert board.spacing == pytest.approx(0.01 * np.sqrt(2))


def test_charuco_has_the_corners_between_its_squares():
    board = Board("charuco", 6, 4, 0.03)
    assert board.shape == (5, 3)
    np.testing.assert_allclose(board.points, board.charuco.getChessboardCorners(), atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "columns", "rows", "ways"),
    [("acircles", 4, 11, 1), ("acircles", 4, 10, 2), ("chess", 9, 6, 2), ("chess", 6, 6, 4), ("circles", 7, 5, 2),
     ("circles", 5, 5, 4), ("charuco", 6, 6, 1)],
)  # fmt: skip
def test_a_board_looks_the_same_in_so_many_ways(kind, columns, rows, ways):
    board = Board(kind, columns, rows, 0.02)
    assert len(board.turns) == ways
    for order in board.turns:
        flat = board.points[order] - board.points.mean(axis=0)
        assert sorted(order) == list(range(len(order)))
        R = np.linalg.lstsq(board.points - board.points.mean(axis=0), flat, rcond=None)[0][:2, :2]
        np.testing.assert_allclose(R @ R.T, np.eye(2), atol=1e-9)
        assert np.linalg.det(R) == pytest.approx(1), "a mirrored board is another board"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("chess", "9", 25, None, "4x4_250"), "grid '9': give columns x rows"),
        (("chess", "2x6", 25, None, "4x4_250"), "grid 2x6: .*3 to 60"),
        (("chess", "9x6", 0, None, "4x4_250"), "pitch 0 mm"),
        (("chess", "9x6", float("nan"), None, "4x4_250"), "pitch nan mm"),
        (("dots", "9x6", 25, None, "4x4_250"), "board 'dots': give one of circles, acircles, chess, charuco"),
        (("charuco", "9x6", 25, 30, "4x4_250"), "marker 30 mm: .*less than the pitch"),
        (("charuco", "9x6", 25, None, "7x7_1"), "dictionary 7x7_1: give one of .*4x4_250"),
        (("charuco", "30x30", 25, None, "4x4_250"), "takes 450 markers, 4x4_250 has 250"),
    ],
)
def test_a_board_that_cannot_be_is_named(given, said):
    with pytest.raises(BoardError, match=said):
        parse_board(*given)
