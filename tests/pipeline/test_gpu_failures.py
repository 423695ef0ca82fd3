"""A GPU that breaks or is too small in the middle of a run: one line, and a file that plays as far as it went."""

import threading

import av
import numpy as np
import pytest

from engines.base import CrotalusError
from engines.device import DeviceMemoryError
from pipeline.job import Job, run_job
from pipeline.sink import SinkSettings
from pipeline.synthetic import Scene, write_pair
from tests.pipeline.host_video import mean_fuser


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), Scene(width=48, height=32, frames=60, shift=(0, 0), offset=0.0))


def job(pair, tmp_path):
    return Job(str(pair.ir), str(pair.vis), tmp_path / "out.mp4", settings=SinkSettings(threads=1), hwaccel="off")


def test_a_gpu_that_is_lost_ends_the_run_and_the_file_plays(kernel_library, pair, tmp_path):
    shown = []
    fuser = mean_fuser(kernel_library, fails_at=600)
    with pytest.raises(CrotalusError) as error:
        run_job(job(pair, tmp_path), fuser, on_frame=lambda stats, report: shown.append(stats.frames))
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)
    fuser.close()  # of a broken GPU, silently
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert 3 < len(frames) == shown[-1] < 60
    assert all(np.ptp(frame) > 50 for frame in frames)
    assert not [t for t in threading.enumerate() if t.name in ("decode ir", "decode vis", "write")]


def test_a_gpu_that_is_too_small_is_told_before_a_frame_is_written(kernel_library, pair, tmp_path):
    fuser = mean_fuser(kernel_library, total=40_000)
    with pytest.raises(DeviceMemoryError, match=r"48x32.*--size \d+x\d+") as error:
        run_job(job(pair, tmp_path), fuser)
    assert error.value.exit_code == 2
    fuser.close()
