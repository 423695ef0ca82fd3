"""`calibrate target` and `calibrate board` as a user runs them."""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import run_stream
from calibration.agree import angle_deg
from calibration.boards import Board
from calibration.findings import load_findings
from calibration.lens import SolveError
from calibration.rig import load_rig
from calibration.sigmas import bootstrap
from engines.base import CrotalusError
from pipeline.commands.calibrate import account
from pipeline.commands.calibrate.looks import find_views
from pipeline.job import Job
from tests.calibration.render import random_truth, rig_pictures

ROOT = Path(__file__).parents[2]
BOARD = Board("acircles", 4, 11, 0.03)
GIVEN = ("--board", "acircles", "--pitch", 30)


def crotalus(*arguments):
    command = [sys.executable, str(ROOT / "run_stream.py"), "calibrate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def refused(code, *arguments):
    """What is said where a command fails with this exit code, without the time that a new process takes."""
    with pytest.raises(CrotalusError) as told:
        run_stream.app(["calibrate", *map(str, arguments)], standalone_mode=False)
    assert told.value.exit_code == code
    assert "\n" not in str(told.value)
    return str(told.value)


def written(folder, pictures):
    for side, name in enumerate(("ir", "vis")):
        (folder / name).mkdir(parents=True)
        for number, pair in enumerate(pictures):
            cv2.imwrite(str(folder / name / f"{number:02d}.png"), pair[side])
    return folder / "ir", folder / "vis"


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Fourteen rendered views in two folders, the truth, and the pictures."""
    truth = random_truth(3)
    pictures, _ = rig_pictures(truth, BOARD, 14, 3)
    return written(tmp_path_factory.mktemp("views"), pictures), truth, pictures


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """A fifth of the time: sigmas of so few draws are right to a third, which is enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(account, "bootstrap", partial(bootstrap, draws=4))
        yield


@pytest.fixture(scope="module")
def run(views, tmp_path_factory, few_draws):
    """The calibration of these views: what was said, and the folder with what was written."""
    (ir, vis), _, _ = views
    folder = tmp_path_factory.mktemp("run")
    given = "target", ir, vis, "-o", folder / "rig.json", *GIVEN, "--grid", "4x11", "--debug", folder / "seen"
    return CliRunner().invoke(run_stream.app, ["calibrate", *map(str, given)]), folder


def test_a_rendered_rig_is_recovered(run, views):
    said, folder = run
    assert said.exit_code == 0, said.stderr
    rig, truth = load_rig(folder / "rig.json"), views[1]
    for camera, eye in ((rig.ir, truth.ir), (rig.vis, truth.vis)):
        assert abs(camera.K[0][0] / eye.K[0, 0] - 1) < 0.003
        assert camera.rms < 0.2
    assert angle_deg(np.array(rig.pose.R).T @ truth.R) < 0.05
    assert np.linalg.norm(np.array(rig.pose.T) - truth.T) < 0.01 * np.linalg.norm(truth.T)
    assert rig.quality["views"] == 14
    assert 0 < rig.quality["sigma_ir_focal_percent"] < 0.3
    assert "in 14 infrared and 14 visible, in both of 14" in said.stdout


def test_the_findings_hold_every_view(run):
    findings = load_findings(run[1] / "rig.findings.json")
    target = findings.target
    assert findings.rig == "rig.json"
    assert target.is_accepted
    assert len(target.views) == 14
    first = target.views[0].vis
    assert len(first.points) == len(first.residuals) == 44
    assert first.rms_px == pytest.approx(np.sqrt(np.square(first.residuals).sum(axis=1).mean()), abs=2e-3)
    assert np.sum(target.ir.coverage) == 44 * sum(view.state == "kept" for view in target.views)
    assert all(view.ir.is_inverted and not view.vis.is_inverted for view in target.views)


def test_what_was_seen_is_drawn(run):
    names = sorted(path.name for path in (run[1] / "seen").iterdir())
    assert names == [*(f"{number:04d}.png" for number in range(1, 15)), "before_after.png"]
    picture = cv2.imread(str(run[1] / "seen" / "before_after.png"))
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    below = picture[height:].astype(float)

    def likeness(part):  # infrared is the negative of visible here: red against blue
        return np.corrcoef(part[..., 2].ravel(), part[..., 0].ravel())[0, 1]

    assert likeness(below[:, width:]) < -0.8 < likeness(below[:, :width]) - 0.3


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            ("--grid", "4x12", "--end", "0.05"),
            2,
            "grid 4x12: found in 0 visible pictures, but 4x11 fits; give --grid 4x11",
        ),
        (("--grid", "4x11", "--start", "0.4"), 1, "4 pairs of pictures only; at least 8 views are needed"),
        (("--grid", "411"), 2, "grid '411': give columns x rows"),
        (("--grid", "4x11", "--agc", "loud"), 2, "agc 'loud'"),
    ],
)
def test_bad_input_is_one_clear_line_and_no_rig(views, tmp_path, options, code, said):
    assert said in refused(code, "target", *views[0], "-o", tmp_path / "rig.json", *GIVEN, *options)
    assert list(tmp_path.iterdir()) == []


