"""The server on real sockets: many viewers, stalled ones, half-open ones, limits, and an end without remains."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra `live` is not installed")

from pipeline.frames import Frame, InputError
from pipeline.live.status import Panel
from pipeline.preview import bind
from pipeline.preview.bind import parse_bind
from pipeline.preview.connection import Connection
from pipeline.preview.hub import Hub
from pipeline.preview.server import open_preview
from pipeline.preview.stream import Stream
from tests.pipeline.media import noise

DEADLINE = 20.0
"""s that anything may take before a test fails; nothing here is about speed."""


def until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def frame_of(level, size=(48, 64)):
    return Frame(np.full(size, level, np.uint8), None, 0, 0.0, 0)


@pytest.fixture
def preview():
    with open_preview("127.0.0.1:0", Hub(Panel()), viewers=64) as made:
        yield made


@contextmanager
def connected(preview, data=b"", *, buffer=None):
    client = socket.socket()
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(DEADLINE)
    client.connect(("127.0.0.1", preview.port))
    with client:
        client.sendall(data)
        yield client


def get(path, port, extra=""):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{extra}\r\n".encode()


def ask(preview, path, extra="Connection: close\r\n"):
    with connected(preview, get(path, preview.port, extra)) as client:
        return b"".join(iter(lambda: client.recv(65536), b""))


def status(answer):
    return int(answer.split(b" ", 2)[1])


def is_cut_off(client):
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


class Reader:
    """A good viewer: takes each picture as it comes."""

    def __init__(self, client):
        self.file = client.makefile("rb")
        self.level, self.pictures = None, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while line := self.file.readline():
                if length := re.match(rb"Content-Length: (\d+)", line):
                    self.file.readline()
                    jpeg = np.frombuffer(self.file.read(int(length[1])), np.uint8)
                    self.level = round(float(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE).mean()))
                    self.pictures += 1
        except (OSError, ValueError, cv2.error):
            pass  # cut off in the middle of a picture


def test_50_viewers_of_which_30_do_not_read_leave_the_line_alone(preview):
    hub = preview.hub
    with ExitStack() as stack:
        watch = get("/stream", preview.port)
        readers = [Reader(stack.enter_context(connected(preview, watch))) for _ in range(20)]
        for _ in range(15):
            stack.enter_context(connected(preview, watch, buffer=4096))  # asks and never reads
        for _ in range(15):
            stack.enter_context(connected(preview, b"GET /stream HT"))  # never finishes asking
        until(lambda: hub.viewers == 35)
        frames = [Frame(noise(240, 320, seed), None, 0, 0.0, 0) for seed in range(4)]  # 60 kB each as JPEG
        over = threading.Event()

        def publish():
            for k in range(2000):
                hub.publish(frames[k % 4], 0.0)
            hub.publish(frame_of(200), 0.0)
            over.set()

        threading.Thread(target=publish, daemon=True).start()
        assert over.wait(DEADLINE), "publishing waits for a viewer"
        assert hub.published == 2001
        until(lambda: all(reader.level == 200 for reader in readers))  # each good viewer has the newest
        assert hub.encoded < hub.published


@pytest.mark.parametrize("by", ["us", "the system"])
def test_a_viewer_that_takes_nothing_is_let_go(monkeypatch, by):
    monkeypatch.setattr(Stream, "patience", 0.2 if by == "us" else 1000.0)
    monkeypatch.setattr(bind, "GONE_MS", 1_000_000 if by == "us" else 200)
    if by == "the system" and not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("only Linux drops who acknowledges nothing")
    frame = Frame(noise(480, 640), None, 0, 0.0, 0)  # 300 kB as JPEG
    with ExitStack() as stack:
        preview = stack.enter_context(open_preview("127.0.0.1:0", Hub(Panel())))
        client = stack.enter_context(connected(preview, get("/stream", preview.port), buffer=4096))
        until(lambda: preview.hub.viewers == 1)

        def is_gone():
            preview.hub.publish(frame, 0.0)
            return preview.hub.viewers == 0

        until(is_gone)
        until(lambda: not preview._server.server_state.connections)  # though the client has read nothing
        assert is_cut_off(client)


def test_a_viewer_that_leaves_is_noticed_though_no_picture_comes(preview):
    with connected(preview, get("/stream", preview.port)):
        until(lambda: preview.hub.is_watched)
    until(lambda: not preview.hub.is_watched)


@pytest.mark.parametrize(
    "said", [b"", b"GET / HT", b"POST /session HTTP/1.1\r\nHost:"], ids=["nothing", "half", "head"]
)
def test_who_says_nothing_whole_is_cut_off(preview, monkeypatch, said):
    monkeypatch.setattr(Connection, "silence", 0.1)
    with connected(preview, said) as client:
        assert is_cut_off(client)
    until(lambda: not preview._server.server_state.connections)


def test_a_viewer_is_not_taken_for_silent(preview, monkeypatch):
    monkeypatch.setattr(Connection, "silence", 0.05)
    with connected(preview, get("/stream", preview.port)) as client:
        reader = Reader(client)
        until(lambda: preview.hub.is_watched)
        until(lambda: len(preview._server.server_state.connections) == 1)
        time.sleep(0.3)  # several looks
        preview.hub.publish(frame_of(77), 0.0)
        until(lambda: reader.level == 77)


def test_connections_beyond_the_limit_are_refused_and_the_others_go_on(preview, monkeypatch):
    monkeypatch.setattr(Connection, "limit", 3)
    monkeypatch.setattr(Connection, "silence", 1000.0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(preview))
        until(lambda: len(preview._server.server_state.connections) == 3)
        with connected(preview) as client:
            assert is_cut_off(client)
    until(lambda: not preview._server.server_state.connections)
    assert status(ask(preview, "/healthz")) == 200


def test_streams_are_limited_and_free_again():
    with open_preview("127.0.0.1:0", Hub(Panel()), viewers=2) as preview, ExitStack() as stack:
        watch = get("/stream", preview.port)
        first = stack.enter_context(connected(preview, watch))
        stack.enter_context(connected(preview, watch))
        until(lambda: preview.hub.viewers == 2)
        answer = ask(preview, "/stream")
        assert status(answer) == 503
        assert answer.endswith(b"2 viewers are watching, which is all")
        first.close()
        until(lambda: preview.hub.viewers == 1)
        Reader(stack.enter_context(connected(preview, watch)))
        until(lambda: preview.hub.viewers == 2)


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/app.js/../server.py",
        "/style.css%00",
        "/page/",
    ],
)
def test_no_path_leads_out(preview, path):
    assert status(ask(preview, path)) == 404


def test_a_token_is_asked_for_on_every_address_but_loopback():
    with open_preview("0.0.0.0:0", Hub(Panel())) as preview:
        token = preview.url.partition("#token=")[2]
        assert len(token) >= 32
        assert status(ask(preview, "/stats.json")) == 401
        assert status(ask(preview, "/stream")) == 401
        bearer = "Connection: close\r\nAuthorization: Bearer "
        assert status(ask(preview, "/stats.json", f"{bearer}{token}\r\n")) == 200
        assert status(ask(preview, "/stats.json", f"{bearer}{token[:-1]}\r\n")) == 401
        assert token not in repr(preview.guard)


def test_on_loopback_the_address_holds_no_token(preview):
    assert preview.url == f"http://127.0.0.1:{preview.port}/"


def test_the_end_leaves_no_thread_no_task_and_no_file_open():
    def threads():
        return {thread.name for thread in threading.enumerate() if thread.is_alive()}

    open_preview("127.0.0.1:0", Hub(Panel())).close()  # what is opened once and for all
    before, files = threads(), len(os.listdir("/proc/self/fd"))
    preview = open_preview("127.0.0.1:0", Hub(Panel()), viewers=64)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(preview, get("/stream", preview.port), buffer=4096)) for _ in range(8)]
        clients += [stack.enter_context(connected(preview, b"GET")) for _ in range(4)]
        until(lambda: preview.hub.viewers == 8)
        frame = Frame(noise(480, 640), None, 0, 0.0, 0)
        for _ in range(20):
            seen = preview.hub.encoded
            preview.hub.publish(frame, 0.0)
            until(lambda seen=seen: preview.hub.encoded > seen)
        preview.close()
        preview.close()
        preview._thread.join(DEADLINE)
        assert not preview._server.server_state.tasks
        assert all(is_cut_off(client) for client in clients)
    assert threads() == before
    assert len(os.listdir("/proc/self/fd")) == files


def test_a_port_in_use_is_one_line(preview):
    words = f"preview 127.0.0.1:{preview.port}: in use by another program; stop that one or choose another port"
    with pytest.raises(InputError, match=f"^{re.escape(words)}$"):
        open_preview(f"127.0.0.1:{preview.port}", Hub(Panel()))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.0.2.1:8080", "not an address of this machine; use one of its own, or 0.0.0.0"),
        ("no.such.host.invalid:80", "no such host; give an address of this machine, or off"),
        ("8080", "not an address; give HOST:PORT, as 127.0.0.1:8080"),
        ("127.0.0.1:70000", "not an address; give HOST:PORT"),
        ("http://127.0.0.1:80/", "not an address; give HOST:PORT"),
        ("127.0.0.1:80\n", None),
    ],
)
def test_an_address_that_cannot_be_had_is_one_line(address, words):
    if words is None:
        assert parse_bind(address) is not None  # blanks around it are forgiven
        return
    with pytest.raises(InputError, match=re.escape(words)) as error:
        open_preview(address, Hub(Panel()))
    assert "\n" not in str(error.value)


def test_off_is_no_address():
    assert parse_bind("off") is parse_bind(" OFF ") is None


def test_without_the_libraries_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "pipeline.preview.connection")
    with pytest.raises(InputError, match=r"needs uvicorn, which is not installed; pip install 'crotalus\[live\]'"):
        open_preview("127.0.0.1:0", Hub(Panel()))


def test_a_short_token_leaves_the_port_free():
    with pytest.raises(InputError, match="preview token"):
        open_preview("127.0.0.1:0", Hub(Panel()), token="short")
