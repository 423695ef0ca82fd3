"""A supervised camera: its states, what it does when a source fails, and what it leaves behind."""

import gc
import itertools
import math
import os
import queue
import random
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from pipeline.live import retry
from pipeline.live.address import parse_address
from pipeline.live.camera import MAX_STUCK, Camera
from pipeline.live.newest import OVERTAKEN, Newest
from pipeline.live.playback import Epoch
from pipeline.live.retry import Retry
from pipeline.live.shots import Shot, SourceLostError, SourceRefusedError
from tests.pipeline.live.proxy import Proxy
from tests.pipeline.live.senders import free_port, mjpeg_server, sender_of, silent, tcp_server, until
from tests.pipeline.media import number_of, numbered, ramp, write_video

PICTURE = np.zeros((48, 64), np.uint8)
CAMERA = parse_address("rtsp://adm:s3cr3t@cam:554/s")


class FakeTime:
    """A clock that moves when the test says so; who waits on it, waits until then."""

    def __init__(self):
        self.now = 1000.0
        self.asked = []

    def __call__(self):
        return self.now

    def wait(self, event, seconds):
        until_then = self.now + seconds
        self.asked.append((event, seconds))
        while not event.wait(0.002):
            if self.now >= until_then:
                return False
        return True


class Script:
    """A source that does as it is told: `tell` a Shot, an error to raise, None to end, or a call to make."""

    def __init__(self):
        self.orders, self.opened = queue.Queue(), 0
        self.is_timed = True

    def tell(self, *orders):
        for order in orders:
            self.orders.put(order)

    @contextmanager
    def open(self, address, *, clock, epoch, wait, on_odd):
        self.opened += 1
        self.clock, self.on_odd = clock, on_odd
        order = self.orders.get()
        if isinstance(order, Exception):
            raise order
        assert order == "open"
        yield self

    def shots(self):
        while (order := self.orders.get()) is not None:
            if isinstance(order, Exception):
                raise order
            yield Shot(PICTURE, None, self.clock(), order)


@pytest.fixture
def script():
    script = Script()
    yield script
    script.tell(*[SourceLostError("over")] * 10)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def fake(script, lines):
    """(camera, time) of a scripted source."""
    now = FakeTime()
    camera = Camera("ir", CAMERA, clock=now, wait=now.wait, on_note=lines.append, open_source=script.open,
                    chance=random.Random(0))  # fmt: skip
    camera.start()
    yield camera, now
    camera.close()


def state_is(camera, state):
    until(lambda: camera.status().state == state)


def test_it_is_connecting_then_running_then_stalled_then_running_again(fake, script):
    camera, now = fake
    state_is(camera, "connecting")
    until(lambda: camera.status().reason == "opening rtsp://***@cam:554/s")
    script.tell("open", 0.0)
    state_is(camera, "running")
    assert camera.status().reason == ""
    now.now += 3.9
    time.sleep(0.05)  # the supervisor may look now: it must find nothing
    assert camera.status().state == "running"
    now.now += 0.2
    state_is(camera, "stalled")
    assert camera.status().reason == "no picture for 4.1 s"
    script.tell(4.1)
    state_is(camera, "running")


def test_a_stream_that_stops_is_left_behind_after_the_read_deadline_and_opened_again(fake, script, lines):
    camera, now = fake
    script.tell("open", 0.0)
    state_is(camera, "running")
    now.now += 10.5
    state_is(camera, "retrying")
    assert "cam:554: nothing came for 10 s; next try in 0.5 s" in camera.status().reason
    assert camera.left_behind == 1
    script.tell(SourceLostError("over"))  # FFmpeg lets go of the one left behind
    until(lambda: camera.stuck == 0)
    now.now += 0.6
    script.tell("open", 0.0)
    state_is(camera, "running")
    assert camera.status().reconnects == 1
    assert lines[-1] == "ir: cam:554: back after 0.6 s"


def test_a_source_stuck_in_opening_is_left_behind_after_the_open_deadline(fake, script):
    camera, now = fake
    until(lambda: script.opened == 1)
    now.now += 5.5
    state_is(camera, "retrying")
    assert "cam:554: no answer within 5 s" in camera.status().reason
    assert camera.stuck == 1


def test_what_a_reader_left_behind_still_gives_is_not_taken(fake, script):
    camera, now = fake
    script.tell("open", 0.0)
    state_is(camera, "running")
    now.now += 10.5
    state_is(camera, "retrying")
    script.tell(1.0)
    until(lambda: camera.stuck == 0)
    assert camera.status().frames == 1
    assert camera.status().state == "retrying"


