"""The command line as a user meets it: a process, its exit code, one line for what is wrong, files that play."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.model import LIGHT
from pipeline.source import open_source
from pipeline.synthetic import Scene, write_pair

ROOT = Path(__file__).parents[1]


def crotalus(*args, cwd=None, timeout=120, **kwargs):
    command = [sys.executable, str(ROOT / "run_stream.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, **kwargs)


def frames_of(path):
    with open_source(path) as source:
        return list(source.frames()), source.complaints()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), Scene(width=64, height=48, frames=12, shift=(0, 0), offset=0.0))


def test_two_videos_become_one_and_the_account_is_told(pair, tmp_path):
    done = crotalus("fuse", pair.ir, pair.vis, "-o", tmp_path / "out.mp4", "--stats", tmp_path / "stats.json")
    assert done.returncode == 0, done.stderr
    assert "ir.mp4 64x48 + vis.mp4 64x48 -> out.mp4 64x48 at 25 frames/s" in done.stdout
    frames, complaints = frames_of(tmp_path / "out.mp4")
    assert (len(frames), complaints) == (12, [])
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert (stats["pairs"], stats["frames"], stats["dropped"]) == (12, 12, {})
    assert stats["model"]["name"] == LIGHT
    assert stats["stages_ms"]["fuse"]["count"] == 12


def test_the_warm_target_and_the_texture_are_both_in_the_result(pair, tmp_path):
    crotalus("fuse", pair.ir, pair.vis, "-o", tmp_path / "out.mkv", "--codec", "ffv1")
    fused = frames_of(tmp_path / "out.mkv")[0][4].luma.astype(float)
    ir, vis = (frames_of(path)[0][4].luma for path in (pair.ir, pair.vis))
    warm = ir > 200
    ring = (cv2.dilate(warm.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0) & (ir < 100)
    assert fused[warm].mean() - fused[ring].mean() > 40
    cold = cv2.dilate((ir > 100).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    detail = [p.astype(float) - cv2.GaussianBlur(p.astype(float), (0, 0), 2) for p in (fused, vis)]
    assert np.corrcoef(detail[0][cold], detail[1][cold])[0, 1] > 0.8


def test_options_reach_the_output(pair, tmp_path):
    out = tmp_path / "out.mp4"
    done = crotalus(
        "fuse", pair.ir, pair.vis, "-o", out, "--size", "32x24", "--gray", "--limit", "3", "--crf", "30",
        "--preset", "ultrafast", "--threads", "1", "--backend", "cpu", "--model", "jcae", "--gap", "hold",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    frames, _ = frames_of(out)
    assert (len(frames), frames[0].luma.shape) == (3, (24, 32))
    assert all((plane == 128).all() for plane in frames[0].chroma)


def test_images_and_folders(pair, tmp_path):
    for name in ("ir", "vis"):
        (tmp_path / name).mkdir()
        for k, frame in enumerate(frames_of(getattr(pair, name))[0][:2]):
            cv2.imwrite(str(tmp_path / name / f"{k}.png"), frame.luma)
    ir, vis = tmp_path / "ir", tmp_path / "vis"
    assert crotalus("fuse", ir / "0.png", vis / "0.png", "-o", tmp_path / "one.png").returncode == 0
    assert crotalus("fuse", ir, vis, "-o", tmp_path / "many").returncode == 0
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == ["0.png", "1.png"]
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "one.png")), cv2.imread(str(tmp_path / "many" / "0.png")))


def make(tmp_path, name):
    """A bad input of the given kind."""
    path = tmp_path / name
    if name == "missing.mp4":
        return path
    if name == "text.mp4":
        path.write_text("this is no video")
    elif name == "empty.mp4":
        path.touch()
    elif name == "no images":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.mp4", "no such file"),
        ("text.mp4", "not a video"),
        ("empty.mp4", "empty"),
        ("no images", "folder without images"),
    ],
)
@pytest.mark.parametrize("side", ["ir", "vis"])
def test_a_bad_input_is_one_line_and_exit_code_two(pair, tmp_path, name, reason, side):
    bad = make(tmp_path, name)
    inputs = (bad, pair.vis) if side == "ir" else (pair.ir, bad)
    done = crotalus("fuse", *inputs, "-o", tmp_path / "out.mp4")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr.lower()
    assert name in done.stderr
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-o", "out.xyz"], "unknown file type"),
        (["-o", "nowhere/out.mp4"], "does not exist"),
        (["-o", "out.mp4", "--codec", "libx999"], "libx999"),
        (["-o", "out.mp4", "--crf", "99"], "99"),
        (["-o", "out.mp4", "--size", "big"], "--size big: give width and height"),
        (["-o", "out.mp4", "--size", "20000x10"], "16384"),
        (["-o", "out.mp4", "--work-height", "0"], "--work-height 0: give the height to fuse at, 96 px or more"),
        (["-o", "out.mp4", "--shift", "1"], "--shift 1"),
        (["-o", "out.mp4", "--rate", "fast"], "--rate fast"),
        (["-o", "out.mp4", "--model", "weights.pt"], "can run code when read"),
        (["-o", "out.mp4", "--model", "nothing"], "no such model"),
        (["-o", "out.mp4", "--gap", "jump"], "gap"),
        (["-o", "out.mp4", "--backend", "tpu"], "backend"),
        (["-o", "out.mp4", "--offset", "99"], "miss each other by"),
        (["-o", "out.mp4", "--start", "50"], "start"),
        (["-o", "out.mp4", "--nonsense"], "nonsense"),
        ([], "out"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_two(pair, tmp_path, args, reason):
    done = crotalus("fuse", pair.ir, pair.vis, *args, cwd=tmp_path)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept_unless_told_otherwise(pair, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_text("precious")
    done = crotalus("fuse", pair.ir, pair.vis, "-o", out)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert out.read_text() == "precious"
    assert crotalus("fuse", pair.ir, pair.vis, "-o", out, "--limit", "2", "--overwrite").returncode == 0
    assert len(frames_of(out)[0]) == 2


def test_an_input_is_never_written_to(pair, tmp_path):
    vis = tmp_path / "vis.mp4"
    vis.write_bytes(pair.vis.read_bytes())
    done = crotalus("fuse", pair.ir, vis, "-o", vis, "--overwrite")
    assert done.returncode == 2
    assert vis.read_bytes() == pair.vis.read_bytes()


def test_a_file_that_ends_early_is_fused_as_far_as_it_goes_and_reported(pair, tmp_path):
    whole = tmp_path / "vis.mkv"
    crotalus("fuse", pair.ir, pair.vis, "-o", whole, "--codec", "ffv1")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    done = crotalus("fuse", pair.ir, cut, "-o", tmp_path / "out.mp4")
    assert done.returncode == 1
    assert "error: cut.mkv" in done.stderr
    frames, complaints = frames_of(tmp_path / "out.mp4")
    assert 0 < len(frames) < 12
    assert complaints == []


@pytest.fixture(scope="module")
def long_pair(tmp_path_factory):
    return write_pair(
        tmp_path_factory.mktemp("long"), Scene(width=192, height=144, frames=3000, shift=(0, 0), offset=0.0)
    )


def start_fusing(pair, out):
    command = [sys.executable, "-u", str(ROOT / "run_stream.py"), "fuse", pair.ir, pair.vis, "-o", out]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(2000):  # the file appears with the first frame; counted, not by the clock: a machine may stand still
        if out.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    assert out.exists(), process.communicate(timeout=20)
    time.sleep(1.0)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_finishes_the_file(long_pair, tmp_path, number, code):
    out = tmp_path / "out.mp4"
    process = start_fusing(long_pair, out)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == code, stdout + stderr
    assert "Traceback" not in stderr
    frames, complaints = frames_of(out)
    told = next(line for line in stdout.splitlines() if line.startswith(str(out)))
    assert f": {len(frames)} frame" in told  # every frame handed to the encoder
    assert 0 < len(frames) < 3000
    assert complaints == []


def test_a_second_interrupt_leaves_at_once(tmp_path):
    """Inside one call into the network that takes seconds, where Python itself hears no signal."""
    big = [tmp_path / f"{name}.png" for name in ("ir", "vis")]
    for path in big:
        cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (1600, 2000), np.uint8))
    out = tmp_path / "out.png"
    command = [sys.executable, "-u", str(ROOT / "run_stream.py"), "fuse", *big, "-o", out, "--model", "jcae"]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "2000x1600" in process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # the first one waits for the picture
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)  # a machine under load takes seconds to take back the memory
    assert process.returncode == 130
    assert not out.exists()


def test_a_full_disk_is_one_line_and_what_was_written_plays(long_pair, tmp_path):
    out = tmp_path / "out.mp4"

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = crotalus("fuse", long_pair.ir, long_pair.vis, "-o", out, "--crf", "1", preexec_fn=small_files)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "what was written is kept" in done.stderr
    assert len(frames_of(out)[0]) > 5


def test_demo_makes_a_pair_and_says_where_the_result_is(tmp_path):
    done = crotalus("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"result: {tmp_path / 'demo' / 'fused.mp4'}" in done.stdout
    assert "frames/s" in done.stdout
    assert len(frames_of(tmp_path / "demo" / "fused.mp4")[0]) == 45  # 50 less the 0.2 s before IR begins


def test_bench_prints_stages_and_rivals(pair, tmp_path):
    options = ("--frames", "5", "--rival", "none", "--repeats", "1")
    done = crotalus("bench", pair.ir, pair.vis, *options, "--json", tmp_path / "bench.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "bench.json").read_text())
    assert [row["fuser"] for row in result["rows"]] == ["plain mean", "Laplacian pyramid", f"{LIGHT} on cpu"]
    assert all(row["fps"] > 0 and row["frames"] == 6 for row in result["rows"])
    assert {"decode ir", "decode vis", "sync", "align", "fuse", "compose", "write"} == set(
        result["rows"][0]["stages_ms"]
    )
    assert result["machine"]["processor"]


def test_doctor_names_versions_codecs_backends_and_hashes():
    done = crotalus("doctor")
    assert done.returncode == 0, done.stderr
    for word in ("onnxruntime", "libx264", "backends", "runs (ONNX Runtime", "jcae/weights.safetensors", "sha256"):
        assert word in done.stdout


def test_no_command_shows_the_help():
    done = crotalus()
    assert done.returncode in (0, 2)
    assert all(command in done.stdout + done.stderr for command in ("fuse", "bench", "demo", "doctor"))


def test_nothing_heavy_is_imported_for_the_help():
    code = "import sys, run_stream; print([m for m in ('torch', 'onnxruntime', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=dict(os.environ))
    assert done.stdout.strip() == "[]", done.stderr
