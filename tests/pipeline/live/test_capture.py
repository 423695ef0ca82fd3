"""Cameras opened by PyAV on loopback: what they give, how long they are waited for, what is said of them."""

import itertools
import time
import traceback

import av
import av.error
import numpy as np
import pytest
from av.codec.context import Flags, ThreadType

from pipeline.live.address import parse_address
from pipeline.live.capture import Capture, Deadline
from pipeline.live.shots import SourceLostError, SourceRefusedError
from tests.pipeline.live.senders import (
    free_port,
    mjpeg_server,
    sender_of,
    silent,
    tcp_server,
    udp_camera,
)
from tests.pipeline.media import gray, number_of, numbered, ramp, write_video

SLACK = 1.4
"""s past a deadline that a busy machine may take; the product's own slack is 0.4 s."""


def shots_of(url, count=10**9, **options):
    """The first shots of an address, and what was odd."""
    odd = []
    with Capture(parse_address(url), on_odd=lambda kind, text: odd.append((kind, text)), **options) as capture:
        shots = list(itertools.islice(capture.shots(), count))
    return shots, odd


def lost(url, **options):
    """What is said of an address that gives nothing, and the s until then."""
    began = time.monotonic()
    with pytest.raises(SourceLostError) as error:
        shots_of(url, **options)
    assert error.value.__context__ is None  # FFmpeg's error quotes the address; a traceback would print it
    assert "s3cr3t" not in "".join(traceback.format_exception(error.value))
    return str(error.value), time.monotonic() - began


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp"])
def test_a_port_that_never_answers_fails_in_time_and_names_the_host_without_the_password(scheme):
    with tcp_server(silent) as port:
        login = "" if scheme == "tcp" else "adm:s3cr3t@"
        said, took = lost(f"{scheme}://{login}127.0.0.1:{port}/s?open_timeout=1")
    assert said == f"127.0.0.1:{port}: no answer within 1 s"
    assert 0.9 < took < 1 + SLACK


def test_a_server_that_answers_and_then_falls_silent_gets_no_second_deadline():
    head = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + (b"G" + b"\0" * 187) * 20
    with tcp_server(sender_of(head)) as port:
        said, took = lost(f"http://adm:s3cr3t@127.0.0.1:{port}/s?open_timeout=1.5")
    assert "no answer within 1.5 s" in said
    assert 1.4 < took < 1.5 + SLACK


def test_a_udp_port_nobody_sends_to_fails_in_time():
    said, took = lost(f"udp://127.0.0.1:{free_port()}?open_timeout=0.5")
    assert "no answer within 0.5 s" in said
    assert took < 0.5 + SLACK


def test_a_port_nobody_listens_on_is_told_as_such():
    import socket

    said, _ = lost(f"rtsp://adm:s3cr3t@127.0.0.1:{free_port(socket.SOCK_STREAM)}/s")
    assert "connection refused; is the camera on, and the port right?" in said


@pytest.mark.parametrize(
    ("status", "part"),
    [("401 Unauthorized", "user or password refused"), ("404 Not Found", "no such path (404)"), ("503 Busy", "5XX")],
)
def test_what_an_http_camera_answers_is_told(status, part):
    with tcp_server(sender_of(f"HTTP/1.0 {status}\r\n\r\n".encode(), then_wait=False)) as port:
        said, _ = lost(f"http://adm:s3cr3t@127.0.0.1:{port}/s")
    assert part in said


def test_a_stream_that_stops_is_given_up_after_the_read_deadline(tmp_path):
    data = write_video(tmp_path / "a.ts", numbered(20), format="mpegts", options={"bf": "0"}).read_bytes()
    with tcp_server(sender_of(data)) as port:
        address = parse_address(f"tcp://127.0.0.1:{port}?read_timeout=1")
        with Capture(address) as capture:
            shots = capture.shots()
            got, began = [next(shots) for _ in range(18)], time.monotonic()
            with pytest.raises(SourceLostError, match="nothing came for 1 s"):
                got += list(shots)
    assert 0.9 < time.monotonic() - began < 1 + SLACK
    assert len(got) >= 18


def test_the_end_of_a_stream_is_an_error_for_a_camera_and_every_picture_before_it_came(tmp_path):
    data = write_video(tmp_path / "a.ts", numbered(20), format="mpegts", options={"bf": "0"}).read_bytes()
    got = []
    with (
        tcp_server(sender_of(data, then_wait=False)) as port,
        Capture(parse_address(f"tcp://127.0.0.1:{port}")) as capture,
        pytest.raises(SourceLostError, match="the camera ended the stream"),
    ):
        got.extend(capture.shots())
    assert [number_of(shot.luma) for shot in got] == list(range(20))
    assert np.diff([shot.pts for shot in got]) == pytest.approx([0.04] * 19)


