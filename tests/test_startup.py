"""What a run imports: each library costs time before the first frame, so those that a run does not use stay out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.synthetic import Scene, write_pair

ROOT = Path(__file__).parents[1]
OF_OTHERS = (
    "torch", "onnx", "tensorrt", "pycuda", "scipy", "matplotlib", "pandas", "PIL", "sympy", "safetensors", "sporco",
    "ray", "fsspec", "aiohttp", "yaml", "starlette", "uvicorn", "prometheus_client", "asyncio", "multiprocessing",
    "unittest", "training", "pipeline.live.run", "pipeline.live.config", "pipeline.preview", "pipeline.synthetic",
    "pipeline.batch", "pipeline.doctor", "calibration.solve", "calibration.register", "calibration.clock",
)  # fmt: skip
"""Of training, the GPU, live runs, archives and calibration: none of them is needed to fuse two files."""
LOOK = """
import sys, runpy
try:
    runpy.run_path("run_stream.py", run_name="__main__")
except SystemExit as end:
    print("ended", end.code)
print("imported", *sys.modules)
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), Scene(width=64, height=48, frames=3, offset=0.0))


def imported(*arguments):
    """Names of the modules of a process after a run of the command line."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, timeout=120,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert "ended 0\n" in done.stdout, done.stderr
    return set(done.stdout.rpartition("imported ")[2].split())


@pytest.mark.parametrize(
    ("chosen", "needed", "spared"),
    [(("--model", "jcae-lite"), "onnxruntime", ()), (("--method", "mean"), "cv2", ("onnxruntime",))],
)
def test_fusing_a_clip_imports_nothing_that_it_does_not_use(pair, tmp_path, chosen, needed, spared):
    found = imported("fuse", pair.ir, pair.vis, "-o", tmp_path / "out.mp4", *chosen)
    assert needed in found
    assert not {name for name in (*OF_OTHERS, *spared) if name in found}


def test_a_view_without_the_network_opens_none(pair, tmp_path):
    found = imported("fuse", pair.ir, pair.vis, "-o", tmp_path / "out.mp4", "--view", "blend")
    assert "cv2" in found
    assert not {"onnxruntime", *OF_OTHERS} & found