def test_stuck_readers_do_not_pile_up(fake, script):
    camera, now = fake
    for number in range(MAX_STUCK):
        until(lambda number=number: script.opened == number + 1)
        now.now += 5.5
        state_is(camera, "retrying")
        now.now += 2.5  # past the longest of the first three waits
    for _ in range(20):
        now.now += 40
        time.sleep(0.01)
    assert (script.opened, camera.stuck) == (MAX_STUCK, MAX_STUCK)
    script.tell(SourceLostError("over"))
    until(lambda: camera.stuck < MAX_STUCK or script.opened > MAX_STUCK)
    now.now += 40
    until(lambda: script.opened == MAX_STUCK + 1)


def waits_of(camera, now):
    """s that the camera has waited between attempts."""
    return [seconds for event, seconds in now.asked if event is camera._closing]


def test_it_is_tried_again_for_ever_at_growing_distances(fake, script, lines):
    camera, now = fake
    for number in range(12):
        script.tell(SourceLostError("cam:554: no route"))
        until(lambda number=number: script.opened == number + 1)
        until(lambda number=number: len(waits_of(camera, now)) == number + 1)
        now.now += 33.1
    wanted = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]
    assert waits_of(camera, now) == pytest.approx(wanted, rel=retry.JITTER)
    assert [line.split(";")[0] for line in lines[:3]] == ["ir: cam:554: no route"] * 3
    assert all("still failing since" in line for line in lines[3:])
    assert len(lines) - 3 <= 12 * 33.1 / 60


def test_after_three_failures_there_is_one_line_a_minute_and_the_waits_are_jittered():
    policy, now, told, waits = Retry(random.Random(1)), 0.0, [], []
    for _ in range(200):
        waits.append(policy.failed(now, 0.0))
        line = policy.line(now, "no route", waits[-1])
        told += [(now, line)] if line else []
        now += waits[-1]
    assert [line for _, line in told[:3]] == [f"no route; next try in {wait:.1f} s" for wait in waits[:3]]
    quiet = [now for now, _ in told[2:]]
    assert all(60 <= after - before <= 60 + 33 for before, after in itertools.pairwise(quiet))
    assert told[-1][1] == ("still failing since 96 min ago, 199 tries: no route")
    assert {round(wait / 30, 1) for wait in waits[7:]} == {0.9, 1.0, 1.1}
    assert max(waits) <= 33


@pytest.mark.parametrize(("lasted", "wait"), [(10.0, 0.5), (9.9, 4.0)])
def test_only_a_connection_that_lasted_starts_the_waits_anew(lasted, wait):
    policy = Retry(random.Random(1))
    for _ in range(3):
        policy.failed(0.0, 0.0)
    assert policy.failed(1.0, lasted) == pytest.approx(wait, rel=0.1)


def test_what_trying_again_would_not_help_stops_the_camera(fake, script, lines):
    camera, _ = fake
    script.tell(SourceRefusedError("cam:554: sends gray of 8 bits where fmt=Y16 was asked for"))
    state_is(camera, "stopped")
    assert camera.status().reason == "cam:554: sends gray of 8 bits where fmt=Y16 was asked for"
    assert lines == ["ir: cam:554: sends gray of 8 bits where fmt=Y16 was asked for"]
    assert camera.take(60) is None  # at once


def test_what_has_run_once_is_tried_again_even_if_it_is_refused(fake, script):
    camera, _ = fake
    script.tell("open", 0.0, SourceRefusedError("cam:554: sends gray of 8 bits where fmt=Y16 was asked for"))
    state_is(camera, "retrying")
    assert "8 bits where fmt=Y16 was asked for; next try in" in camera.status().reason


def test_an_error_nobody_foresaw_costs_one_attempt_and_tells_no_password(fake, script, lines):
    camera, _ = fake
    script.tell(RuntimeError("opening rtsp://adm:s3cr3t@cam:554/s with s3cr3t"))
    state_is(camera, "retrying")
    said = camera.status().reason + "".join(lines) + repr(camera.status())
    assert "RuntimeError: opening rtsp://***@cam:554/s with ***" in said
    assert "s3cr3t" not in said


