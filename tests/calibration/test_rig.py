"""The rig as a value and as a file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from calibration.rig import Camera, Plane, Rig, RigError, Stereo, load_rig, rescaled, save_rig

EYE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
IR = Camera(width=320, height=240, K=((300, 0, 159.5), (0, 300, 119.5), (0, 0, 1)), dist=(-0.2, 0.05, 0, 0, 0))
VIS = Camera(width=640, height=480, K=((610, 0, 320), (0, 612, 238), (0, 0, 1)))
RIG = Rig(ir=IR, vis=VIS, pose=Stereo(R=EYE, T=(0.06, 0.0, 0.0)), clock_offset=0.04, quality={"rms_px": 0.2})
FLAT = Rig(plane=Plane(ir_size=(320, 240), vis_size=(640, 480), H=((2, 0, 5), (0, 2, -3), (0, 0, 1))))


@pytest.mark.parametrize("rig", [RIG, FLAT])
def test_a_rig_comes_back_from_its_file(tmp_path, rig):
    save_rig(rig, tmp_path / "rig.json")
    assert load_rig(tmp_path / "rig.json") == rig
    assert [path.name for path in tmp_path.iterdir()] == ["rig.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "crotalus rig 9"}, "format: "),
        ({"colour": 1}, "colour: "),
        ({"pose": None}, "give ir, vis and pose, or plane"),
        ({"plane": FLAT.plane.model_dump()}, "not both"),
        ({"depth": -1}, "depth: "),
        ({"clock_offset": "soon"}, "clock_offset: "),
        ({"pose": {"R": [[2, 0, 0], [0, 1, 0], [0, 0, 1]], "T": [0, 0, 0]}}, "pose: .*rotation"),
        ({"pose": {"R": [[1, 0, 0], [0, 1, 0], [0, 0, -1]], "T": [0, 0, 0]}}, "pose: .*rotation"),
        ({"ir": IR.model_dump() | {"dist": [0.1, 0.2]}}, "ir: .*0 or 4 or 5 or 8 coefficients"),
        ({"ir": IR.model_dump() | {"K": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]}}, "ir: .*positive fx"),
        ({"ir": IR.model_dump() | {"width": 0}}, "ir.width: "),
    ],
)
def test_a_wrong_key_is_named_with_the_file(tmp_path, change, said):
    path = tmp_path / "rig.json"
    path.write_text(json.dumps(json.loads(RIG.model_dump_json()) | change))
    with pytest.raises(RigError, match=rf"rig\.json: {said}" if said[0] != "g" and said[:3] != "not" else said) as told:
        load_rig(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"not a rig", b'{"a": NaN}'])
def test_a_file_that_is_no_rig_is_one_line(tmp_path, text):
    path = tmp_path / "rig.json"
    path.write_bytes(text)
    with pytest.raises(RigError, match=r"rig\.json: ") as told:
        load_rig(path)
    assert "\n" not in str(told.value)
    with pytest.raises(RigError, match="No such file"):
        load_rig(tmp_path / "missing.json")
    with pytest.raises(RigError, match="directory"):
        load_rig(tmp_path)


def test_another_size_is_the_same_view():
    half = rescaled(RIG, (160, 120), (1280, 960))
    for camera, old, ratio in ((half.ir, IR, 0.5), (half.vis, VIS, 2.0)):
        for corner in ((-0.5, -0.5), (old.width - 0.5, old.height - 0.5)):  # the outer edges of the corner pixels
            ray = np.linalg.inv(np.array(old.K)) @ (*corner, 1)
            seen = np.array(camera.K) @ ray
            np.testing.assert_allclose(seen[:2], [(value + 0.5) * ratio - 0.5 for value in corner], atol=1e-9)
    flat = np.array(rescaled(FLAT, (640, 480), (640, 480)).plane.H)
    np.testing.assert_allclose(flat @ (2 * 10 + 0.5, 2 * 20 + 0.5, 1), (2 * 10 + 5, 2 * 20 - 3, 1))


def test_another_aspect_ratio_is_an_error_that_names_the_camera():
    with pytest.raises(RigError, match="ir was calibrated at 320x240, the stream has 320x256"):
        rescaled(RIG, (320, 256), (640, 480))
    rescaled(RIG, (321, 240), (640, 480))  # rounding of a scaled stream


def test_a_rig_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(RigError, match="No such file"):
        save_rig(RIG, tmp_path / "missing" / "rig.json")
    (tmp_path / "rig.json").mkdir()
    with pytest.raises(RigError, match=r"rig\.json"):
        save_rig(RIG, tmp_path / "rig.json")
    assert [path.name for path in tmp_path.iterdir()] == ["rig.json"]


def test_the_example_of_the_guide_is_a_rig(tmp_path):
    guide = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text()
    (tmp_path / "rig.json").write_text(re.search(r'\{"format".*\}\}', guide, re.DOTALL)[0])
    assert load_rig(tmp_path / "rig.json").plane.H[0] == (2, 0, 40.5)
