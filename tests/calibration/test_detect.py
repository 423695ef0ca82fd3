"""A board in rendered pictures, whose truth is known: found in either spectrum, to a small part of a pixel."""

import cv2
import numpy as np
import pytest

from calibration.boards import Board
from calibration.detect import Detector, find_at
from calibration.missing import common_grid, fitting_grid, larger_grid, parts_seen
from tests.calibration.render import both, project, random_truth, rig_pictures

TRUTH = random_truth(1)
CHESS, CIRCLES = Board("chess", 9, 6, 0.03), Board("acircles", 4, 11, 0.03)
CHARUCO = Board("charuco", 8, 6, 0.04)
LIMITS = {"chess": (0.06, 0.05), "acircles": (0.05, 0.05), "circles": (0.08, 0.08), "charuco": (0.2, 0.1)}
"""px, rms in IR and VIS: twice what was measured with the noise of the renderer."""


@pytest.fixture(scope="module")
def rendered():
    """A picture or two of each board: kind -> (board, pictures, poses)."""
    boards = [CHESS, CIRCLES, Board("circles", 7, 5, 0.03), CHARUCO]
    counts = {"chess": 2, "acircles": 2, "circles": 1, "charuco": 1}
    return {board.kind: (board, *rig_pictures(TRUTH, board, counts[board.kind], 3)) for board in boards}


def truth_of(board, side, pose):
    eye, of_eye = both(TRUTH, *pose)[side]
    return project(board, eye, *of_eye)


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("side", [0, 1], ids=["ir", "vis"])
def test_points_are_where_the_renderer_put_them(rendered, kind, side):
    board, pictures, poses = rendered[kind]
    detector = Detector(board)
    for pair, pose in zip(pictures, poses, strict=True):
        found = detector.find(pair[side])
        assert found is not None
        seen = truth_of(board, side, pose)
        error = min(np.sqrt(((seen[order][found.ids] - found.points) ** 2).sum(axis=1).mean()) for order in board.turns)
        assert error < LIMITS[kind][side]
        if kind != "chess":  # a chessboard is one in either polarity
            assert found.is_inverted == (side == 0)


def test_a_circle_in_perspective_is_not_taken_for_its_ellipse(rendered):
    from calibration.circles import _perspective_shift

    board = Board("circles", 4, 4, 0.03)
    R = cv2.Rodrigues(np.radians([0, 50, 0]))[0]
    K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
    t = np.array([0, 0, 0.3]) - R @ board.points.mean(axis=0)

    def seen(points):
        rays = points @ R.T + t
        return (rays @ K.T)[:, :2] / rays[:, 2:]

    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    middles, areas = [], []
    for point in board.points:
        rim = seen(point + 0.012 * np.column_stack([np.cos(angle), np.sin(angle), 0 * angle]))
        x, y = rim.T
        cross = x * np.roll(y, -1) - np.roll(x, -1) * y
        areas.append(cross.sum() / 2)
        middles.append([((v + np.roll(v, -1)) * cross).sum() / 3 / cross.sum() for v in (x, y)])
    middles, areas = np.array(middles), np.abs(areas)
    off = np.linalg.norm(middles - seen(board.points), axis=1)
    left = middles - _perspective_shift(board, middles, areas) - seen(board.points)
    assert off.max() > 0.5
    assert np.linalg.norm(left, axis=1).max() < 0.1 * off.max()


def test_a_charuco_board_is_found_in_part(rendered):
    board, pictures, poses = rendered["charuco"]
    seen = truth_of(board, 1, poses[0])
    middle = int(np.median(seen[:, 0]))
    cut = np.ascontiguousarray(pictures[0][1][:, :middle])
    found = Detector(board).find(cut)
    assert found is not None
    assert 8 <= len(found.ids) < len(board.points)
    assert np.abs(found.points - seen[found.ids]).max() < 0.5


def test_a_large_picture_is_measured_in_its_own_pixels(rendered):
    board, pictures, poses = rendered["chess"]
    large = cv2.resize(pictures[0][1], (1600, 1200), interpolation=cv2.INTER_CUBIC)
    found = Detector(board).find(large)
    assert found is not None
    seen = (truth_of(board, 1, poses[0]) + 0.5) * 2.5 - 0.5
    assert min(np.abs(seen[order] - found.points).max() for order in board.turns) < 0.5


def test_nothing_is_found_where_there_is_nothing():
    noise = np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.uint8)
    for board in (CHESS, CIRCLES, CHARUCO):
        assert Detector(board).find(noise) is None
        assert Detector(board).find(np.full((240, 320), 90, np.uint8)) is None


@pytest.mark.parametrize(
    ("kind", "given"), [("chess", (9, 5)), ("chess", (8, 6)), ("acircles", (4, 12)), ("acircles", (5, 11))]
)
def test_the_grid_that_fits_is_named(rendered, kind, given):
    board, pictures, _ = rendered[kind]
    wrong = board.with_grid(*given)
    other = common_grid([pair[1] for pair in pictures], wrong)
    assert other is not None
    assert other.grid == board.grid


def test_a_grid_that_is_part_of_a_larger_one_is_told(rendered):
    board, pictures, _ = rendered["circles"]
    assert Detector(board.with_grid(6, 4)).find(pictures[0][1]) is not None, "a part of a grid is a grid"
    assert larger_grid(pictures[0][1], board.with_grid(6, 4)).grid == "7x5"
    assert larger_grid(pictures[0][1], board) is None
    chess, pictures, _ = rendered["chess"]
    assert larger_grid(pictures[0][1], chess.with_grid(9, 5)).grid == "9x6"
    assert larger_grid(pictures[0][1], chess) is None


def test_how_much_of_a_board_is_seen_is_counted(rendered):
    for kind, whole, least in (("chess", 54, 54), ("acircles", 44, 44), ("charuco", 24, 20)):
        board, pictures, _ = rendered[kind]
        seen, of = parts_seen(pictures[0][0], board)
        assert of == whole
        assert least <= seen <= whole
        half = np.ascontiguousarray(pictures[0][1][:, : pictures[0][1].shape[1] // 2])
        assert parts_seen(half, board)[0] < whole
        assert fitting_grid(np.zeros((200, 300), np.uint8), board) is None


def test_another_size_or_polarity_is_not_tried_where_one_is_asked_for(rendered):
    board, pictures, _ = rendered["acircles"]
    assert find_at(pictures[0][0], board, 1.0, False) is None, "bright circles are no dark ones"
    assert find_at(pictures[0][0], board, 1.0, True) is not None