def test_odd_things_are_told_once_a_kind_and_counted(fake, script, lines):
    camera, now = fake
    script.tell("open", 0.0, 1.0)
    for stamp in (5000.0, 5000.0, 9000.0, 9000.0, 8999.8, 8999.9):
        now.now += 0.04
        script.tell(stamp)
        until(script.orders.empty)
    until(lambda: camera.status().drops.get("out of order") == 2)
    kinds = [note.split(";")[0].split(" by ")[0] for note in camera.status().notes]
    assert sorted(kinds) == ["frames out of order", "frames that repeat a time stamp", "its time stamps jumped"]
    assert len(lines) == 3
    assert all(line.startswith("ir: cam:554: ") for line in lines)


def newest(count, *, take_every=0):
    """A queue after some pictures a second apart, one taken after every so many."""
    line, taken = Newest("pts", lambda kind, text: None), []
    for number in range(count):
        line.put(Shot(PICTURE, None, 1000.0 + number, float(number)))
        if take_every and number % take_every == take_every - 1:
            taken.append(line.take(0))
    return line, taken


def test_the_newest_two_wait_and_every_other_is_counted_as_overtaken():
    line, _ = newest(10)
    assert [line.take(0).frame.index for _ in range(2)] == [8, 9]
    assert line.take(0) is None
    assert line.account(1010.0)["drops"] == {OVERTAKEN: 8}


def test_taken_and_overtaken_add_up_to_all_frames_and_no_latency_grows():
    line, taken = newest(300, take_every=3)  # a consumer three times too slow
    account = line.account(1300.0)
    assert account["frames"] == 300
    assert len(taken) + account["drops"][OVERTAKEN] + 2 - 1 == 300
    ages = [3 * (number + 1) - 1 - frame.frame.index for number, frame in enumerate(taken)]
    assert max(ages) <= 1


def test_frames_carry_rising_microseconds_that_are_their_captured_time():
    line, _ = newest(2)
    frames = [line.take(0), line.take(0)]
    for number, one in enumerate(frames):
        assert one.frame.time == one.captured == one.frame.pts / 1e6 == pytest.approx(1000.0 + number)
        assert one.arrived == 1000.0 + number


def test_the_rate_is_measured_over_the_last_seconds():
    line = Newest("pts", lambda kind, text: None)
    assert math.isnan(line.account(0.0)["fps"])
    for number in range(100):
        line.put(Shot(PICTURE, None, number / 25, number / 25))
    assert line.account(4.0)["fps"] == pytest.approx(25)
    assert math.isnan(line.account(60.0)["fps"])


def test_a_source_without_time_stamps_of_its_own_is_timed_by_arrival(fake, script):
    camera, now = fake
    script.is_timed = False
    script.tell("open", 0.0)
    state_is(camera, "running")
    now.now += 2.0
    script.tell(0.04)
    until(lambda: camera.status().frames == 2)
    assert [camera.take(0).captured for _ in range(2)] == [1000.0, 1002.0]
    assert camera.status().notes == ("no time stamps of its own; timed by arrivals",)


def test_closing_takes_less_than_a_second_even_if_ffmpeg_is_stuck():
    with tcp_server(silent) as port:
        camera = Camera("ir", parse_address(f"rtsp://127.0.0.1:{port}/s#open_timeout=1.5"), on_note=lambda line: None)
        camera.start()
        until(lambda: camera.status().state == "connecting" and "opening" in camera.status().reason)
        time.sleep(0.1)
        began = time.monotonic()
        camera.close()
        took = time.monotonic() - began
        assert took < 1.5  # 1 s, and what a busy machine adds
        assert camera.status().state == "stopped"
        assert camera.left_behind == 1
        until(lambda: camera.stuck == 0)


def test_a_file_that_ends_stops_its_camera_and_all_its_frames_came(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(40))
    camera = Camera("vis", parse_address(f"file:{path}?realtime=0"), on_note=lambda line: None)
    camera.start()
    numbers = []
    while (one := camera.take(20)) is not None:
        numbers.append(number_of(one.frame.luma))
    assert numbers == list(range(40))
    state_is(camera, "stopped")
    assert camera.status().reason == "end of the file"
    assert camera.status().drops == {}
    camera.close()


def test_a_file_that_fails_in_a_way_nobody_foresaw_is_not_tried_for_ever():
    script, lines = Script(), []
    script.tell("open", ZeroDivisionError("never"))
    camera = Camera("ir", parse_address("file:a.mp4"), open_source=script.open, on_note=lines.append)
    camera.start()
    state_is(camera, "stopped")
    assert lines == ["ir: a.mp4: ZeroDivisionError: never"]
    assert script.opened == 1


