"""`fuse --rig` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from calibration.rig import Plane, Rig, save_rig
from pipeline.batch.recipe import recipe_of
from pipeline.batch.task import Task
from pipeline.live.config import GeometrySection, LiveConfig
from pipeline.live.session import job_of
from pipeline.synthetic import Scene, write_pair
from tests.pipeline.media import write_image

ROOT = Path(__file__).parents[1]


def crotalus(*arguments):
    command = [sys.executable, str(ROOT / "run_stream.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    scene = Scene(width=96, height=64, frames=8, shift=(6, 4), offset=0.2)
    return write_pair(tmp_path_factory.mktemp("pair"), scene)


@pytest.fixture
def rig(pair, tmp_path):
    """What calibration would find of the synthetic pair."""
    x, y = pair.scene.shift
    plane = Plane(ir_size=(96, 64), vis_size=(96, 64), H=((1, 0, x), (0, 1, y), (0, 0, 1)))
    save_rig(Rig(plane=plane, clock_offset=pair.scene.offset), tmp_path / "rig.json")
    return tmp_path / "rig.json"


def lumas(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray()[:64] for frame in container.decode(video=0)]


def test_a_rig_brings_the_place_and_the_clock_of_infrared(pair, rig, tmp_path):
    x, y = pair.scene.shift
    by_hand = tmp_path / "hand.mkv"
    options = ["--offset", pair.scene.offset, "--shift", f"{x},{y}"]
    assert crotalus("fuse", pair.ir, pair.vis, "-o", by_hand, "--codec", "ffv1", *options).returncode == 0
    out, stats = tmp_path / "rig.mkv", tmp_path / "stats.json"
    done = crotalus("fuse", pair.ir, pair.vis, "-o", out, "--codec", "ffv1", "--rig", rig, "--stats", stats)
    assert done.returncode == 0, done.stderr
    assert json.loads(stats.read_text())["frames"] == len(lumas(by_hand)) > 0
    for mine, other in zip(lumas(out), lumas(by_hand), strict=True):  # alike where infrared looks, but at its border
        np.testing.assert_allclose(mine[20:-12, 24:-12].astype(int), other[20:-12, 24:-12], atol=6)


def test_the_clock_of_a_rig_is_left_out_for_pictures(pair, rig, tmp_path):
    for side, path in (("ir", pair.ir), ("vis", pair.vis)):
        (tmp_path / side).mkdir()
        for number, luma in enumerate(lumas(path)[:3]):
            write_image(tmp_path / side / f"{number}.png", luma)
    folders = tmp_path / "ir", tmp_path / "vis"
    done = crotalus("fuse", *folders, "-o", tmp_path / "out", "--method", "max", "--rig", rig)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png"]
    assert "the rig's clock_offset is left out: images have no clock" in done.stdout + done.stderr
    done = crotalus("fuse", *folders, "-o", tmp_path / "none", "--method", "max", "--rig", rig, "--offset", "0.2")
    assert (done.returncode, done.stderr) == (2, "error: --offset 0.2: images have no clock; leave it out\n")


def test_a_rig_of_another_aspect_ratio_writes_nothing(pair, rig, tmp_path):
    done = crotalus("fuse", pair.ir, pair.vis, "-o", tmp_path / "out.mp4", "--rig", rig, "--size", "96x96")
    assert done.returncode == 2
    assert "vis was calibrated at 96x64, the stream has 96x96" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()


def test_the_output_lies_on_the_picture_that_the_rig_was_searched_on(tmp_path):
    """By `fuse`, and what `live` and `batch` make of the same rig."""
    plane = Plane(ir_size=(48, 32), vis_size=(96, 64), H=((2, 0, 0.5), (0, 2, 0.5), (0, 0, 1)))
    save_rig(Rig(plane=plane, reference="ir"), tmp_path / "rig.json")
    inputs = tmp_path / "ir.png", tmp_path / "vis.png"
    for path, size in zip(inputs, ((32, 48), (64, 96)), strict=True):
        write_image(path, np.full(size, 90, np.uint8))
    for options, side in (((), "ir"), (("--reference", "vis"), "vis")):
        out = tmp_path / f"{side}.out.png"
        done = crotalus("fuse", *inputs, "-o", out, "--method", "max", "--rig", tmp_path / "rig.json", *options)
        assert done.returncode == 0, done.stderr
        assert lumas(out)[0].shape[:2] == {"ir": (32, 48), "vis": (64, 96)}[side]
        own = dict(zip(options[::2], options[1::2], strict=True)).get("--reference")
        section = GeometrySection(rig=str(tmp_path / "rig.json"), reference=own)
        assert job_of(LiveConfig(geometry=section), may_replace=False).geometry.reference == side
        named = {} if own is None else {"reference": own}
        task = Task("ir.mp4", "vis.mp4", "out.mp4", rig=str(tmp_path / "rig.json"), options=named)
        assert recipe_of(task).job.geometry.reference == side


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rig", "missing.json"], "missing.json: No such file"),
        (["--rig", ROOT / "README.md"], "README.md: content"),
        (["--depth", "3"], "--depth 3: is of a rig"),
    ],
)
def test_a_rig_that_cannot_be_used_is_one_line(pair, tmp_path, options, said):
    done = crotalus("fuse", pair.ir, pair.vis, "-o", tmp_path / "out.mp4", *options)
    assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