def test_a_board_that_is_not_there_is_told_with_the_best_try(views, tmp_path):
    blank = [(np.full((288, 384), 90, np.uint8), pair[1]) for pair in views[2][:9]]
    half = blank[4][0].copy()
    half[:, :200] = views[2][4][0][:, :200]
    blank[4] = half, blank[4][1]
    ir, vis = written(tmp_path, blank)
    given = ("target", ir, vis, "-o", tmp_path / "rig.json", *GIVEN, "--grid", "4x11", "--debug", tmp_path / "seen")
    said = refused(1, *given)
    assert "found in 0 of 9 infrared pictures, the best of the others (04.png) shows " in said
    assert (tmp_path / "seen" / "best_ir.png").exists()
    assert not (tmp_path / "rig.json").exists()


def test_cameras_that_are_swapped_are_told(views, tmp_path):
    colour = tmp_path / "colour"
    colour.mkdir()
    for path in sorted(views[0][1].iterdir())[:2]:
        luma = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        hue = np.random.default_rng(0).integers(-60, 60, (15, 20, 3)).repeat(32, axis=0).repeat(32, axis=1)
        cv2.imwrite(str(colour / path.name), np.clip(luma[..., None] + hue, 0, 255).astype(np.uint8))
    said = refused(2, "target", colour, views[0][0], "-o", tmp_path / "rig.json", *GIVEN, "--grid", "4x11")
    assert "swapped" in said


def test_a_board_that_is_never_tilted_fails_and_accept_writes_it(tmp_path):
    pictures, _ = rig_pictures(random_truth(4), BOARD, 8, 4, tilt=1.0)
    ir, vis = written(tmp_path, pictures)
    job = Job(str(ir), str(vis), tmp_path / "rig.json")
    done = account.calibrate_views(find_views(job, BOARD, lambda look: None), BOARD, "pinhole", "pinhole", 40, job)
    with pytest.raises(SolveError, match=r"tilted by . degrees only.*no rig written; --accept writes it"):
        done.finish(job.out, is_accepted=False)
    assert not job.out.exists()
    assert not load_findings(tmp_path / "rig.findings.json").target.is_accepted
    done.finish(job.out, is_accepted=True)
    assert load_rig(job.out).quality["views"] == 8


def test_of_a_video_the_stillest_pair_of_each_half_second_is_looked_at(views, tmp_path):
    def recorded(name, picture):
        height, width = picture.shape
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*"FFV1"), 20, (width, height))
        for number in range(20):  # it pans by 3 px a frame, and rests for two frames
            shift = 3 * (number - (number >= 5) - (number >= 14))
            moved = np.roll(picture, shift, axis=1)
            writer.write(cv2.merge([moved] * 3))
        writer.release()
        return str(tmp_path / name)

    ir, vis = (recorded(f"{side}.mkv", picture) for side, picture in zip(("ir", "vis"), views[2][0], strict=True))
    looks = []
    found = find_views(Job(ir, vis, tmp_path / "rig.json"), BOARD, looks.append)
    assert [look.name for look in looks] == ["0.25 s", "0.70 s"]
    assert found.looks == len(found.views) == 2
    assert max(view.motion for view in found.views) < 0.1
    panned = find_views(Job(ir, vis, tmp_path / "rig.json", start=0.8), BOARD, lambda look: None)
    assert panned.views[0].motion == pytest.approx(3, abs=0.1)


def test_a_printed_board_is_never_overwritten_unasked(tmp_path):
    arguments = ("board", "-o", tmp_path / "board.svg", "--board", "chess", "--grid", "9x6", "--pitch", 25)
    assert crotalus(*arguments).returncode == 0
    before = (tmp_path / "board.svg").read_bytes()
    assert "--overwrite" in refused(2, *arguments)
    assert (tmp_path / "board.svg").read_bytes() == before
    run_stream.app(["calibrate", *map(str, arguments), "--overwrite", "--page", "a3"], standalone_mode=False)
    assert (tmp_path / "board.svg").read_bytes() != before


def test_a_heated_chessboard_of_a_real_rig_is_found_and_calibrated(real_data, tmp_path):
    folder = real_data / "calibration" / "heated_board"
    if not folder.is_dir():
        pytest.skip("no calibration/heated_board in the real data")
    for side in ("ir", "vis"):
        (tmp_path / side).mkdir()
        for number in range(0, 18, 2):
            shutil.copy(folder / side / f"{number:02d}.jpg", tmp_path / side)
    given = ("--board", "chess", "--grid", "8x6", "--pitch", "30", "--accept")
    given = "target", tmp_path / "ir", tmp_path / "vis", "-o", tmp_path / "rig.json", *given
    run_stream.app(["calibrate", *map(str, given)], standalone_mode=False)
    found = load_findings(tmp_path / "rig.findings.json").target
    assert (found.ir.found, found.vis.found) == (9, 9)
    assert found.ir.rms_px < 0.8
    assert found.vis.rms_px < 2.5
    rig = load_rig(tmp_path / "rig.json")
    assert rig.quality["sigma_overlay_px"] < 4
    assert 1.09 < rig.ir.K[0][0] / rig.ir.K[1][1] < 1.15, "its pixels are 720 where 640 are square"
