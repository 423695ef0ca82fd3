"""`calibrate scene` as a user runs it, mostly in this process: starting another one takes longer than the work."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer

from calibration import register
from calibration.findings import load_findings
from calibration.models import corner_distances
from calibration.rig import load_rig
from calibration.scene import SceneError
from pipeline.commands.calibrate.pairs import spread_pairs
from pipeline.commands.calibrate.scene import parse_start, scene
from pipeline.commands.calibrate.tool import own_name
from pipeline.frames import InputError
from pipeline.thermal import Gain
from tests.calibration.scenery import SIZE, pair, similarity

ROOT = Path(__file__).parents[1]
IR_SIZE = 200, 160
H = similarity(1.8, 2, 20, 10, IR_SIZE)
START = "0.75,0,0,0"


def in_colour(gray):
    """True colour: U and V that do not follow from luma."""
    rng = np.random.default_rng(3)
    tint = cv2.resize(rng.integers(60, 200, (6, 8, 3)).astype(np.float32), gray.shape[::-1])
    return np.clip(gray[..., None] * 0.6 + tint * 0.5 - 20, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Folders with pictures: `ir` in iron colours, `ir16` in counts, `vis` in true colour, `other`: of elsewhere."""
    folder = tmp_path_factory.mktemp("inputs")
    ir, vis = pair(11, H, IR_SIZE)
    counts = 29000 + 6 * ir.astype(np.uint16)
    pictures = {
        "ir": cv2.applyColorMap(ir, cv2.COLORMAP_INFERNO), "ir16": counts, "gray": vis, "vis": in_colour(vis),
        "other": pair(12, H, IR_SIZE)[0], "flat": np.full_like(ir, 7), "tiny": ir[:20, :24],
    }  # fmt: skip
    for name, picture in pictures.items():
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "0001.png"), picture)
    return folder


def run(inputs, ir, vis, out, **options):
    return scene(str(inputs / ir), str(inputs / vis), out, **{"start": START, **options})


@pytest.mark.parametrize("ir", ["ir", "ir16"])
def test_false_colours_and_counts_give_a_rig(inputs, tmp_path, ir, capsys):
    run(inputs, ir, "vis", tmp_path / "rig.json", debug=tmp_path / "debug")
    rig = load_rig(tmp_path / "rig.json")
    assert (rig.plane.ir_size, rig.plane.vis_size) == (IR_SIZE, SIZE)
    assert corner_distances(np.array(rig.plane.H), H, IR_SIZE).max() < 1.5
    assert rig.quality["frames"] == 1
    assert 0 < rig.quality["corner_sigma_px"] < 2
    assert rig.tool == f"{own_name()}, calibrate scene, similarity"
    assert rig.reference == "vis"
    assert "from one frame only" in capsys.readouterr().out
    names = {file.name for file in (tmp_path / "debug").iterdir()}
    assert names == {"000_before.png", "000_after.png", "000_chessboard.png", "frames.json"}
    told = json.loads((tmp_path / "debug" / "frames.json").read_text())
    assert told["frames"][0]["is_believed"]
    findings = load_findings(tmp_path / "rig.findings.json")
    assert findings.scene.model_dump(mode="json") == told
    assert (findings.rig, findings.scene.model, findings.scene.agreeing) == ("rig.json", "similarity", [0])
    off = np.array([vector for _, vector in findings.scene.residuals])
    assert np.median(np.hypot(*off.T)) == pytest.approx(rig.quality["residual_px"], abs=0.01)
    after = cv2.imread(str(tmp_path / "debug" / "000_after.png"))
    assert after.shape == (SIZE[1], SIZE[0], 3)
    assert 0.005 < (after == (40, 40, 255)).all(axis=2).mean() < 0.2  # outlines of infrared in red


def test_a_refusal_writes_no_rig_but_shows_what_was_seen(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(register, "LOOKS", (5, 10))  # half the time
    with pytest.raises(SceneError, match="could not be laid on each other") as caught:
        run(inputs, "other", "vis", tmp_path / "rig.json", debug=tmp_path / "debug")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "rig.json").exists()
    told = json.loads((tmp_path / "debug" / "frames.json").read_text())
    assert (told["model"], told["agreeing"], told["residuals"]) == (None, [], [])
    assert told["frames"][0]["doubts"]


