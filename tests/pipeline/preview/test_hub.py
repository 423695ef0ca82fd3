"""The hub: never makes the line wait, encodes once and only for somebody, newest wins."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from pipeline.frames import Frame
from pipeline.live.status import Panel
from pipeline.preview import hub as hub_module
from pipeline.preview.hub import Hub
from pipeline.preview.press import Press
from pipeline.preview.tally import SKEWS, Tally


def frame_of(level, size=(24, 32)):
    return Frame(np.full(size, level, np.uint8), None, level, float(level), level)


def level_of(picture):
    return round(float(cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).mean()))


@pytest.fixture
def hub():
    made = Hub(Panel())
    yield made
    made.close()


class Viewer:
    """Sits in a hub and notes each waking."""

    def __init__(self, hub):
        self.hub, self.woken = hub, threading.Semaphore(0)
        self.seat = hub.watch(self.woken.release)

    def next(self):
        assert self.woken.acquire(timeout=10)
        return self.hub.picture

    def leave(self):
        self.hub.leave(self.seat)


def test_nothing_is_encoded_while_nobody_watches(hub):
    for level in range(100):
        hub.publish(frame_of(level), 0.0)
    assert (hub.published, hub.encoded, hub.picture, hub.is_watched) == (100, 0, None, False)
    assert not [thread for thread in threading.enumerate() if thread.name == "preview pictures"]


def test_who_begins_to_watch_sees_the_newest_frame_at_once(hub):
    for level in (10, 20, 30):
        hub.publish(frame_of(level), 0.0)
    assert level_of(Viewer(hub).next()) == 30
    assert hub.encoded == 1


def test_who_comes_later_sees_no_picture_of_long_ago(hub, monkeypatch):
    viewer = Viewer(hub)
    hub.publish(frame_of(10), 0.0)
    assert level_of(viewer.next()) == 10
    viewer.leave()
    hub.publish(frame_of(200), 0.0)
    gate, jpeg = threading.Event(), Press.jpeg
    monkeypatch.setattr(Press, "jpeg", lambda self, shot: gate.wait(10) and jpeg(self, shot))
    later = Viewer(hub)
    assert hub.picture is None
    gate.set()
    assert level_of(later.next()) == 200


def test_nothing_is_encoded_any_more_once_all_have_left(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "PERIOD", 0.0)
    viewer = Viewer(hub)
    hub.publish(frame_of(10), 0.0)
    viewer.next()
    viewer.leave()
    for level in range(20):
        hub.publish(frame_of(level), 0.0)
        time.sleep(0.005)  # for a thread that ought to be idle
    assert hub.encoded == 1


def test_all_viewers_share_one_encoding(hub):
    viewers = [Viewer(hub) for _ in range(16)]
    hub.publish(frame_of(50), 7.5)
    pictures = {id(viewer.next()) for viewer in viewers}
    assert (len(pictures), hub.encoded, hub.viewers, hub.picture.captured) == (1, 1, 16, 7.5)


def test_the_newest_frame_wins_while_the_encoder_is_busy(hub, monkeypatch):
    gate, begun, levels = threading.Event(), threading.Event(), []

    def slow(self, shot):
        levels.append(int(shot.frame.luma[0, 0]))
        begun.set()
        assert gate.wait(10)
        return b"jpeg"

    monkeypatch.setattr(Press, "jpeg", slow)
    viewer = Viewer(hub)
    hub.publish(frame_of(1), 0.0)
    assert begun.wait(10)
    for level in range(2, 100):  # returns though the encoder stands still
        hub.publish(frame_of(level), 0.0)
    assert (hub.published, levels) == (99, [1])
    gate.set()
    while viewer.next().number < 2:
        pass
    assert levels == [1, 99]


def test_the_divider_of_the_moment_is_that_of_the_frame(hub):
    hub.panel.change(divider=0.5)
    hub.publish(frame_of(100, (24, 96)), 0.0, (frame_of(20, (24, 96)), frame_of(220, (24, 96))))
    hub.panel.change(divider=None)
    picture = cv2.imdecode(np.frombuffer(hub.snapshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert [picture[12, x] for x in (5, 48, 90)] == [20, 100, 220]


def test_a_snapshot_needs_no_viewer_and_leaves_the_thread_unstarted(hub):
    assert hub.snapshot() is None
    hub.publish(frame_of(33), 0.0)
    assert hub.snapshot()[:4] == b"\x89PNG"
    assert hub.encoded == 0


def test_a_frame_that_cannot_be_shown_ends_nothing_and_is_told_once(hub, caplog):
    viewer = Viewer(hub)
    bad = Frame(np.zeros((8, 8), np.uint16), None, 0, 0.0, 0)
    told = threading.Event()
    hub_module.log.addFilter(handle := lambda record: told.set() or True)
    for _ in range(3):
        hub.publish(bad, 0.0)
    assert told.wait(10)
    hub_module.log.removeFilter(handle)
    hub.publish(frame_of(80), 0.0)
    assert level_of(viewer.next()) == 80
    assert len([record for record in caplog.records if "only 8 bits" in record.message]) == 1


def test_closing_wakes_the_viewers_and_ends_the_thread(hub):
    viewer = Viewer(hub)
    hub.close()
    hub.close()
    viewer.next()
    assert hub.is_closed
    assert not [thread for thread in threading.enumerate() if thread.name == "preview pictures"]
    hub.publish(frame_of(1), 0.0)  # the line may still be at its last frame
    hub.leave(viewer.seat)
    hub.leave(viewer.seat)


def test_buckets_hold_what_is_at_most_their_bound():
    tally = Tally((0.1, 0.2))
    for value in (0.05, 0.1, 0.15, 0.2, 0.3, float("nan"), float("inf")):
        tally.add(value)
    buckets, total = tally.buckets()
    assert buckets == [("0.1", 2.0), ("0.2", 4.0), ("+Inf", 5.0)]
    assert total == pytest.approx(0.8)


def test_observing_fills_a_tally_each(hub):
    hub.observe(latency=0.06, skew=-0.004, stages={"fuse": 0.03, "align": 0.001})
    hub.observe(latency=0.07, skew=0.004, stages={"fuse": 0.04})
    assert (sum(hub.latency.counts), sum(hub.stages["fuse"].counts), sum(hub.stages["align"].counts)) == (2, 2, 1)
    assert hub.skew.counts[SKEWS.index(-0.002)] == 1
    assert hub.skew.counts[SKEWS.index(0.005)] == 1
