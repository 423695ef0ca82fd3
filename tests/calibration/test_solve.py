"""Simulated rigs: what is found against what was put in."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration import lens
from calibration.agree import agree, angle_deg
from calibration.boards import Board
from calibration.bundle import Both, Pose, Solution, refine, residuals
from calibration.choose import View, choose, coverage
from calibration.lens import FISHEYES, PINHOLES, Optics, Points, SolveError, choose_model
from calibration.rig import load_rig, save_rig
from calibration.sigmas import bootstrap
from calibration.solve import estimate, rig_of, solve
from calibration.verdict import failures, warnings
from calibration.warp import to_pixels, to_rays
from tests.calibration.render import both, poses, random_truth
from tests.calibration.simulate import sighting, simulated

BOARD = Board("acircles", 4, 11, 0.03)
CHESS = Board("chess", 9, 6, 0.03)
SIZES = (384, 288), (640, 480)


def errors(truth, solution):
    """Focal lengths in percent, rotation in degrees, baseline in percent."""
    focal = max(
        abs(100 * (optics.K[0, 0] / eye.K[0, 0] - 1))
        for optics, eye in ((solution.ir, truth.ir), (solution.vis, truth.vis))
    )
    R = cv2.Rodrigues(solution.pose.rvec)[0]
    baseline = 100 * np.linalg.norm(solution.pose.tvec - truth.T) / np.linalg.norm(truth.T)
    return focal, angle_deg(R.T @ truth.R), baseline


@pytest.mark.parametrize("seed", range(5))
def test_a_rig_comes_back_from_its_views(seed):
    truth = random_truth(seed)
    solved = solve(simulated(truth, BOARD, 20, seed), BOARD, *SIZES)
    focal, rotation, baseline = errors(truth, solved.solution)
    assert focal < 0.3
    assert rotation < 0.05
    assert baseline < 1
    assert solved.is_joint
    assert max(solved.rms(0), solved.rms(1), solved.held_out_rms(0), solved.held_out_rms(1)) < 0.06


def test_the_rig_of_a_solution_lays_points_where_the_cameras_see_them(tmp_path):
    truth = random_truth(7)
    solved = solve(simulated(truth, BOARD, 16, 7), BOARD, *SIZES)
    save_rig(rig_of(solved, *SIZES), tmp_path / "rig.json")
    rig = load_rig(tmp_path / "rig.json")
    pixels = np.array([[60.0, 40], [200, 150], [330, 250]])
    rays, is_valid = to_rays(rig.ir, pixels)
    at, is_seen = to_pixels(rig.vis, 2.0 * rays @ np.array(rig.pose.R).T + np.array(rig.pose.T))
    flat = cv2.undistortPoints(pixels.reshape(-1, 1, 2), truth.ir.K, truth.ir.dist).reshape(-1, 2)
    points = 2.0 * np.column_stack([flat, np.ones(3)]) @ truth.R.T + truth.T
    wanted = cv2.projectPoints(points, np.zeros(3), np.zeros(3), truth.vis.K, truth.vis.dist)[0].reshape(-1, 2)
    assert is_valid.all()
    assert is_seen.all()
    assert np.abs(at - wanted).max() < 1.0


def test_both_cameras_at_once_are_better_than_each_for_itself():
    gained = []
    for seed in range(3):
        truth = random_truth(seed)
        views = simulated(truth, CHESS, 12, seed, noise=0.1)
        solved = solve(views, CHESS, *SIZES, "pinhole", "pinhole")
        apart = estimate(solved.solution, solved.views, SIZES, is_joint=False)
        gained.append(errors(truth, apart)[2] / errors(truth, solved.solution)[2])
    assert np.median(gained) > 1.2


def test_a_view_that_was_found_wrongly_is_left_out():
    truth = random_truth(2)
    views = simulated(truth, BOARD, 16, 2)
    moved = views[5].ir.points + np.array([3.0, -2.0]) * np.linspace(0, 1, 44)[:, None]
    views[5] = replace(views[5], ir=sighting(moved))
    solved = solve(views, BOARD, *SIZES)
    assert 5 in solved.outliers
    assert len(solved.kept) >= 13
    assert errors(truth, solved.solution)[1] < 0.05
    assert np.isnan(solved.held_out[5]).all()


def test_cameras_that_move_to_each_other_are_told_and_keep_their_lenses():
    truth = random_truth(3)
    solved = solve(simulated(truth, BOARD, 16, 3, wobble_deg=0.15), BOARD, *SIZES)
    assert not solved.is_joint
    assert errors(truth, solved.solution)[0] < 0.3
    assert any("moved to each other" in line for line in warnings(solved, *SIZES))


def test_views_without_tilt_are_refused_whatever_their_rms():
    truth = random_truth(5)
    solved = solve(simulated(truth, BOARD, 12, 5, tilt=2.0, noise=0.1), BOARD, *SIZES, "pinhole", "pinhole")
    sigmas = bootstrap(solved, *SIZES, draws=3)
    assert max(solved.rms(0), solved.rms(1)) < 0.2
    told = failures(solved, sigmas, *SIZES)
    assert any("focal length of vis" in line and "tilt the board more" in line for line in told)
    assert any(line.startswith("the board was tilted by") for line in told)
    assert errors(truth, solved.solution)[0] > 0.3, "the refusal is right"


def test_good_views_are_not_refused_and_sigmas_are_what_repetition_scatters():
    truth = random_truth(5)
    runs = [
        solve(simulated(truth, BOARD, 12, seed, noise=0.1), BOARD, *SIZES, "pinhole", "pinhole") for seed in range(3)
    ]
    sigmas = bootstrap(runs[0], *SIZES, draws=6)
    assert failures(runs[0], sigmas, *SIZES) == []
    scatter = 100 * np.std([one.solution.vis.K[0, 0] for one in runs]) / truth.vis.K[0, 0]
    assert 0.3 * scatter < sigmas.vis_focal_percent < 3 * scatter
    assert 0 < sigmas.overlay_px < 2


def test_an_order_from_the_other_end_is_turned_back():
    truth = random_truth(6)
    views = simulated(truth, CHESS, 12, 6)
    for place in (1, 4, 5):
        views[place] = replace(views[place], ir=sighting(views[place].ir.points[::-1]))
    solved = solve(views, CHESS, *SIZES)
    assert solved.turned == 3
    assert not solved.is_ambiguous
    assert errors(truth, solved.solution)[1] < 0.05


def test_a_camera_that_hangs_upside_down_is_seen_by_the_tilts():
    truth = random_truth(6)
    roll = np.diag([-1.0, -1.0, 1.0])
    views, both_sides = simulated(truth, CHESS, 12, 6), []
    for view in views:
        turned = (np.array(SIZES[0]) - 1) - view.ir.points  # the IR picture turned by half a turn
        both_sides.append(Both(Points(CHESS.points, turned[::-1]), Points(CHESS.points, view.vis.points)))
    K = truth.ir.K.copy()
    K[:2, 2] = (np.array(SIZES[0]) - 1) - K[:2, 2]
    dist = truth.ir.dist * [1, 1, -1, -1, 1]
    ir, vis = Optics(PINHOLES[3], K, dist), Optics(PINHOLES[3], truth.vis.K, truth.vis.dist)
    agreed = agree(CHESS, both_sides, ir, vis)
    assert not agreed.is_ambiguous
    assert angle_deg(cv2.Rodrigues(agreed.pose.rvec)[0].T @ truth.R @ roll) < 0.2


def test_a_flat_board_leaves_open_which_end_is_up_and_says_so():
    truth = random_truth(6)
    views = simulated(truth, CHESS, 10, 6, tilt=0.2)
    sides = [Both(Points(CHESS.points, v.ir.points), Points(CHESS.points, v.vis.points)) for v in views]
    optics = [Optics(PINHOLES[3], eye.K, eye.dist) for eye in (truth.ir, truth.vis)]
    agreed = agree(CHESS, sides, *optics)
    assert agreed.is_ambiguous
    assert angle_deg(cv2.Rodrigues(agreed.pose.rvec)[0].T @ truth.R) < 5


def test_pictures_that_do_not_belong_together_are_refused():
    truth = random_truth(8)
    views = simulated(truth, BOARD, 12, 8)
    shuffled = [View(v.name, v.time, v.ir, other.vis) for v, other in zip(views, views[1:] + views[:1], strict=True)]
    with pytest.raises(SolveError, match="do not belong together"):
        solve(shuffled, BOARD, *SIZES)


def test_a_fisheye_is_told_from_a_pinhole_and_joined_with_one():
    truth = random_truth(9)
    K = np.array([[180.0, 0, 319], [0, 180, 241], [0, 0, 1]])
    dist = np.array([0.05, -0.01, 0.002, 0.0])
    rng = np.random.default_rng(9)
    apart, sides, boards = np.array([0.0, 0.0, -0.35]), [], []
    eye = replace(truth.vis, K=np.array([[400.0, 0, 319], [0, 400, 241], [0, 0, 1]]), dist=np.zeros(5))
    for R, t in poses(replace(truth, ir=eye, vis=eye, R=np.eye(3), T=np.zeros(3)), BOARD, 14, 9):
        t = t - [0.0, 0.0, 0.55 * t[2]]
        rvec = cv2.Rodrigues(R)[0]
        seen = cv2.fisheye.projectPoints(BOARD.points.reshape(-1, 1, 3), rvec, t, K, dist)[0].reshape(-1, 2)
        R_ir, t_ir = R, t - apart
        ir = cv2.projectPoints(BOARD.points, R_ir, t_ir, truth.ir.K, truth.ir.dist)[0].reshape(-1, 2)
        noise = rng.normal(0, 0.05, (2, *seen.shape))
        sides.append(Both(Points(BOARD.points, ir + noise[0]), Points(BOARD.points, seen + noise[1])))
        boards.append(Pose(rvec.ravel() + 0.01, t_ir + 0.01))
    model = choose_model([view.vis for view in sides], (640, 480), None)
    assert model.name == "fisheye"
    assert choose_model([view.ir for view in sides], SIZES[0], None).name == "pinhole"
    start = Solution(
        Optics(PINHOLES[3], truth.ir.K * [[1.02], [1.02], [1]], truth.ir.dist * 0.9),
        Optics(model, K * [[0.98], [0.98], [1]], dist * [1 if place in model.free else 0 for place in range(4)]),
        Pose(np.full(3, 0.01), np.array([0.02, 0.0, -0.33])), boards,
    )  # fmt: skip
    solution = refine(start, sides)
    np.testing.assert_allclose(solution.pose.tvec, [0, 0, -0.35], atol=0.003)
    assert angle_deg(cv2.Rodrigues(solution.pose.rvec)[0]) < 0.3
    assert abs(solution.vis.K[0, 0] / 180 - 1) < 0.003
    assert max(np.abs(off).max() for pair in residuals(solution, sides) for off in pair) < 0.4


def test_a_fisheye_is_tried_where_it_may_be_one_only(monkeypatch):
    truth = random_truth(1)
    views = [Points(BOARD.points, view.vis.points) for view in simulated(truth, BOARD, 10, 1)]
    tried = []
    held_out = lens.held_out_errors
    monkeypatch.setattr(lens, "held_out_errors", lambda model, *rest: tried.append(model) or held_out(model, *rest))
    assert choose_model(views, SIZES[1], None).name == "pinhole"
    assert tried == [*PINHOLES]
    fit = lens.fit

    def fails(model, *rest):
        if model == FISHEYES[-1]:
            raise SolveError("no fisheye fits")
        return fit(model, *rest)

    tried.clear()
    monkeypatch.setattr(lens, "fit", fails)  # the loosest cannot be fitted: that says nothing of a stiffer one
    assert choose_model(views, SIZES[1], None).name == "pinhole"
    assert tried == [*PINHOLES, *FISHEYES]


def test_views_that_are_alike_or_moving_or_few_are_named():
    truth = random_truth(1)
    views = simulated(truth, BOARD, 12, 1)
    with pytest.raises(SolveError, match="12 views of the board, but only 1 that differ: all are alike"):
        choose([views[0]] * 12, BOARD, *SIZES)
    with pytest.raises(SolveError, match="5 views show the board"):
        choose(views[:5], BOARD, *SIZES)
    with pytest.raises(SolveError, match=r"6 moving.*hold it still"):
        choose([replace(v, motion=4.0) if k < 6 else v for k, v in enumerate(views)], BOARD, *SIZES)
    soft = [replace(v, vis=replace(v.vis, blur=9.0)) if k == 3 else v for k, v in enumerate(views)]
    chosen = choose(soft, BOARD, *SIZES, most=9)
    assert chosen.left_out == {"blurred": 1, "more than needed": 2}
    assert all(view.name != "3" for view in chosen.views)


def test_the_views_that_are_kept_are_the_different_ones():
    truth = random_truth(1)
    views = simulated(truth, BOARD, 12, 1)
    doubled = [view for view in views for _ in range(3)]
    chosen = choose(doubled, BOARD, *SIZES)
    assert sorted(int(view.name) for view in chosen.views) == list(range(12))
    assert chosen.left_out == {"alike": 24}


def test_coverage_counts_points_by_cell():
    counts = coverage([np.array([[0.0, 0], [639, 479], [639, 479]])], (640, 480))
    assert counts.shape == (6, 8)
    assert counts[0, 0] == 1
    assert counts[5, 7] == 2
    assert counts.sum() == 3


def test_the_simulation_is_what_it_says():
    truth = random_truth(0)
    (R, t), *_ = poses(truth, BOARD, 1, 0)
    (_, (R_ir, t_ir)), (_, (R_vis, t_vis)) = both(truth, R, t)
    point = BOARD.points[7]
    np.testing.assert_allclose(truth.R @ (R_ir @ point + t_ir) + truth.T, R_vis @ point + t_vis, atol=1e-12)
