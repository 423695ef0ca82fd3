"""`calibrate report` as a user runs it: what the page says, and what is refused."""

import base64
import json
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.findings import findings_path, save_findings
from calibration.gate import MOST_DIFFER, most_off
from calibration.reading import plane_readings
from calibration.rig import Plane, Rig, RigError, save_rig
from calibration.verdict import MOST_FOCAL_PERCENT
from pipeline.commands.calibrate.report import report
from pipeline.commands.calibrate.shown import show
from pipeline.frames import InputError
from pipeline.thermal import parse_gain
from tests.calibration.render import both, default_board, rig_pictures
from tests.calibration.told import findings_of, rig_of, small_truth, write_pictures

ROOT = Path(__file__).parents[1]
TRUTH, BOARD = small_truth(4), default_board()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders `ir` and `vis` of four pairs with a board, and its poses."""
    folder = tmp_path_factory.mktemp("made")
    pictures, poses = rig_pictures(TRUTH, BOARD, 4, 4)
    write_pictures(folder, pictures)
    return folder, poses


@pytest.fixture
def rig(made, tmp_path):
    """A rig with its findings beside it."""
    save_rig(rig_of(TRUTH), tmp_path / "rig.json")
    save_findings(findings_of(TRUTH, BOARD, made[1]), tmp_path / "rig.findings.json")
    return tmp_path / "rig.json"


def page_of(rig, *inputs, name="page.html", **options):
    out = rig.with_name(name)
    report(rig, *map(str, inputs), out=out, **options)
    return out.read_text(encoding="utf-8")


def images(page):
    data = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_COLOR) for one in data]


def text(page):
    return unescape(" ".join(re.sub("<[^>]+>", " ", page).split()))


def test_the_verdict_comes_first_with_the_numbers_that_decide(rig):
    told = text(page_of(rig))
    verdict = (
        "Accepted: 3 views; on views left out the rig misses by 0.30 px in ir and 0.30 px in vis; infrared is laid"
    )
    assert verdict + " to ±0.6 px of vis at the board's 1.00 m and to ±1.1 px far away." in told
    assert told.index("Accepted") < told.index("Numbers") < told.index("Views") < told.index("Depth")
    most = MOST_FOCAL_PERCENT
    assert f"focal length of vis ±1.20 % at most {most} holds, but not by far: tilt the board more" in told
    assert f"focal length of ir ±0.40 % at most {most} where" not in told  # nothing to do: the next row comes
    assert "left out: 1 that fit badly, 3 alike" in told
    assert "crotalus 9.8" in told
    assert "2024-05-06T07:08:09" in told


def test_a_failed_calibration_has_a_page_that_says_what_to_do(rig, made):
    findings = findings_of(TRUTH, BOARD, made[1], is_accepted=False, failures=["focal length of ir +-12 %: tilt more"])
    sigmas = {**findings.target.sigmas, "ir_focal_percent": 12.0}
    target = findings.target.model_copy(update={"sigmas": sigmas})
    save_findings(findings.model_copy(update={"target": target}), findings_path(rig))
    assert "written all the same, by --accept" in text(page_of(rig))
    rig.unlink()  # so it is without --accept
    told = text(page_of(rig, name="second.html"))
    assert "Not to be used: focal length of ir +-12 %: tilt more." in told
    assert f"±12.00 % at most {MOST_FOCAL_PERCENT} TOO LARGE: tilt the board more" in told
    assert "--accept" not in told


def test_pictures_show_the_board_apart_before_and_together_after(rig, made):
    page = page_of(rig, made[0] / "ir", made[0] / "vis")
    assert len(images(page)) == 12
    assert re.findall("(?:src|href)=.{11}", page) == ['src="data:image'] * 12
    distances = [float(d) for d in re.findall(r"for things ([\d.]+) m away", page)][::2]
    middle = BOARD.points.mean(axis=0)
    true = sorted((R @ middle + t)[2] for R, t in (both(TRUTH, *pose)[1][1] for pose in made[1][:3]))
    np.testing.assert_allclose(distances, true, rtol=0.01)  # each pair is laid at its own board's distance
    # the board is dark where the other spectrum's is bright: laid right, red and cyan are each other's negative
    for before, after in zip(images(page)[::4], images(page)[1::4], strict=True):
        assert likeness(after) < likeness(before) - 0.3


def likeness(blend):
    seen = np.abs(blend[..., 2].astype(int) - blend[..., 0]) > 12  # gray is where infrared does not see
    return np.corrcoef(blend[seen][:, 2], blend[seen][:, 0])[0, 1]


def test_without_recordings_the_page_says_how_to_get_pictures(rig):
    page = page_of(rig)
    assert not images(page)
    assert "Give both recordings to see them" in page


def test_the_planes_part_by_what_the_pose_says(rig):
    apart = TRUTH.vis.K[0, 0] * np.linalg.norm(TRUTH.T) / 5  # px at 5 m; the lens bends it by some percent
    told = float(re.search(r"at 5 m the planes part by ([\d.]+) px", page_of(rig))[1])
    assert told == pytest.approx(apart, rel=0.1)


def test_the_page_stands_alone_and_holds_no_tag_of_the_files(rig, made):
    save_findings(
        findings_of(TRUTH, BOARD, made[1]).model_copy(
            update={"ir": '<img src="http://x/">', "vis": "rtsp://me:secret@cam/1", "warnings": ["<b>bent</b>"]}
        ),
        findings_path(rig),
    )
    page = page_of(rig)
    sources, tags = [], set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.add(tag)
            sources.extend(value for name, value in attributes if name in ("src", "href"))

    Reader().feed(page)
    assert tags.isdisjoint({"script", "link", "iframe", "b"})
    assert not sources
    assert "&lt;b&gt;bent" in page
    assert "secret" not in page
    assert "default-src 'none'" in page


def test_a_rig_from_a_scene_tells_its_gate_and_shows_pictures(made, tmp_path):
    quality = {"frames": 4.0, "frames_agreeing": 3.0, "overlap": 0.9, "patches_agreeing": 0.8, "corner_sigma_px": 0.5,
               "estimators_apart_px": 3.0, "clock_sigma_s": 0.004}  # fmt: skip
    plane = Plane(ir_size=(192, 144), vis_size=(320, 240), H=((1.6, 0, 4), (0, 1.6, 0), (0, 0, 1)))
    save_rig(Rig(plane=plane, quality=quality, clock_offset=0.12), tmp_path / "rig.json")
    page = page_of(tmp_path / "rig.json", made[0] / "ir", made[0] / "vis")
    told = text(page)
    assert "Accepted: 80% of the parts of 3 frames agree on it, its corners are known to 0.5 px" in told
    assert "two estimators differ at the corners by 3.00 px at most 4.16 holds, but not by far" in told
    assert "knows no depth" in told
    assert "+0.1200 s are added to infrared times, sigma 4.0 ms; rate: not measured" in told
    assert len(images(page)) == 12


def test_the_limits_of_a_scene_are_those_of_the_picture_that_was_searched():
    plane = Plane(ir_size=(200, 150), vis_size=(800, 600), H=((4, 0, 0), (0, 4, 0), (0, 0, 1)))
    quality = {"estimators_apart_px": 1.0, "corner_off_px": 1.0}
    for reference, side in ((None, 800), ("vis", 800), ("ir", 200)):
        rows = plane_readings(Rig(plane=plane, reference=reference, quality=quality))
        assert [row.limit for row in rows] == [f"at most {most:.3g}" for most in (most_off(side), MOST_DIFFER * side)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: "{", "rig.findings.json: content: Invalid JSON"),
        (lambda f: json.dumps({**f, "colour": 1}), "rig.findings.json: colour: Extra inputs"),
        (lambda f: json.dumps({**f, "target": {**f["target"], "ir": {**f["target"]["ir"], "coverage": [[1], [1, 2]]}}}),
         "target.ir.coverage: rows of one length"),
        (lambda f: (f["target"]["views"][0]["ir"]["points"].pop(), json.dumps(f))[1],
         "43 points and 44 residuals in ir"),
        (lambda f: (f["target"]["ir"].update(rms_px=0.4), json.dumps(f))[1], "another calibration than rig.json"),
        (lambda f: (f["target"]["target"].update(rows=1), json.dumps(f))[1], "grid 4x1"),
    ],
    ids=["damaged", "foreign key", "ragged", "torn", "of another rig", "no board"],
)  # fmt: skip
def test_findings_that_cannot_be_are_one_line_and_write_nothing(rig, made, change, said):
    beside = findings_path(rig)
    beside.write_text(change(json.loads(beside.read_text())))
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        page_of(rig, made[0] / "ir", made[0] / "vis")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert sorted(file.name for file in rig.parent.iterdir()) == ["rig.findings.json", "rig.json"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "page.txt"}, "page.txt: not a name for a page"),
        ({"depth": -1.0}, "--depth -1: give the distance"),
        ({"inputs": ["ir"]}, "infrared alone"),
    ],
)
def test_wrong_use_is_told_before_anything_is_read(rig, options, said):
    inputs = options.pop("inputs", [])
    with pytest.raises(InputError, match=said):
        page_of(rig, *inputs, **options)


def test_a_page_is_replaced_only_if_asked(rig):
    first = page_of(rig)
    with pytest.raises(InputError, match="--overwrite"):
        page_of(rig)
    assert len(page_of(rig, overwrite=True)) == len(first)


def test_other_recordings_than_the_findings_are_of_are_shown_at_the_boards_distance(rig, made, tmp_path):
    for side in ("ir", "vis"):
        (tmp_path / side).mkdir()
        for number in range(2):
            (tmp_path / side / f"x{number}.png").write_bytes((made[0] / side / f"{number}.png").read_bytes())
    findings = findings_of(TRUTH, BOARD, made[1])
    gain = parse_gain("percentile", None, is_for_8bit=False)
    shown = show(str(tmp_path / "ir"), str(tmp_path / "vis"), rig_of(TRUTH), findings.target, None, None, gain)
    assert [(pair.name, pair.distance) for pair in shown] == [("", 1.0), ("", 1.0)]


def test_pictures_of_another_aspect_ratio_are_refused(rig, made, tmp_path):
    for side in ("ir", "vis"):
        (tmp_path / side).mkdir()
        picture = cv2.imread(str(made[0] / side / "0.png"), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(tmp_path / side / "0.png"), picture[:, :-50])
    with pytest.raises(RigError, match="another aspect ratio"):
        page_of(rig, tmp_path / "ir", tmp_path / "vis")


def test_the_command_line_has_it_and_fails_with_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "run_stream.py"), "calibrate", "report", str(tmp_path / "no.json")]
    done = subprocess.run([*command, "-o", str(tmp_path / "page.html")], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "no.json: No such file" in done.stderr