@pytest.mark.parametrize(("scheme", "sent"), [("tcp", b"hello " * 9999), ("tcp", b""), ("rtsp", b"")])
def test_bytes_that_are_no_video_are_told_and_so_is_an_answer_without_any(scheme, sent):
    with tcp_server(sender_of(sent, then_wait=False)) as port:
        said, _ = lost(f"{scheme}://127.0.0.1:{port}")
    assert said.startswith(f"127.0.0.1:{port}: it closed without an answer, or what it sends is no video; is")


def test_mjpeg_over_http_comes_through_and_has_no_clock_of_its_own():
    with (
        mjpeg_server([ramp(48, 64), ramp(48, 64)[:, ::-1]]) as port,
        Capture(parse_address(f"http://127.0.0.1:{port}/mjpg")) as capture,
    ):
        assert not capture.is_timed
        shots = list(itertools.islice(capture.shots(), 6))
    for before, after in itertools.pairwise(shots):
        assert after.arrived > before.arrived
        assert abs(int(before.luma[24, 4]) - int(after.luma[24, 4])) > 200
    assert shots[0].luma.shape == (48, 64)
    assert np.abs(shots[0].luma.astype(int) - ramp(48, 64)).max() < 12 or shots[0].luma[24, 4] > 200


def test_mpeg_ts_over_udp_comes_through_in_order():
    port = free_port()
    with udp_camera(port):
        shots, _ = shots_of(f"udp://127.0.0.1:{port}", 30)
    numbers = [number_of(shot.luma) for shot in shots]
    assert numbers == list(range(numbers[0], numbers[0] + 30))


def test_sixteen_bits_stay_sixteen_over_the_network(tmp_path):
    counts = [np.full((48, 64), 3000 + 7 * number, np.uint16) for number in range(5)]
    path = write_video(tmp_path / "a.mkv", [gray(one, "gray16le") for one in counts], codec="ffv1")
    with tcp_server(sender_of(path.read_bytes(), then_wait=False)) as port:
        shots, _ = shots_of(f"tcp://127.0.0.1:{port}?bits=16", 5)
    for shot, wanted in zip(shots, counts, strict=True):
        assert shot.luma.dtype == np.uint16
        assert np.array_equal(shot.luma, wanted)


def test_a_new_size_in_mid_stream_is_followed_with_one_note(tmp_path):
    parts = [
        write_video(tmp_path / f"{side}.ts", numbered(12, side, side), format="mpegts", options={"bf": "0"},
                    pts=range(start, start + 12)).read_bytes()
        for side, start in ((48, 0), (96, 12))
    ]  # fmt: skip
    with tcp_server(sender_of(b"".join(parts))) as port:
        shots, odd = shots_of(f"tcp://127.0.0.1:{port}?read_timeout=2", 22)
    assert [shot.luma.shape for shot in shots] == [(48, 48)] * 12 + [(96, 96)] * 10
    assert odd == [("format", "its pictures are now 96x96 yuv420p, were 48x48 yuv420p; followed")]


def test_a_device_that_sends_eight_bits_where_y16_was_asked_is_refused(tmp_path):
    """There is no device here: the opener stands for one, and for a driver that took another format."""
    path, asked = write_video(tmp_path / "a.mkv", numbered(3), codec="ffv1"), []

    def opener(file, **options):
        asked.append((file, options["format"], options["options"]["input_format"]))
        return av.open(str(path))

    with pytest.raises(SourceRefusedError, match=r"/dev/video7: sends yuv420p of 8 bits where fmt=Y16 was asked for; "):
        shots_of("v4l2:/dev/video7?fmt=Y16&size=64x48&fps=9", opener=opener)
    assert asked == [("/dev/video7", "v4l2", "gray16le")]


def test_a_device_that_sends_y16_as_asked_is_read(tmp_path):
    frames = [gray(np.full((48, 64), 14000 + number, np.uint16), "gray16le") for number in range(3)]
    path = write_video(tmp_path / "a.mkv", frames, codec="ffv1")
    with Capture(parse_address("v4l2:/dev/video7?fmt=Y16"), opener=lambda *_, **__: av.open(str(path))) as capture:
        assert [int(next(capture.shots()).luma[0, 0]) for _ in range(1)] == [14000]


def test_a_device_that_is_not_there_is_told():
    said, _ = lost("v4l2:/dev/video97?fmt=Y16")
    assert said.startswith("/dev/video97: no such device; is the camera plugged in?")


def test_decoding_adds_no_frame_of_delay(tmp_path):
    path = write_video(tmp_path / "a.ts", numbered(9), format="mpegts", options={"bf": "0"})
    with Capture(parse_address("tcp://127.0.0.1:1"), opener=lambda *_, **__: av.open(str(path))) as capture:
        context = capture._stream.codec_context
        assert (context.thread_type, context.thread_count) == (ThreadType.SLICE, 1)
        assert context.flags & Flags.low_delay


def test_connecting_and_probing_share_one_deadline():
    now = [0.0]
    deadline = Deadline(5.0, lambda: now[0])
    assert float(deadline) == 5.0
    now[0] = 3.0
    assert float(deadline) == 2.0
    assert not deadline.is_over
    now[0] = 9.0
    assert 0 < float(deadline) <= 0.001
    assert deadline.is_over
