"""The command `live` as a user meets it: a process, its exit code, one line for what is wrong, files that play."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engines.base import CrotalusError
from engines.classical import open_classical
from engines.model import LIGHT
from pipeline.commands.live import live
from pipeline.frames import InputError
from pipeline.live.config import LiveConfig, with_options
from pipeline.live.loss import CameraLostError
from pipeline.live.session import Session
from pipeline.live.status import CameraStatus, LiveStatus
from pipeline.live.terminal import Notices, Screen, account, head
from pipeline.source import open_source
from pipeline.synthetic import Scene, write_pair
from pipeline.voice import Voice

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), Scene(width=64, height=48, frames=20, shift=(0, 0), offset=0.0))


@pytest.fixture
def process(pair):
    """Starts the command on the looping pair; ended after the test."""
    running = []

    def start(*options):
        command = [sys.executable, str(ROOT / "run_stream.py"), "live", "--ir", f"file:{pair.ir}?loop=1",
                   "--vis", f"file:{pair.vis}?loop=1", "--preview", "off", "--threads", "1", *options]  # fmt: skip
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.communicate()


def wanted(pair, **options):
    """The looping pair without a page, and options by dotted key with __ for the dot."""
    keys = {key.replace("__", "."): value for key, value in options.items()}
    given = {"ir": f"file:{pair.ir}?loop=1", "vis": f"file:{pair.vis}?loop=1", "preview.address": "off"}
    return with_options(LiveConfig(), given | keys)


def session(pair, stats=None, **options):
    return Session(wanted(pair, **options), stats, make_fuser=lambda: open_classical("mean"))


def frames_of(path):
    with open_source(path) as source:
        return list(source.frames()), source.complaints()


def wait_for(condition, process, timeout=90):
    end = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_in_time_with_a_file_that_plays(process, tmp_path, number, code):
    out, stats = tmp_path / "out.mp4", tmp_path / "stats.json"
    running = process("--record", str(out), "--stats", str(stats), "--min-free", "1")
    wait_for(lambda: out.exists() and out.stat().st_size > 2000, running)
    running.send_signal(number)
    began = time.monotonic()
    stdout, stderr = running.communicate(timeout=60)
    took = time.monotonic() - began
    assert running.returncode == code, stderr
    assert took < 6  # 3 s on a machine of its own; this one may be busy
    frames, complaints = frames_of(out)
    told = json.loads(stats.read_text())
    assert complaints == []
    assert len(frames) == told["recording"]["frames"] > 0
    assert told["is_interrupted"]
    assert told["backend"] == f"{LIGHT} on cpu"
    assert "Traceback" not in stdout + stderr
    assert f"recorded {told['recording']['seconds']:.1f} s" in stderr


def test_the_account_of_a_run(pair, tmp_path, capsys):
    out, stats = tmp_path / "out.mkv", tmp_path / "stats.json"
    code = session(pair, stats, duration=1.5, record__path=str(out), record__min_free=1).run()
    told, spoken = json.loads(stats.read_text()), capsys.readouterr()
    assert code == 0
    assert told["pairs"] > 10
    frames, _ = frames_of(out)
    assert len(frames) == told["recording"]["frames"]
    assert all(one.pts < two.pts for one, two in pairwise(frames))
    assert spoken.out.splitlines()[0] == f"plain mean: file:{pair.ir} + file:{pair.vis}"
    assert f"{told['pairs']} pairs" in spoken.out
    assert "ir running, 64x48, " in spoken.out
    assert told["cameras"]["ir"]["frames"] >= told["pairs"]


def test_files_that_end_end_the_run(pair):
    assert session(pair, ir=f"file:{pair.ir}", vis=f"file:{pair.vis}").run() == 0


def test_a_file_that_is_not_there_is_one_line(pair):
    with pytest.raises(InputError, match=r"^ir file:/nowhere/ir.mp4: .*nothing to fuse$") as error:
        session(pair, ir="file:/nowhere/ir.mp4").run()
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


def test_a_lost_camera_ends_the_run_where_it_was_asked_to(pair):
    with pytest.raises(CameraLostError, match="ir lost") as error:
        session(pair, ir=f"file:{pair.ir}", pairing__on_loss="stop").run()
    assert error.value.exit_code == 1


def test_a_recording_that_exists_is_refused_before_anything_is_opened(pair, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"out\.mp4: exists; pass --overwrite"):
        session(pair, record__path=str(tmp_path / "out.mp4")).run()
    assert (tmp_path / "out.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vis": None}, r"no vis camera; give --vis URL"),
        ({"vis": "file:vis.mp4?realtime=0"}, r"vis.mp4.*realtime=0 has no pace.*use `fuse`"),
        ({"geometry.rig": "no.json"}, r"no.json: No such file"),
        ({"geometry.depth": 3.0}, r"--depth 3: is of a rig"),
        ({"picture.agc": "fixed:5,1"}, r"--agc.*fixed:LO,HI"),
        ({"pairing.on_loss": "explode"}, r"--on-loss '?explode'?: .*use hold, passthrough, blank or stop"),
    ],
)
def test_wrong_use_is_one_line(pair, options, said):
    with pytest.raises(CrotalusError, match=said) as error:
        Session(with_options(wanted(pair), options))
    assert error.value.exit_code == 2


def test_a_page_without_its_libraries_is_one_line(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.preview.app", None)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    with pytest.raises(
        InputError, match=r"preview.*not installed; pip install 'crotalus\[live\]', or pass --preview off"
    ):
        session(pair, preview__address="127.0.0.1:0").run()


def test_options_reach_the_run(pair, capsys):
    live(ir=f"file:{pair.ir}", vis="rtsp://u:secret@cam/1", master="ir", tolerance="0.04",
         on_loss="blank", view="hot", agc="plateau", segment="10m", record="x.mp4", print_config=True)  # fmt: skip
    text = capsys.readouterr().out
    assert "secret" not in text
    for line in ("master: ir", "tolerance: 0.04", "on_loss: blank", "view: hot", "agc: plateau", "segment: 600"):
        assert line in text


def test_a_file_of_settings_is_changed_by_options(pair, tmp_path, capsys):
    (tmp_path / "live.yaml").write_text(f"ir: file:{pair.ir}\npairing:\n  master: ir\n  offset: 0.2\n")
    live(config=tmp_path / "live.yaml", offset=-0.1, print_config=True)
    text = capsys.readouterr().out
    assert "master: ir" in text
    assert "offset: -0.1" in text


STATUS = LiveStatus(
    {
        "ir": CameraStatus("ir", "rtsp://***@cam/1", "retrying", "connection refused", drops={"overtaken": 3},
                           reconnects=2),
        "vis": CameraStatus("vis", "v4l2:/dev/video0", "running", fps=25.04, width=640, height=480),
    },
    pairs=7, drops={"vis superseded": 2}, fps=24.96, latency_ms={"p50": 41.2, "p95": 63.7, "last": 40.0},
    state="ir lost", recording={"seconds": 12.4, "bytes": 3_400_000, "error": ""},
)  # fmt: skip


def test_a_status_in_words():
    assert head(STATUS) == (
        "ir lost, 25.0 frames/s, latency 41 ms, p95 64 ms, 7 pairs, dropped 2 (vis superseded), "
        "recording 12 s, 3.4 MB")  # fmt: skip
    assert account(STATUS)[1:] == [
        "  ir retrying: connection refused, opened 2 times again, lost 3 (overtaken)  rtsp://***@cam/1",
        " vis running, 640x480, 25.0 frames/s  v4l2:/dev/video0",
    ]


def test_a_plain_line_comes_every_ten_seconds(capsys):
    now = [0.0]
    screen = Screen(Voice(), Voice(stderr=True), clock=lambda: now[0])
    for step in range(251):
        now[0] = step / 10
        screen.show(STATUS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("ir lost, 25.0 frames/s, latency 41 ms")
    assert "; ir retrying: connection refused" in lines[0]


def test_notices_come_from_any_thread_one_line_each():
    notices, log = Notices(), logging.getLogger("pipeline.test_notices")
    log.addHandler(notices)
    try:
        thread = threading.Thread(target=log.warning, args=("two\nlines of %s", "one"))
        thread.start()
        thread.join()
        log.info("not worth it")
    finally:
        log.removeHandler(notices)
    assert notices.take() == ["two lines of one"]
    assert notices.take() == []


def test_a_soak_of_seconds_holds_still(pair):
    from pipeline.live.run import LiveJob
    from tests.pipeline.live.soak import Soak, soak

    addresses = {"ir": f"file:{pair.ir}?loop=1", "vis": f"file:{pair.vis}?loop=1"}
    seen = soak(LiveJob(), addresses, open_classical("mean"), 2.0, warm_up=1.0, every=0.25)
    assert isinstance(seen, Soak)
    assert len(seen.times) >= 4
    assert max(seen.threads) == min(seen.threads)
    assert max(seen.fds) - min(seen.fds) <= 2  # a file that begins again is opened anew
    assert max(seen.rss) - min(seen.rss) < 50 * 2**20
    assert seen.frames[-1] > seen.frames[0]
    assert np.isfinite(seen.slope)
