"""The page in a real browser: Debian's Chromium without a window, driven by Playwright."""

from __future__ import annotations

import base64
import os
import shutil
import time
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra `live` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from pipeline.preview.server import open_preview  # noqa: E402
from tests.pipeline.preview.fake_line import FakeLine, FakePanel  # noqa: E402

TOKEN = "correct-horse-battery"
DEADLINE = 30.0
"""s that anything may take before a test fails; nothing here is about speed."""
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: apt-get install chromium")
        pytest.skip("no chromium: apt-get install chromium, or set CHROMIUM to a browser")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@contextmanager
def running(address="127.0.0.1:0", **options):
    """A line at work, and its page."""
    line = FakeLine(panel=FakePanel())
    with open_preview(address, line.hub, **options) as preview:
        line.start()
        try:
            yield line, preview
        finally:
            line.close()


@pytest.fixture(scope="module")
def run():
    with running() as made:
        yield made


@pytest.fixture
def page(browser, run):
    """The page on a desktop, with its first pictures; an error in its script fails the test."""
    with opened(browser, run[1].url) as made:
        until(lambda: shown(made) > 3)
        yield made
    run[0].hub.panel.change(view="fused", divider=None, nudge=(0, 0), agc="percentile", palette="white hot")


@contextmanager
def opened(browser, url, size=(1280, 800), **options):
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page, errors = context.new_page(), []
    page.set_default_timeout(DEADLINE * 1000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    assert errors == []


def until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def shown(page):
    return int(page.evaluate("Number(document.getElementById('picture').dataset.shown ?? 0)"))


def pixels(page, canvas="picture"):
    """(H, W, 3) uint8 of what is drawn."""
    url = page.evaluate(f"document.getElementById('{canvas}').toDataURL('image/png')")
    return cv2.imdecode(np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)


def after_more(page, count=3):
    """The picture once so many more have been drawn."""
    seen = shown(page)
    until(lambda: shown(page) >= seen + count)
    return pixels(page)


def apart(one, other):
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_the_picture_moves(page):
    picture = page.locator("#picture")
    first = picture.screenshot()
    after_more(page, 10)
    assert picture.screenshot() != first
    assert not page.is_visible("#veil")
    assert page.text_content("#state-word") == "fusing"


def test_the_switch_changes_the_picture_for_all(page, run):
    found = {}
    for view in ("fused", "ir", "vis"):
        page.click(f"[data-view={view}]")
        until(lambda view=view: run[0].hub.panel.controls.view == view)
        found[view] = after_more(page)
        assert page.get_attribute(f"[data-view={view}]", "aria-checked") == "true"
    assert apart(found["ir"], found["vis"]) > 20
    assert apart(found["fused"], found["vis"]) < apart(found["ir"], found["vis"])
    assert found["ir"].max(2).tolist() == found["ir"].min(2).tolist()  # white hot is gray; VIS has colours
    assert apart(found["vis"].max(2), found["vis"].min(2)) > 1


def test_the_charts_fill_and_the_sources_are_told(page):
    for name in ("fps", "latency", "skew", "drops"):
        until(lambda name=name: int(page.get_attribute(f"#{name}-chart", "data-samples") or 0) >= 3)
        assert len(np.unique(pixels(page, f"{name}-chart").reshape(-1, 3), axis=0)) > 3, name
    assert page.text_content("#latency-now") == "62 ms"
    cards = page.locator(".source")
    assert cards.count() == 2
    assert "rtsp://***@10.0.0.12:554/thermal" in cards.first.text_content()
    assert "16 bit" in cards.first.text_content()


def test_the_divider_is_dragged_and_shows_ir_and_vis_beside_the_view(page, run):
    panel = run[0].hub.panel
    page.click("#divide")
    until(lambda: panel.controls.divider == 0.5)
    box = page.locator("#frame").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    for share in (0.45, 0.4, 0.35, 0.3):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * 0.5)
    page.mouse.up()
    until(lambda: panel.controls.divider == pytest.approx(0.3, abs=0.02))
    divided = after_more(page, 6)
    panel.change(divider=None)
    alone = {}
    for view in ("ir", "vis"):
        panel.change(view=view)
        alone[view] = after_more(page, 6)
    left, right = int(320 * 0.1), int(320 * 0.6)
    assert apart(divided[:80, :left], alone["ir"][:80, :left]) < 6  # sky: nothing moves there
    assert apart(divided[:80, :left], alone["vis"][:80, :left]) > 12
    assert apart(divided[:80, right:], alone["vis"][:80, right:]) < 6
    assert apart(divided[:80, right:], alone["ir"][:80, right:]) > 12


