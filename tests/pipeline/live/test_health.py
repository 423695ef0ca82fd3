"""Shutter pauses, stuck, black and constant pictures: when they are said, how often, and that they end."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.frames import Frame
from pipeline.live.eye import Eye
from pipeline.live.health import PictureHealth
from pipeline.live.status import CameraStatus, LiveFrame

PERIOD = 0.04


class Camera:
    """Feeds pictures at 25 a second and collects what is said of them."""

    def __init__(self, bits=16, **options):
        self.health, self.time, self.notes = PictureHealth(**options), 0.0, []
        self._rng, self._bits = np.random.default_rng(0), bits

    def scene(self):
        kind, top = (np.uint16, 16384) if self._bits == 16 else (np.uint8, 256)
        return self._rng.integers(0, top, (60, 80)).astype(kind)

    def show(self, picture=None, times=1):
        """Show one picture so many times, or as many different scenes; returns what was said of them."""
        said = []
        for _ in range(times):
            said += self.health.look(self.scene() if picture is None else picture.copy(), self.time)
            self.time += PERIOD
        self.notes += said
        return said


def test_a_camera_in_order_is_silent():
    camera = Camera()
    camera.show(times=500)
    assert camera.notes == []
    assert camera.health.troubles == ()


def test_a_shutter_pause_is_counted_and_said_once():
    camera = Camera()
    for _ in range(5):
        camera.show(times=20)
        camera.show(camera.scene(), times=15)
    camera.show()
    assert camera.notes == ["stood still for 0.6 s, as while a shutter corrects the sensor; now counted"]
    assert camera.health.pauses == 5
    assert camera.health.longest_pause == pytest.approx(15 * PERIOD)
    assert camera.health.troubles == ()


def test_a_visible_camera_has_no_shutter_that_corrects_but_can_be_stuck():
    camera = Camera(8, has_shutter=False)
    camera.show(camera.scene(), times=45)
    camera.show(times=20)
    camera.show(np.full((60, 80), 9, np.uint8), times=20)
    camera.show(times=20)
    assert (camera.notes, camera.health.pauses) == ([], 0)
    camera.show(camera.scene(), times=60)
    assert camera.health.troubles == ("stuck",)


def test_a_recording_that_stands_still_is_not_called_broken_but_black_is_still_told():
    camera = Camera(8, is_recording=True)
    camera.show(camera.scene(), times=300)
    camera.show(times=20)
    camera.show(camera.scene(), times=45)
    camera.show(times=20)
    assert (camera.notes, camera.health.pauses) == ([], 0)
    camera.show(np.zeros((60, 80), np.uint8), times=60)
    assert camera.health.troubles == ("black",)


@pytest.mark.parametrize(
    ("name", "label", "count"), [("ir", "rtsp://cam/s", 1), ("vis", "rtsp://cam/s", 0), ("ir", "file:a.mp4", 0)]
)
def test_only_a_live_infrared_camera_is_said_to_pause(name, label, count):
    said, rng = [], np.random.default_rng(0)
    scenes = [rng.integers(0, 255, (60, 80)).astype(np.uint8) for _ in range(3)]
    pictures = [scenes[0]] + [scenes[1]] * 20 + [scenes[2]]
    frames = [LiveFrame(Frame(picture, None, k, k / 25, k), k / 25, k / 25) for k, picture in enumerate(pictures)]
    camera = SimpleNamespace(start=None, close=None, take=lambda timeout: frames.pop(0),
                             status=lambda: CameraStatus(name, label))  # fmt: skip
    eye = Eye(camera, name, said.append)
    for _ in pictures:
        eye.take(0)
    assert len(said) == len(eye.status().notes) == count


def test_doubled_frames_are_no_pause():
    camera = Camera()
    for _ in range(30):
        camera.show(camera.scene(), times=2)
    assert (camera.notes, camera.health.pauses) == ([], 0)


def test_a_stuck_picture_is_said_after_so_many_frames_and_its_end_with_how_long_it_was():
    camera = Camera(stuck_frames=50)
    stuck = camera.scene()
    assert camera.show(stuck, times=50) == []  # the first is no repetition
    assert [note[:26] for note in camera.show(stuck)] == ["the same picture again and"]
    assert camera.show(stuck, times=200) == []
    assert camera.health.troubles == ("stuck",)
    assert camera.show() == [f"moves again after {251 * PERIOD:.1f} s"]
    assert (camera.health.troubles, camera.health.pauses) == ((), 0)


def test_a_pause_that_shows_the_shutter_counts_as_one():
    camera = Camera()
    rng = np.random.default_rng(1)
    for _ in range(4):
        camera.show(times=20)
        for _ in range(20):
            camera.show((8000 + rng.integers(0, 3, (60, 80))).astype(np.uint16))
    camera.show(times=20)
    assert camera.notes == ["stood still for 0.8 s, as while a shutter corrects the sensor; now counted"]
    assert (camera.health.pauses, camera.health.troubles) == (4, ())


def test_one_pixel_that_changes_is_motion():
    camera = Camera(stuck_frames=10)
    picture = camera.scene()
    for k in range(100):
        picture[37, 41] = k
        camera.show(picture)
    assert camera.notes == []


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("level", "words"), [(0, "is black"), (3, "is black"), (120, "one even level")])
def test_pictures_without_contrast_are_told_apart_despite_noise_and_dead_pixels(bits, level, words):
    camera = Camera(bits, flat_frames=10)
    rng = np.random.default_rng(1)

    def flat():
        picture = (level + rng.integers(0, 3, (60, 80))).astype(np.uint16 if bits == 16 else np.uint8)
        picture[::12, ::16] = 255  # 25 dead pixels of 4800
        return picture

    camera.show(times=30)
    for _ in range(50):
        assert camera.show(flat()) == []
    said = [note for _ in range(50) for note in camera.show(flat())]
    assert len(said) == 1
    assert words in said[0]
    assert camera.show(times=9) == []
    assert camera.show() == ["shows a scene again after 4.4 s"]
    assert camera.health.troubles == ()


def test_a_black_picture_is_not_called_stuck_as_well():
    camera = Camera(8)
    camera.show(times=5)
    camera.show(np.zeros((60, 80), np.uint8), times=200)
    assert len(camera.notes) == 1
    assert camera.health.troubles == ("black",)


def test_a_loose_cable_does_not_fill_the_log():
    camera = Camera(8)
    for _ in range(10):  # 10 times 70 frames: 28 s
        camera.show(np.zeros((60, 80), np.uint8), times=55)
        camera.show(times=15)
    assert len(camera.notes) == 2  # the first time it came and went
    camera.time += 60
    assert "(9 more times since it was last said)" in camera.show(np.zeros((60, 80), np.uint8), times=55)[0]


def test_a_change_of_size_or_kind_is_motion():
    camera = Camera(stuck_frames=3)
    for size in ((60, 80), (30, 40), (60, 80), (31, 41)):
        camera.show(np.arange(size[0] * size[1], dtype=np.uint16).reshape(size))
        camera.show(np.arange(size[0] * size[1]).astype(np.uint8).reshape(size))
    assert camera.notes == []


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1)])
def test_the_smallest_pictures_are_looked_at_without_fail(size):
    camera = Camera()
    camera.show(np.zeros(size, np.uint16), times=60)
    assert camera.health.troubles == ("black",)