def test_two_looping_files_of_one_epoch_play_the_same_frame_at_the_same_time(tmp_path):
    path, epoch = write_video(tmp_path / "a.mp4", numbered(10)), Epoch(time.monotonic())
    cameras = [
        Camera(name, parse_address(f"file:{path}?loop=1"), epoch=epoch, on_note=lambda line: None) for name in "ab"
    ]
    seen = {}
    for camera in cameras:
        camera.start()
    for camera in cameras:
        for _ in range(15):
            one = camera.take(20)
            seen.setdefault(round((one.captured - epoch.at) * 25), set()).add(number_of(one.frame.luma))
        camera.close()
    assert all(numbers == {place % 10} for place, numbers in seen.items())


def footprint():
    """Threads, file descriptors, resident MiB."""
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return threading.active_count(), len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_hundred_reconnects_leave_no_thread_no_descriptor_and_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "FIRST", 0.002)
    monkeypatch.setattr(retry, "LONGEST", 0.002)
    data = write_video(tmp_path / "a.ts", numbered(12), format="mpegts", options={"bf": "0"}).read_bytes()
    with tcp_server(sender_of(data, then_wait=False)) as port, Proxy(port) as proxy:
        camera = Camera("ir", parse_address(f"tcp://127.0.0.1:{proxy.port}"), on_note=lambda line: None)
        camera.start()

        def reach(count):
            def is_reached():
                camera.take(0)  # whatever there is: on a fast machine there is always something
                return camera.status().reconnects >= count

            until(is_reached, 120)
            proxy.fault = "refuse"  # the wait between two attempts: nothing of a connection is open
            state_is(camera, "retrying")
            until(lambda: not proxy.open_count)
            until(lambda: not [one for one in threading.enumerate() if one.name in ("sender", "ir reader")][1:])
            sizes = footprint()
            proxy.fault = "none"
            return sizes

        before = reach(20)
        after = reach(120)
        camera.close()
    assert abs(after[0] - before[0]) <= 1  # the reader of the attempt under way, and its socket
    assert abs(after[1] - before[1]) <= 2
    assert after[2] - before[2] < 20
    assert camera.status().frames >= 120 * 12
    assert camera.left_behind == 0


def test_time_stamps_that_wrap_and_begin_anew_with_each_connection_keep_rising(tmp_path):
    start = 2**33 // 3600 - 10  # MPEG-TS counts 33 bits at 90 kHz: the wrap comes in mid-stream
    path = write_video(
        tmp_path / "a.ts", numbered(30), format="mpegts", options={"bf": "0"}, pts=range(start, start + 30)
    )
    with tcp_server(sender_of(path.read_bytes(), parts=30, pause=0.01, then_wait=False)) as port:
        camera = Camera("ir", parse_address(f"tcp://127.0.0.1:{port}"), on_note=lambda line: None)
        camera.start()
        taken = []
        until(lambda: (taken.append(camera.take(1)) or camera.status().reconnects) >= 2, 60)
        camera.close()
    times = [one.captured for one in taken if one is not None]
    assert len(times) > 40
    assert all(after > before for before, after in itertools.pairwise(times))
    assert max(after - before for before, after in itertools.pairwise(times)) < 30
    assert not [note for note in camera.status().notes if "jumped" in note]


def test_ffmpegs_words_are_told_again_at_the_second_failure_and_go_nowhere_else(capfd):
    lines = []
    port = free_port(socket.SOCK_STREAM)
    camera = Camera("ir", parse_address(f"rtsp://adm:s3cr3t@127.0.0.1:{port}/s"), on_note=lines.append)
    camera.start()
    until(lambda: len(lines) == 2)
    camera.close()
    assert all("connection refused" in line and "(FFmpeg: Connection to tcp://127.0.0.1" in line for line in lines)
    assert capfd.readouterr() == ("", "")


def test_mjpeg_over_http_runs_as_a_camera():
    with mjpeg_server([ramp(48, 64)]) as port:
        camera = Camera("vis", parse_address(f"http://adm:s3cr3t@127.0.0.1:{port}/mjpg"), on_note=lambda line: None)
        camera.start()
        taken = [camera.take(20) for _ in range(10)]
        assert camera.status().notes == ("no time stamps of its own; timed by arrivals",)
        camera.close()
    assert all(after.captured > before.captured for before, after in itertools.pairwise(taken))
    assert camera.status().label == f"http://***@127.0.0.1:{port}/mjpg"
