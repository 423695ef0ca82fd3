"""The command line where things go wrong around it: other runs, lost listeners, slips that would cost a recording."""

import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from pipeline.synthetic import Scene, write_pair
from tests.test_run_stream import ROOT, crotalus, frames_of


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), Scene(width=64, height=48, frames=6, shift=(0, 0), offset=0.0))


def test_stats_over_an_input_are_refused_and_the_input_is_kept(pair, tmp_path):
    vis = shutil.copy(pair.vis, tmp_path / "vis.mp4")
    done = crotalus("fuse", pair.ir, vis, "-o", tmp_path / "out.mp4", "--stats", vis, "--overwrite")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert vis.read_bytes() == pair.vis.read_bytes()
    assert not (tmp_path / "out.mp4").exists()


def test_stats_in_the_folder_that_the_run_makes(pair, tmp_path):
    out = tmp_path / "out"
    assert crotalus("fuse", pair.ir, pair.vis, "-o", out, "--stats", out / "stats.json").returncode == 0
    assert len(list(out.glob("*.png"))) == 6
    assert (out / "stats.json").exists()


def test_a_demo_replaces_no_recording_of_the_user(pair, tmp_path):
    ir = shutil.copy(pair.ir, tmp_path / "ir.mp4")
    done = crotalus("demo", "-o", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--overwrite" in done.stderr
    assert ir.read_bytes() == pair.ir.read_bytes()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_demo_folder_that_cannot_be_made_is_one_line(tmp_path, place):
    (tmp_path / "file").touch()
    done = crotalus("demo", "-o", tmp_path / place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be made a folder" in done.stderr


@pytest.mark.parametrize("listener", ["| true", "> /dev/full", ">&-"])
def test_a_run_goes_on_when_nobody_listens(pair, tmp_path, listener):
    out = tmp_path / "out.mp4"
    command = f'"{sys.executable}" "{ROOT}/run_stream.py" fuse "{pair.ir}" "{pair.vis}" -o "{out}" {listener}'
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, timeout=120)
    assert len(frames_of(out)[0]) == 6


def test_names_beyond_the_encoding_of_the_terminal_end_no_run(pair, tmp_path):
    vis = shutil.copy(pair.vis, tmp_path / "ünïcødé 日本.mp4")
    done = crotalus(
        "fuse", pair.ir, vis, "-o", tmp_path / "[bold]日.mp4", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0, done.stderr
    assert "\\u65e5\\u672c.mp4" in done.stdout
    assert "[bold]" in done.stdout


def test_images_leave_nothing_but_the_account(tmp_path):
    """OpenCV 5 warned on stderr of every PNG; and an image has no frame rate."""
    paths = [tmp_path / f"{name}.png" for name in ("ir", "vis")]
    for path in paths:
        cv2.imwrite(str(path), np.full((3, 5), 99, np.uint8))
    done = crotalus("fuse", *paths, "-o", tmp_path / "out.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert "frames/s" not in done.stdout


def test_an_error_after_the_first_frame_is_no_wrong_use(tmp_path):
    """Exit code 2 promises that nothing was written."""
    for name in ("ir", "vis"):
        (tmp_path / name).mkdir()
        for k, side in enumerate((8, 16000)):  # the second is more than the network can hold
            cv2.imwrite(str(tmp_path / name / f"{k}.png"), np.zeros((side, side), np.uint8))
    done = crotalus("fuse", tmp_path / "ir", tmp_path / "vis", "-o", tmp_path / "out")
    assert "--work-height" in done.stderr
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert (tmp_path / "out" / "0.png").exists()


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--threads", "1000"], "128"),
        (["--shift", "nan,1"], "--shift nan,1"),
        (["--rate", "1e400"], "--rate 1e400"),
        (["--offset", "1e300"], "--offset 1e+300"),
        (["--nonsense"], "see run_stream.py fuse --help"),
        (["--size", "16384x16384"], "cannot encode 16384x16384"),
    ],
)
def test_wrong_values_are_one_line(pair, tmp_path, args, reason):
    done = crotalus("fuse", pair.ir, pair.vis, "-o", "out.mp4", *args, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []
