"""FFmpeg in the primary context of a driver without a GPU: which it takes, and that ours is one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import pytest

DRIVER = """
static unsigned flags, context;  /* as the context of a program that asks for nothing: active, without flags */
int cuDevicePrimaryCtxGetState(int device, unsigned *found, int *active) { *found = flags; *active = 1; return 0; }
int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned given) { flags = given; return 0; }
int cuDevicePrimaryCtxRetain(void **found, int device) { *found = &context; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = 512; return 0; }
int cuCtxPopCurrent_v2(void **popped) { *popped = &context; return 0; }
"""
STORY = """
import numpy as np
from av.video.frame import CudaContext, VideoFrame
from engines.dlpack import CUDA, Lent, Tensor
from engines.gpu import flag_primary_context

memory = np.zeros(24 * 256, np.uint8)

def wrapped():
    planes = ((16, 0), (8, 16 * 256))
    lent = [Lent(Tensor(memory.ctypes.data + at, (rows, 16), (256, 1), CUDA, 0, memory)) for rows, at in planes]
    context = CudaContext(device_id=0, primary_ctx=True)
    return VideoFrame.from_dlpack(lent, format="nv12", cuda_context=context).sw_format.name

try:
    print(wrapped())
except OSError as error:
    print(error.strerror)
flag_primary_context()
print(wrapped())
"""


def host_driver(folder):
    """A libcuda.so.1 with all that FFmpeg looks for; what DRIVER does not say does nothing and succeeds."""
    beside = Path(av.__file__).parent.with_name("av.libs")
    libraries = sorted(beside.glob("libavutil*")) if beside.is_dir() else []
    if not libraries:
        pytest.skip("av is not a wheel with FFmpeg in it")
    named = set(re.findall(rb"\0(cu[A-Z]\w+)(?=\0)", libraries[0].read_bytes()))
    rest = {name.decode() for name in named} - set(re.findall(r"int (cu\w+)\(", DRIVER))
    source = DRIVER + "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(rest))
    command = ["gcc", "-w", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / "libcuda.so.1")]
    try:
        subprocess.run(command, input=source.encode(), check=True)
    except FileNotFoundError:
        pytest.skip("no gcc; apt-get install gcc to test CUDA calls without a GPU")


def test_ffmpeg_takes_the_primary_context_once_it_is_flagged(tmp_path):
    """FFmpeg refuses a context made by others without its flag, also long after; `flag_primary_context` sets it."""
    host_driver(tmp_path)
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == ["Operation not supported", "nv12"], done.stderr
