"""Cameras against a real RTSP server on loopback, with a proxy between them that does what networks do."""

import os
import time
from itertools import pairwise
from urllib.parse import quote

import pytest

from pipeline.live import reader
from pipeline.live.address import parse_address
from pipeline.live.camera import Camera
from tests.pipeline.live.proxy import Proxy
from tests.pipeline.live.rtsp_server import RtspServer, why_not
from tests.pipeline.live.senders import until
from tests.pipeline.media import number_of, numbered, write_video

PASSWORD = "p@ss:w/o#?%é"
"""Every sign that has a meaning in an address."""
FRAMES = 50


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """An MP4 whose frames tell their number, 25 a second, a key frame every 10."""
    if (reason := why_not()) and os.environ.get("REQUIRE_RTSP") == "1":
        pytest.fail(f"REQUIRE_RTSP=1, but {reason}")
    if reason:
        pytest.skip(f"no RTSP server: {reason}; install gir1.2-gst-rtsp-server-1.0 python3-gi and GStreamer's plugins")
    path = tmp_path_factory.mktemp("rtsp") / "ir.mp4"
    return write_video(path, numbered(FRAMES), options={"bf": "0", "g": "10"})


@pytest.fixture(scope="module")
def server(recording):
    with RtspServer({"ir": recording}, user="adm", password=PASSWORD, digest=True) as server:
        yield server


def camera_of(port, lines=None, *, password=PASSWORD, path="ir", options=""):
    """A started camera of a server or a proxy on loopback."""
    login = f"adm:{quote(password, safe='')}"
    address = parse_address(f"rtsp://{login}@127.0.0.1:{port}/{path}#open_timeout=5{options}")
    camera = Camera("ir", address, on_note=([] if lines is None else lines).append)
    camera.start()
    return camera


def taken(camera, count):
    """So many frames, in the order they come."""
    frames = []
    until(lambda: (frames.append(camera.take(0.2)) or sum(one is not None for one in frames)) >= count, 60)
    return [one for one in frames if one is not None]


def state_is(camera, state):
    until(lambda: (camera.take(0), camera.status().state)[1] == state, 60)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_come_in_order_with_rising_times_over(server, transport):
    camera = camera_of(server.port, options=f"&transport={transport}")
    frames = taken(camera, 30)
    camera.close()
    status = camera.status()
    assert status.frames >= 30
    assert (status.width, status.height, status.bits) == (64, 48, 8)
    assert all(after.captured > before.captured for before, after in pairwise(frames))
    assert all(one.captured <= one.arrived + 1e-3 for one in frames)
    settled = frames[10:]  # the first ones come in one go
    steps = [(number_of(b.frame.luma) - number_of(a.frame.luma)) % FRAMES for a, b in pairwise(settled)]
    times = [b.captured - a.captured for a, b in pairwise(settled)]
    assert times == pytest.approx([step / 25 for step in steps], abs=0.01)
    assert PASSWORD not in repr(status)


def test_a_wrong_password_or_path_is_told_without_it(server):
    for how, part in (({"password": "wr0ng!"}, "user or password refused"), ({"path": "nope"}, "no such path (404)")):
        lines = []
        camera = camera_of(server.port, lines, **how)
        until(lambda lines=lines: lines)
        camera.close()
        assert part in lines[0]
        assert "wr0ng" not in lines[0] + repr(camera.status())
        assert PASSWORD not in lines[0]


def test_a_server_that_dies_and_comes_back_is_found_again(recording):
    lines = []
    with RtspServer({"ir": recording}, user="adm", password=PASSWORD) as server, Proxy(server.port) as proxy:
        camera = camera_of(proxy.port, lines)
        before = taken(camera, 10)
        server.kill()
        state_is(camera, "retrying")
        server.port = 0
        server.start()
        proxy.target = server.port
        state_is(camera, "running")
        after = taken(camera, 10)
        camera.close()
    assert after[-1].captured > before[-1].captured
    assert all(b.frame.pts > a.frame.pts for a, b in pairwise(before + after))
    assert camera.status().reconnects == 1
    assert "ended the stream" in lines[0]
    assert "back after" in lines[-1]
    assert camera.left_behind == 0


def test_a_connection_that_stalls_is_seen_broken_off_and_healed(server, monkeypatch):
    monkeypatch.setattr(reader, "STALL", 0.5)
    lines = []
    with Proxy(server.port) as proxy:
        camera = camera_of(proxy.port, lines, options="&read_timeout=1.5")
        taken(camera, 5)
        proxy.fault = "stall"
        state_is(camera, "stalled")
        assert camera.status().reason.startswith("no picture for ")
        state_is(camera, "retrying")
        assert "nothing came for 1.5 s" in camera.status().reason
        proxy.fault = "none"
        state_is(camera, "running")
        taken(camera, 5)
        camera.close()
    assert camera.status().reconnects == 1


def test_a_short_stall_is_no_loss_and_captured_times_do_not_follow_it(server):
    with Proxy(server.port) as proxy:
        camera = camera_of(proxy.port)
        taken(camera, 50)
        proxy.fault = "stall"
        time.sleep(0.6)
        proxy.fault = "none"
        late = taken(camera, 20)
        camera.close()
    assert camera.status().reconnects == 0
    assert max(one.arrived - one.captured for one in late) > 0.2  # the frames that were held up say so
    assert late[-1].arrived - late[-1].captured < 0.2


def test_a_reset_is_healed_and_a_delay_costs_nothing(server):
    lines = []
    with Proxy(server.port) as proxy:
        camera = camera_of(proxy.port, lines)
        taken(camera, 5)
        proxy.reset()
        state_is(camera, "retrying")
        state_is(camera, "running")
        proxy.delay = 0.3
        taken(camera, 20)
        camera.close()
    assert camera.status().reconnects == 1
    assert camera.status().state == "stopped"
    assert len(lines) == 2