def test_settings_reach_the_run(page, run):
    panel = run[0].hub.panel
    until(lambda: page.get_attribute("#fps-chart", "data-samples"))
    page.select_option("#palette", "ironbow")
    for _ in range(3):
        page.click("[aria-label=right]")
    page.click("[aria-label=up]")
    page.select_option("#agc", "fixed")
    polls = int(page.get_attribute("#fps-chart", "data-samples"))
    until(lambda: int(page.get_attribute("#fps-chart", "data-samples")) > polls)  # which must not undo the choice
    page.fill("#low", "7000")
    page.fill("#high", "9000")
    page.locator("#high").blur()
    page.locator("#weight").evaluate("e => { e.value = 0.25; e.dispatchEvent(new Event('input')); }")
    until(lambda: panel.controls.weight == 0.25)
    assert panel.controls.nudge == (3.0, -1.0)
    assert panel.controls.palette == "ironbow"
    assert panel.controls.agc == "fixed:7000,9000"


def test_a_refusal_of_the_run_is_told(page):
    page.click("#record")
    page.wait_for_selector("#toast.shown")
    assert "there is no --record" in page.text_content("#toast")
    until(lambda: page.get_attribute("#record", "aria-pressed") == "false")


def test_a_snapshot_is_downloaded(page):
    with page.expect_download() as download:
        page.click("#snapshot")
    assert download.value.suggested_filename.endswith(".png")
    with open(download.value.path(), "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_the_token_is_asked_for_refused_and_accepted(browser):
    with running("0.0.0.0:0", token=TOKEN) as (_, preview):
        bare = f"http://127.0.0.1:{preview.port}/"
        with opened(browser, bare) as page:
            page.wait_for_selector("#login[open]")
            page.fill("#token", "not-the-token-at-all")
            page.press("#token", "Enter")
            page.wait_for_selector("#refused", state="visible")
            assert shown(page) == 0
            page.fill("#token", TOKEN)
            page.click("#login button")
            until(lambda: shown(page) > 2)
            assert not page.is_visible("#login")
        with opened(browser, f"{bare}#token={TOKEN}") as page:
            until(lambda: shown(page) > 2)
            assert page.url == bare  # the token stays in no history
            page.click("[data-view=ir]")
            until(lambda: preview.hub.panel.controls.view == "ir")
        with opened(browser, f"{bare}#token=stale-token-of-yesterday") as page:
            page.wait_for_selector("#login[open]")


@pytest.mark.parametrize("size", [(390, 844), (320, 568), (768, 1024), (1920, 1080)])
def test_nothing_is_wider_than_the_screen(browser, run, size):
    with opened(browser, run[1].url, size, has_touch=size[0] < 800) as page:
        until(lambda: shown(page) > 2 and page.locator(".source").count() == 2)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        picture, views = page.locator("#picture").bounding_box(), page.locator("#views").bounding_box()
        assert picture["width"] >= min(size[0], 700) * 0.6
        assert picture["y"] < 120
        assert views["y"] + views["height"] <= size[1]  # the switch is on the first screen
        assert views["x"] >= 0
        assert views["x"] + views["width"] <= size[0]


def test_a_run_that_ends_is_told_and_one_that_starts_again_is_found(browser):
    with running() as (_, preview), opened(browser, preview.url) as page:
        until(lambda: shown(page) > 2)
        preview.close()
        until(lambda: page.text_content("#state-word") == "no connection")
        assert page.is_visible("#veil")
        seen = shown(page)
        with running(f"127.0.0.1:{preview.port}") as (line, _):
            until(lambda: shown(page) > seen + 2)
            page.click("[data-view=hot]")  # with the new run's token
            until(lambda: line.hub.panel.controls.view == "hot")
