"""FFmpeg's program as a rival: what it is told, how it is timed, and that its failures are lines."""

import threading
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.bench import ffmpeg
from pipeline.bench.ffmpeg import Blend, blended, find_blend, why_not
from pipeline.job import Job
from pipeline.sink import SinkSettings
from pipeline.synthetic import Scene, write_pair
from pipeline.video_source import VideoSource

RATE = Fraction(25)


def program(folder, text):
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def job_in(folder):
    return Job("a.mp4", "b.mp4", folder / "out.mp4", settings=SinkSettings(preset="fast"), threads=3)


def test_a_machine_without_the_program_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_blend() == "ffmpeg blend: no program ffmpeg here; install it to have it measured beside"


def test_the_program_and_its_version_are_found(monkeypatch, tmp_path):
    path = program(tmp_path, "echo ffmpeg version 7.1-x Copyright; echo more")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_blend() == Blend(path, "7.1-x")
    program(tmp_path, "exit 3")
    assert "does not run (exit code 3)" in find_blend()


def test_it_encodes_as_we_do_and_blends_luma_alone(tmp_path):
    told = " ".join(Blend("ffmpeg", "7").command(job_in(tmp_path), (64, 48), Fraction(30000, 1001), 23))
    for part in ("-i file:b.mp4 -i file:a.mp4", "blend=c0_mode=average", "-preset fast", "-crf 20", "-threads 3",
                 "-c:v libx264", "-frames:v 23", "-g 60", "scale=64:48", "-pix_fmt yuv420p"):  # fmt: skip
        assert part in told


def test_its_start_and_warm_up_are_taken_out(monkeypatch, tmp_path):
    """0.5 s for 3 pairs, 2.5 s for 13: ten pairs take 2 s."""
    clock = iter([10.0, 10.5, 20.0, 22.5])
    monkeypatch.setattr(ffmpeg.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(ffmpeg, "_run", lambda command, stop: None)
    assert blended(Blend("ffmpeg", "7"), job_in(tmp_path), (64, 48), RATE, 10, 3, threading.Event()) == 5


def test_its_last_words_are_the_reason(tmp_path):
    blend = Blend(program(tmp_path, "echo first >&2; echo 'No such filter: blend' >&2; exit 1"), "0")
    found = blended(blend, job_in(tmp_path), (64, 48), RATE, 10, 3, threading.Event())
    assert found == "ffmpeg blend: No such filter: blend"


def test_a_stop_ends_it(tmp_path):
    stop = threading.Event()
    stop.set()
    assert (
        blended(Blend(program(tmp_path, "exec sleep 600"), "0"), job_in(tmp_path), (64, 48), RATE, 10, 3, stop) is None
    )


def test_folders_of_images_are_not_for_it(tmp_path):
    assert "takes two video files" in why_not(Job(str(tmp_path), "b.mp4", tmp_path / "out.mp4"))


def test_its_picture_is_plain_mean(tmp_path):
    """Luma by the same formula, to the level that limited range rounds and to what the encoder loses."""
    blend = find_blend()
    if isinstance(blend, str):
        pytest.skip(blend)
    made = write_pair(tmp_path, Scene(width=64, height=48, frames=6, offset=0.0))
    job = Job(str(made.ir), str(made.vis), tmp_path / "out.mp4", settings=SinkSettings(crf=1))
    fps = blended(blend, job, (64, 48), RATE, 3, 3, threading.Event())
    assert isinstance(fps, float) or "too few" in fps
    with VideoSource(made.ir) as ir, VideoSource(made.vis) as vis, VideoSource(Path(job.out)) as out:
        for a, b, fused in zip(ir.frames(), vis.frames(), out.frames(), strict=True):
            error = cv2.absdiff(cv2.addWeighted(a.luma, 0.5, b.luma, 0.5, 0), fused.luma)
            assert (error.max(), error.mean() < 1) <= (6, True), np.bincount(error.ravel())
            assert np.abs(fused.chroma[0].astype(int) - b.chroma[0]).max() <= 6
