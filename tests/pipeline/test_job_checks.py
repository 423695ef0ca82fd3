"""What a job refuses before it writes, and what it tells before the first frame."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.frames import InputError
from pipeline.job import Job, run_job
from pipeline.sync import SyncPolicy
from pipeline.video_source import VideoSource
from tests.pipeline.fakes import VisFuser
from tests.pipeline.media import gray, noise, numbered, write_video


@pytest.fixture
def video(tmp_path):
    return str(write_video(tmp_path / "a.mp4", numbered(20)))


def opened(job):
    told = []
    run_job(job, VisFuser(), on_open=told.append)
    return told[0]


def test_two_images_of_one_name_are_not_lost_in_silence(tmp_path):
    for folder in ("ir/a", "ir/b", "vis/a", "vis/b"):
        (tmp_path / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / "0.png"), noise(4, 4))
    with pytest.raises(InputError, match="two images of one name"):
        run_job(Job(f"{tmp_path}/ir/**/*.png", f"{tmp_path}/vis/**/*.png", tmp_path / "out"), VisFuser())


def test_many_frames_into_one_image_are_refused_before_the_first(tmp_path, video):
    with pytest.raises(InputError, match="holds 20 frames"):
        run_job(Job(video, video, tmp_path / "out.png"), VisFuser())
    assert not (tmp_path / "out.png").exists()
    run_job(Job(video, video, tmp_path / "out.png", limit=1), VisFuser())
    assert (tmp_path / "out.png").exists()


def test_a_limit_past_every_integer_is_no_limit(tmp_path, video):
    result = run_job(Job(video, video, tmp_path / "out.mp4", limit=10**30), VisFuser())
    assert result.stats.frames == 20


@pytest.mark.parametrize("offset", [1e300, float("nan"), float("inf")])
def test_an_offset_is_within_what_clocks_show(tmp_path, video, offset):
    with pytest.raises(InputError, match="--offset"):
        run_job(Job(video, video, tmp_path / "out.mp4", SyncPolicy(offset)), VisFuser())


def test_no_more_frames_are_expected_than_there_are(tmp_path, video):
    assert opened(Job(video, video, tmp_path / "out.mp4", start=0.2, end=99.0)).expected == 15


def test_a_rate_is_told_of_videos_only(tmp_path, video):
    assert "25 frames/s" in str(opened(Job(video, video, tmp_path / "out.mp4")))
    assert "frames/s" not in str(opened(Job(video, video, tmp_path / "out")))


def test_a_given_rate_is_for_what_tells_none(video):
    """`--rate 50` beside a folder of images must not change what a video of 25 says of itself."""
    with VideoSource(Path(video), rate=Fraction(50)) as source:
        assert source.info.rate == 25


def test_gray_is_never_tagged_as_rgb(tmp_path):
    """FFmpeg gives gray PNG matrix 0; libsvtav1 and libvpx-vp9 refused it, others passed the wrong tag on."""
    path = write_video(tmp_path / "a.mov", (gray(noise(48, 64, k)) for k in range(3)), codec="png")
    with VideoSource(path) as source:
        assert source.info.colour.matrix != 0
        assert np.array_equal(next(source.frames()).luma, noise(48, 64))
