"""The routes: what they answer, what they change, what they refuse."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra `live` is not installed")

from pipeline.live.status import LiveStatus
from pipeline.preview.app import ASSETS
from pipeline.preview.guard import HEADERS, MAX_BODY, PUBLIC
from pipeline.preview.server import open_preview
from tests.pipeline.live.senders import until
from tests.pipeline.preview.client import Client
from tests.pipeline.preview.fake_line import FakeLine, FakePanel

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def line():
    made = FakeLine(panel=FakePanel())
    made.step()
    return made


@pytest.fixture(scope="module")
def local_server(line):
    with open_preview("127.0.0.1:0", line.hub) as preview:
        yield preview


@pytest.fixture(scope="module")
def network_server():
    with open_preview("0.0.0.0:0", FakeLine().hub, token=TOKEN) as preview:
        yield preview


@pytest.fixture
def local(local_server):
    return Client(local_server.port)


@pytest.fixture
def network(network_server):
    return Client(network_server.port)


@pytest.fixture
def owner(local):
    """On loopback, after the page has been opened: the browser holds the token."""
    assert local.get("/").status_code == 200
    return local


def test_every_answer_carries_the_guards_headers(local):
    for answer in (local.get("/"), local.get("/stats.json"), local.get("/nothing"), local.post("/controls"),
                   local.get("/", headers={"host": "evil"}), local.get("/metrics")):  # fmt: skip
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS, answer
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


def test_the_page_is_whole_and_loads_nothing_from_elsewhere(local):
    for path, (_, kind) in ASSETS.items():
        answer = local.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        links = re.findall(r"""(?:src|href|from|fetch\(|url\()\s*=?\s*["']([^"']+)""", answer.text)
        assert set(links) <= {*ASSETS, "/stream", "/session"}, (path, links)
        assert not re.search(r"<style|\sstyle=|\son\w+=|innerHTML|eval\(", answer.text)  # the policy would block them
    assert set(ASSETS) <= PUBLIC


def test_the_token_reaches_a_loopback_browser_with_the_page_only(local):
    assert "set-cookie" not in local.get("/app.js").headers
    assert "HttpOnly" in local.get("/").headers["set-cookie"]


def test_the_bare_page_gives_no_token_away_on_the_network(network):
    answer = network.get("/")
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)


def test_the_token_becomes_a_cookie_once_it_is_handed_in(network):
    assert network.get("/stats.json").status_code == 401
    for wrong in ({"token": "wrong"}, {"token": None}, {}, {"token": [TOKEN]}, {"token": "\ud800"}):
        assert network.post("/session", content=json.dumps(wrong)).status_code == 401
    assert network.get("/stats.json").status_code == 401
    assert network.post("/session", json={"token": TOKEN}).status_code == 204
    assert network.get("/stats.json").status_code == 200
    assert network.post("/controls", json={}).status_code == 200


def test_the_numbers_are_json_with_what_may_be_chosen(local, line):
    stats = local.get("/stats.json").json()
    assert stats["status"]["cameras"]["ir"]["label"] == "rtsp://***@10.0.0.12:554/thermal"
    assert stats["choices"]["view"][0] == "fused"
    assert "ironbow" in stats["choices"]["palette"]
    assert stats["controls"]["divider"] is None
    assert (stats["viewers"], stats["viewer_limit"], stats["published"]) == (0, 16, line.hub.published)


def test_the_numbers_of_a_run_just_begun_are_json_too(local, line, monkeypatch):
    monkeypatch.setattr(line.hub, "status", lambda: LiveStatus({}))
    stats = local.get("/stats.json").json()
    assert (stats["status"]["fps"], stats["missing"]) == (None, ["ir", "vis"])
    assert b"fusion_output_fps NaN" in local.get("/metrics").content


def test_controls_change_and_come_back_whole(owner, line):
    answer = owner.post("/controls", json={"view": "edges", "nudge": [2, -1.5]})
    assert answer.json()["view"] == "edges"
    assert line.hub.panel.controls.nudge == (2.0, -1.5)
    owner.post("/controls", json={"view": "fused", "nudge": [0, 0]})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"view": "sideways"}, "view 'sideways': not known; use one of fused, ir"),
        ({"weight": 2}, "weight 2: give a number from 0 to 1"),
        ({"volume": 1}, "volume: no such control; use one of view"),
        ({"recording": True}, "there is no --record"),
    ],
)
def test_a_wrong_control_is_one_line_and_changes_nothing(owner, line, changes, words):
    before = line.hub.panel.controls
    answer = owner.post("/controls", json={"view": "ir"} | changes)
    assert (answer.status_code, answer.text.count("\n")) == (400, 0)
    assert words in answer.text
    assert line.hub.panel.controls == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 4000])
def test_a_body_that_is_no_json_object_is_refused(owner, body):
    assert owner.post("/controls", content=body).status_code == 400


def test_a_body_is_limited_with_and_without_its_length(owner):
    def chunks():
        for _ in range(100):
            yield b" " * (MAX_BODY // 50)

    assert owner.post("/controls", content=b" " * (MAX_BODY + 1)).status_code == 413
    assert owner.post("/controls", content=chunks()).status_code == 413


def test_changes_need_the_token_and_a_post(local, line):
    before = line.hub.panel.controls
    for path in ("/controls", "/snapshot"):
        assert local.post(path, json={"view": "ir"}).status_code == 401
    assert local.get("/").status_code == 200
    for path in ("/controls", "/snapshot", "/session"):
        assert local.get(path).status_code == 405
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert local.request(method, path).status_code == 405
    assert line.hub.panel.controls == before


def test_a_forged_origin_is_refused_though_the_browser_brings_the_token(owner, line):
    before = line.hub.panel.controls
    answer = owner.post("/controls", json={"view": "ir"}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    assert line.hub.panel.controls == before


def test_a_snapshot_is_a_download_of_what_is_seen(owner, line):
    answer = owner.post("/snapshot")
    assert answer.headers["content-type"] == "image/png"
    assert re.fullmatch(r'attachment; filename="crotalus-[0-9-]+\.png"', answer.headers["content-disposition"])
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (240, 320, 3)


def test_without_a_picture_there_is_no_snapshot(owner, line, monkeypatch):
    monkeypatch.setattr(line.hub, "snapshot", lambda: None)
    answer = owner.post("/snapshot")
    assert (answer.status_code, answer.text) == (503, "there is no picture yet")


@pytest.mark.parametrize("path", ["/nothing", "/page/index.html", "/app.js/", "/static/app.js", "/index.html"])
def test_any_other_path_is_404(local, path):
    assert local.get(path).status_code == 404


def test_ready_only_while_both_sources_are_fresh(local, line, monkeypatch):
    assert local.get("/readyz").status_code == 200
    good = line.status
    now = line.hub.clock()
    for changes in ({"state": "retrying"}, {"last_frame": now - 60}, {"last_frame": None}):
        status = good()
        cameras = status.cameras | {"ir": replace(status.cameras["ir"], **changes)}
        monkeypatch.setattr(line.hub, "status", lambda cameras=cameras, status=status: replace(status, cameras=cameras))
        answer = local.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "no fresh frame: ir\n")
        assert local.get("/healthz").text == "ok\n"


def test_an_error_inside_is_500_without_its_text(local, line, monkeypatch, caplog):
    def broken():
        raise RuntimeError("rtsp://admin:secret@host")

    monkeypatch.setattr(line.hub, "status", broken)
    answer = local.get("/stats.json")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    until(lambda: "RuntimeError" in caplog.text)  # logged by the server's thread, after the answer
    assert "secret" not in caplog.text
