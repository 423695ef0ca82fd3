"""`calibrate clock` and `calibrate check` as a user runs them."""

import json
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import av
import pytest
import typer
from typer.testing import CliRunner

from calibration.rig import Plane, Rig, load_rig, save_rig
from engines.base import CrotalusError
from pipeline.commands.calibrate.check import check
from pipeline.commands.calibrate.clock import clock
from tests.calibration.test_check import moved, scene
from tests.calibration.walkers import HEIGHT, WIDTH, Walkers
from tests.pipeline.media import planar, write_image, write_video

ROOT = Path(__file__).parents[1]
OFFSET = 0.6


def told(command, folder, *arguments):
    """(exit code, standard output, error) of a command run in this process, which saves seconds."""
    app = typer.Typer()
    app.command()(command)
    with chdir(folder):
        result = CliRunner().invoke(app, [*map(str, arguments)])
    if isinstance(result.exception, CrotalusError):
        return result.exception.exit_code, result.stdout, str(result.exception)
    return result.exit_code, result.stdout, result.stderr


def crotalus(folder, *arguments):
    command = [sys.executable, str(ROOT / "run_stream.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two films of one scene, 9 and 25 frames/s, infrared 0.6 s late by its own clock; a rig; a pair of images."""
    made = tmp_path_factory.mktemp("films")
    for kind, rate, offset in (("ir", 9, OFFSET), ("vis", 25, 0.0)):
        frames = [planar(picture) for _, picture in Walkers(3).film(kind, rate, 8, offset=offset)]
        write_video(made / f"{kind}.mp4", frames, rate=rate)
    plane = Plane(ir_size=(WIDTH, HEIGHT), vis_size=(WIDTH, HEIGHT), H=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    save_rig(Rig(plane=plane, quality={"residual_px": 1.0}), made / "rig.json")
    ir, vis = scene()
    write_image(made / "ir.png", moved(ir, 5, -2))
    write_image(made / "vis.png", vis)
    return made


def test_the_clock_is_told_and_written_into_a_copy_of_the_rig(folder, tmp_path):
    out = tmp_path / "clocked.json"
    done = crotalus(folder, "calibrate", "clock", "ir.mp4", "vis.mp4", "--rig", "rig.json", "-o", out)
    assert done.returncode == 0, done.stderr
    rig = load_rig(out)
    assert rig.clock_offset == pytest.approx(OFFSET, abs=0.5 / 9)
    assert rig.clock_rate == 0.0
    assert rig.quality["residual_px"] == 1.0
    assert 0 < rig.quality["clock_sigma_s"] < 0.05
    assert load_rig(folder / "rig.json").clock_offset == 0.0  # the one given is as it was
    assert f"pass --offset {rig.clock_offset:.4f}" in done.stdout
    assert "rate: not searched; it takes a recording of 60 s or more" in done.stdout
    code, _, error = told(clock, folder, "ir.mp4", "vis.mp4", "--rig", "rig.json", "-o", out)
    assert (code, error) == (2, f"{out}: exists; pass --overwrite or name another file")


def test_the_result_goes_to_stdout_and_what_was_assumed_to_stderr(folder, tmp_path):
    late = tmp_path / "late.mkv"
    with av.open(str(folder / "vis.mp4")) as source, av.open(str(late), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = (when + round(5 / packet.time_base) for when in (packet.pts, packet.dts))
                packet.stream = stream
                copy.mux(packet)
    code, text, error = told(clock, folder, "ir.mp4", late)
    assert code == 0, error
    assert float(text.split()[1]) == pytest.approx(5 + OFFSET, abs=0.5 / 9)
    assert error == (
        "note: ir starts at 0.000 s and vis at 5.000 s of their own clocks: searched about +5.000 s, as if both were "
        "started together\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["ir.mp4", "vis.mp4", "--write"], 2, "--write: a clock is written into a rig; give --rig FILE, too"),
        (["ir.mp4", "vis.mp4", "--within", "nan"], 2, "--within nan: give seconds, above 0 and at most 60"),
        (["ir.png", "vis.png"], 2, "ir.png: images have no clock; give two videos"),
        (["ir.mp4", "vis.mp4", "--offset", "30"], 1, "both recordings have 0.0 s in common; record 2 s or more"),
    ],
)
def test_wrong_use_is_one_line(folder, arguments, code, line):
    given, _, error = told(clock, folder, *arguments)
    assert given == code
    assert error.startswith(line)
    assert "\n" not in error


def test_the_residual_is_told_and_limited(folder, tmp_path):
    out = tmp_path / "check.json"
    code, text, error = told(check, folder, "ir.png", "vis.png", "--json", out)
    assert code == 0, error
    assert "infrared lies 5.0 px right and 2.0 px up of visible" in text
    written = json.loads(out.read_text())
    assert written["whole"]["dx"] == pytest.approx(5, abs=0.3)
    assert written["typical_px"] == pytest.approx(5.4, abs=0.4)
    assert len(written["over_picture"]) == 12
    code, _, error = told(check, folder, "ir.png", "vis.png", "--limit", "3")
    assert code == 1
    assert error == f"{written['typical_px']:.1f} px apart, --limit is 3 px; calibrate again"
    assert told(check, folder, "ir.png", "vis.png", "--limit", "3", "--shift", "-5,2")[0] == 0


def test_a_rig_is_checked_on_the_grid_that_it_was_made_on(folder, tmp_path):
    """The rig halves visible: on the grid of infrared things lie half as far apart."""
    ir, vis = scene()
    (height, width), double = ir.shape, ((0.5, 0, -0.25), (0, 0.5, -0.25), (0, 0, 1))
    plane = Plane(ir_size=(2 * width, 2 * height), vis_size=(width, height), H=double)
    write_image(tmp_path / "ir.png", moved(ir, 6, -2).repeat(2, axis=0).repeat(2, axis=1))
    write_image(tmp_path / "vis.png", vis)
    found = []
    for reference in ("ir", "vis"):
        save_rig(Rig(plane=plane, reference=reference), tmp_path / "rig.json")
        out = tmp_path / f"{reference}.json"
        code, _, error = told(check, tmp_path, "ir.png", "vis.png", "--rig", "rig.json", "--json", out)
        assert code == 0, error
        found.append(json.loads(out.read_text())["whole"])
    assert [found[0]["dx"], found[0]["dy"]] == pytest.approx([12, -4], abs=0.8)
    assert [found[1]["dx"], found[1]["dy"]] == pytest.approx([6, -2], abs=0.4)


def test_pictures_that_do_not_tell_fail(folder, tmp_path):
    write_image(tmp_path / "other.png", scene(20)[1])
    code, _, error = told(check, folder, "ir.png", tmp_path / "other.png")
    assert code == 1
    assert error.startswith("the pictures do not tell how far apart they lie")
