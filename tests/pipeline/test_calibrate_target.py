"""`calibrate target` and `calibrate board` as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.agree import angle_deg
from calibration.boards import Board
from calibration.findings import load_findings
from calibration.rig import load_rig
from tests.calibration.render import random_truth, rig_pictures

ROOT = Path(__file__).parents[2]
BOARD = Board("acircles", 4, 11, 0.03)
GIVEN = ("--board", "acircles", "--pitch", 30)


def crotalus(*arguments):
    command = [sys.executable, str(ROOT / "run_stream.py"), "calibrate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def written(folder, pictures):
    for side, name in enumerate(("ir", "vis")):
        (folder / name).mkdir(parents=True)
        for number, pair in enumerate(pictures):
            cv2.imwrite(str(folder / name / f"{number:02d}.png"), pair[side])
    return folder / "ir", folder / "vis"


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Twelve rendered views in two folders, the truth, and the pictures."""
    truth = random_truth(3)
    pictures, _ = rig_pictures(truth, BOARD, 12, 3)
    return written(tmp_path_factory.mktemp("views"), pictures), truth, pictures


@pytest.fixture(scope="module")
def run(views, tmp_path_factory):
    """The calibration of these views: what was said, and the folder with what was written."""
    (ir, vis), _, _ = views
    folder = tmp_path_factory.mktemp("run")
    said = crotalus("target", ir, vis, "-o", folder / "rig.json", *GIVEN, "--grid", "4x11", "--debug", folder / "seen")
    return said, folder


def test_a_rendered_rig_is_recovered(run, views):
    said, folder = run
    assert said.returncode == 0, said.stderr
    rig, truth = load_rig(folder / "rig.json"), views[1]
    for camera, eye in ((rig.ir, truth.ir), (rig.vis, truth.vis)):
        assert abs(camera.K[0][0] / eye.K[0, 0] - 1) < 0.003
        assert camera.rms < 0.2
    assert angle_deg(np.array(rig.pose.R).T @ truth.R) < 0.05
    assert np.linalg.norm(np.array(rig.pose.T) - truth.T) < 0.01 * np.linalg.norm(truth.T)
    assert rig.quality["views"] == 12
    assert 0 < rig.quality["sigma_ir_focal_percent"] < 0.3
    assert "in 12 infrared and 12 visible, in both of 12" in said.stdout


def test_the_findings_hold_every_view(run):
    findings = load_findings(run[1] / "rig.findings.json")
    target = findings.target
    assert findings.rig == "rig.json"
    assert target.is_accepted
    assert len(target.views) == 12
    first = target.views[0].vis
    assert len(first.points) == len(first.residuals) == 44
    assert first.rms_px == pytest.approx(np.sqrt(np.square(first.residuals).sum(axis=1).mean()), abs=2e-3)
    assert np.sum(target.ir.coverage) == 44 * sum(view.state == "kept" for view in target.views)
    assert all(view.ir.is_inverted and not view.vis.is_inverted for view in target.views)


def test_what_was_seen_is_drawn(run):
    names = sorted(path.name for path in (run[1] / "seen").iterdir())
    assert names == [*(f"{number:04d}.png" for number in range(1, 13)), "before_after.png"]
    picture = cv2.imread(str(run[1] / "seen" / "before_after.png"))
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    below = picture[height:].astype(float)

    def likeness(part):  # infrared is the negative of visible here: red against blue
        return np.corrcoef(part[..., 2].ravel(), part[..., 0].ravel())[0, 1]

    assert likeness(below[:, width:]) < -0.8 < likeness(below[:, :width]) - 0.3


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--grid", "4x12"), 2, "grid 4x12: found in 0 visible pictures, but 4x11 fits; give --grid 4x11"),
        (("--grid", "4x10"), 2, "grid 4x10: found in 0 visible pictures, but 4x11 fits"),
        (("--grid", "4x11", "--start", "0.2"), 1, "pairs of pictures only; at least 8 views are needed"),
        (("--grid", "411"), 2, "grid '411': give columns x rows"),
    ],
)
def test_bad_input_is_one_clear_line_and_no_rig(views, tmp_path, options, code, said):
    done = crotalus("target", *views[0], "-o", tmp_path / "rig.json", *GIVEN, *options)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_cameras_that_are_swapped_are_told(views, tmp_path):
    colour = tmp_path / "colour"
    colour.mkdir()
    for path in sorted(views[0][1].iterdir())[:9]:
        luma = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        hue = np.random.default_rng(0).integers(0, 255, (*luma.shape, 3)).astype(np.uint8)
        cv2.imwrite(
            str(colour / path.name), cv2.addWeighted(cv2.merge([luma] * 3), 0.6, cv2.blur(hue, (31, 1)), 0.4, 0)
        )
    done = crotalus("target", colour, views[0][0], "-o", tmp_path / "rig.json", *GIVEN, "--grid", "4x11")
    assert done.returncode == 2
    assert "swapped" in done.stderr


def test_a_board_that_is_never_tilted_fails_and_accept_writes_it(tmp_path):
    pictures, _ = rig_pictures(random_truth(4), BOARD, 9, 4, tilt=1.0)
    ir, vis = written(tmp_path, pictures)
    arguments = ("target", ir, vis, "-o", tmp_path / "rig.json", *GIVEN, "--grid", "4x11")
    done = crotalus(*arguments)
    assert done.returncode == 1
    assert "tilt the board more" in done.stderr
    assert not (tmp_path / "rig.json").exists()
    assert not load_findings(tmp_path / "rig.findings.json").target.is_accepted
    assert crotalus(*arguments, "--accept").returncode == 0
    assert load_rig(tmp_path / "rig.json").quality["sigma_ir_focal_percent"] > 1


def test_a_printed_board_is_never_overwritten_unasked(tmp_path):
    arguments = ("board", "-o", tmp_path / "board.svg", "--board", "chess", "--grid", "9x6", "--pitch", 25)
    assert crotalus(*arguments).returncode == 0
    before = (tmp_path / "board.svg").read_bytes()
    again = crotalus(*arguments)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert (tmp_path / "board.svg").read_bytes() == before
    assert crotalus(*arguments, "--overwrite", "--page", "a3").returncode == 0


def test_a_heated_chessboard_of_a_real_rig_is_found_and_calibrated(real_data, tmp_path):
    folder = real_data / "calibration" / "heated_board"
    if not folder.is_dir():
        pytest.skip("no calibration/heated_board in the real data")
    done = crotalus(
        "target", folder / "ir", folder / "vis", "-o", tmp_path / "rig.json", "--board", "chess", "--grid", "8x6",
        "--pitch", 30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    findings = json.loads((tmp_path / "rig.findings.json").read_text())["target"]
    assert findings["ir"]["found"] >= 20
    assert findings["vis"]["found"] >= 20
    assert findings["ir"]["rms_px"] < 0.8
    rig = load_rig(tmp_path / "rig.json")
    assert rig.quality["sigma_overlay_px"] < 3
    assert 1.09 < rig.ir.K[0][0] / rig.ir.K[1][1] < 1.15, "its pixels are 720 where 640 are square"
    assert os.listdir(tmp_path)