@pytest.mark.parametrize(
    ("ir", "vis", "why"),
    [
        ("vis", "ir", "ir is in true colour and vis is not: the two look swapped"),
        ("vis", "gray", "ir is in true colour and vis is not"),
        ("gray", "ir16", "vis has 16 bits and ir has 8: the two look swapped"),
    ],
)
def test_swapped_inputs_are_wrong_use(inputs, tmp_path, ir, vis, why):
    with pytest.raises(InputError, match=why):
        run(inputs, ir, vis, tmp_path / "rig.json")


def test_nothing_to_see_is_said_in_one_line(inputs, tmp_path):
    for name, why in (("flat", "ir: all pixels are within 0 levels"), ("tiny", "ir: 24x20 is too small")):
        with pytest.raises(SceneError, match=why) as caught:
            run(inputs, name, "vis", tmp_path / "rig.json")
        assert "\n" not in str(caught.value)


def test_a_rig_is_replaced_only_on_request(inputs, tmp_path):
    rig = tmp_path / "rig.json"
    rig.write_text("mine")
    with pytest.raises(InputError, match=r"exists; pass --overwrite"):
        run(inputs, "ir", "vis", rig)
    assert rig.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "0,0,0,0", "nan,0,0,0", "1,200,0,0", "1,0,1e9,0"])
def test_a_start_that_is_none_is_wrong_use(text):
    with pytest.raises(InputError, match=r"--start .*give four numbers"):
        parse_start(text)


def test_a_start_is_read_in_order():
    assert parse_start("0.8,-3,30,-12.5") == (0.8, -3, 30, -12.5)


def test_pictures_of_several_sizes_are_not_of_one_rig(tmp_path):
    for side in ("ir", "vis"):
        (tmp_path / side).mkdir()
        for number in range(2):
            picture = np.random.default_rng(number).integers(0, 255, (60 + 10 * number, 80), np.uint8)
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), picture)
    with pytest.raises(InputError, match="pictures of 2 sizes"):
        spread_pairs(str(tmp_path / "ir"), str(tmp_path / "vis"), 4, 0.0, Gain())


def test_frames_are_spread_over_the_recording(tmp_path):
    """Twenty pictures, each of its own level: the first, the last, and what lies evenly between."""
    for side in ("ir", "vis"):
        (tmp_path / side).mkdir()
        for number in range(20):
            picture = np.full((40, 60), 10 * number, np.uint8)
            picture[0, 0] = 255
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), picture)
    pairs = spread_pairs(str(tmp_path / "ir"), str(tmp_path / "vis"), 4, 0.0, Gain())
    levels = [int(ir[20, 20]) for ir, _ in pairs]
    assert levels == [int(vis[20, 20]) for _, vis in pairs]
    assert len(levels) == 4
    assert levels[0] == 0
    assert levels[-1] >= 150
    assert np.ptp(np.diff(levels)) <= 40


def test_ctrl_c_between_frames_writes_nothing(inputs, tmp_path, monkeypatch, capsys):
    from pipeline import interrupt

    monkeypatch.setattr(interrupt.Interrupt, "__enter__", lambda self: self.stop.set() or self)
    monkeypatch.setattr(interrupt.Interrupt, "__exit__", lambda *_: None)
    with pytest.raises(typer.Exit) as caught:
        run(inputs, "ir", "vis", tmp_path / "rig.json")
    assert caught.value.exit_code == 130
    assert not (tmp_path / "rig.json").exists()
    assert "no rig was written" in capsys.readouterr().err


def test_the_command_line_refuses_in_one_line(inputs, tmp_path):
    command = [sys.executable, str(ROOT / "run_stream.py"), "calibrate", "scene", str(inputs / "flat")]
    done = subprocess.run(
        [*command, str(inputs / "vis"), "-o", str(tmp_path / "rig.json")], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ir: all pixels are within 0 levels")
    assert done.stderr.count("\n") == 1


def test_real_cameras_with_false_colours_and_other_fields_of_view(real_data, tmp_path):
    """Two of five pairs of one rig, with IR of 640x512 and VIS of 1800x1600; the place was checked by eye."""
    folder = real_data / "unregistered" / "flir_adas"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    ir, vis = folder / "ir" / "FLIR_08889.jpg", folder / "vis" / "FLIR_08889.jpg"
    scene(str(ir), str(vis), tmp_path / "rig.json", start="0.9,0,0,0")
    corners = np.array(load_rig(tmp_path / "rig.json").plane.H) @ [[0, 639], [0, 511], [1, 1]]
    assert (corners[:2] / corners[2]).T.ravel() == pytest.approx([148, 159, 1763, 1408], abs=25)
