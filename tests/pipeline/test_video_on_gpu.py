"""Decoded, fused and encoded on a real GPU: the pictures of the host. Skipped without one; REQUIRE_GPU=1 fails then."""

import os
from dataclasses import replace

import numpy as np
import pytest

from engines.base import BackendError, open_fuser
from pipeline import hardware
from pipeline.job import run_job
from pipeline.sink import SinkSettings
from tests.pipeline.sink_media import read_planes, read_times
from tests.pipeline.test_hwaccel import both_ways, clip, job_of

pytestmark = pytest.mark.gpu
SIZE = 240, 320


@pytest.fixture
def fuser():
    for backend in ("tensorrt", "torch"):
        try:
            opened = open_fuser("jcae", backend=backend)
        except BackendError as error:
            reason = str(error)
            continue
        yield opened
        opened.close()
        return
    pytest.fail(reason) if os.environ.get("REQUIRE_GPU") == "1" else pytest.skip(reason)


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
def test_frames_of_nvdec_are_those_of_the_host(tmp_path, fuser, full_range):
    if hardware.nvdec() != hardware.USABLE:
        pytest.skip(f"NVDEC: {hardware.nvdec()}")
    pair = [clip(tmp_path / f"{k}.mp4", seed=k, size=SIZE, crf=4, count=20, full_range=full_range) for k in (1, 2)]
    told = both_ways(job_of(pair, tmp_path), fuser)  # without loss, which NVENC cannot
    assert told == ["hwaccel: the output is encoded on the host (h264_nvenc has no quality 0)"]


@pytest.mark.parametrize("codec", ["h264_nvenc", "hevc_nvenc"])
def test_nvenc_takes_the_frames_from_the_gpu(tmp_path, fuser, codec):
    if hardware.nvenc(codec) != hardware.USABLE:
        pytest.skip(f"NVENC: {hardware.nvenc(codec)}")
    pair = [clip(tmp_path / f"{k}.mp4", seed=k, size=SIZE, crf=4, count=60) for k in (1, 2)]
    job = job_of(pair, tmp_path, settings=SinkSettings(codec, crf=1, overwrite=True))
    run_job(job, fuser)
    host = replace(job, out=tmp_path / "host.mp4", settings=replace(job.settings, codec="libx264"), hwaccel="off")
    run_job(host, fuser)
    assert read_times(job.out) == read_times(host.out)
    got, wanted = read_planes(job.out), read_planes(host.out)
    assert len(got) == len(wanted) == 60
    for k, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
        off = np.abs(ours[0].astype(int) - theirs[0])
        assert off.mean() < 4, f"frame {k}: max {off.max()}, mean {off.mean():.2f}, {np.bincount(off.ravel())[:16]}"
