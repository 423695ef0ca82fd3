"""`CudaDevice` on a driver without a GPU: what it hands to pycuda, what it owns, and how it ends.

Told twice: on a stand-in for pycuda, and where pycuda is installed on the real one, in a process whose libcuda is ours.
"""

import gc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from types import ModuleType

import numpy as np
import pytest

from engines import cuda_device, gpu, graph, kernels
from engines.base import BackendError
from engines.cuda_device import CudaDevice
from engines.device import DeviceError, DeviceMemoryError
from engines.launches import Launch
from tests.engines.cuda.host_pycuda import SOURCE, host_driver, host_pycuda

FREE = 1 << 20
"""Bytes of libcuda.c's GPU."""
KERNEL = "crotalus_decide", (3, 1, 1), (128, 1, 1), (0, 0, 0, 4, 0.5, 0.5, 0.5)
BREAKS = "crotalus_decide", (666, 1, 1), (128, 1, 1), (0, 0, 0, 4, 0.5, 0.5, 0.5)


@pytest.fixture
def cuda(tmp_path, monkeypatch):
    """The driver's own view, behind a pycuda of ours."""
    library = host_driver(tmp_path)
    driver = host_pycuda(library)
    package, compiler = ModuleType("pycuda"), ModuleType("pycuda.compiler")
    package.driver, package.compiler, driver.CompileError = driver, compiler, driver.Error
    for name, module in {"pycuda": package, "pycuda.driver": driver, "pycuda.compiler": compiler}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(kernels, "find_nvcc", lambda: None)
    monkeypatch.setattr(cuda_device, "CudaGraph", lambda *given: graph.CudaGraph(*given, str(library)))
    monkeypatch.setattr(cuda_device, "flag_primary_context", lambda: gpu.flag_primary_context(str(library)))
    return driver.cuda


def held(cuda):
    words = cuda.fake_held().decode().split()
    return {name: int(count) for name, count in zip(words[::2], words[1::2], strict=True) if count != "0"}


def test_bytes_go_up_and_come_down(cuda):
    device = CudaDevice(128)
    assert (device.name, device.target, device.memory()) == ("Host GPU", "sm_90", (FREE, FREE))
    address, host, stream, event = device.allocate(1000), device.pinned((3, 10, 20)), device.stream(), device.event()
    assert address % 256 == 0
    assert device.memory() == (FREE - 1000, FREE)
    host[:] = wanted = np.random.default_rng(0).integers(0, 256, host.shape, np.uint8)
    device.upload(address, host[:2], stream)
    device.record(event, stream)
    device.wait(stream, event)
    host[:] = 0
    device.download(host[1:], address, stream)
    device.synchronize(event)
    device.synchronize(stream)
    np.testing.assert_array_equal(host, [np.zeros((10, 20)), *wanted[:2]])
    device.fill(address + 1, 7, 3, stream)
    device.download(host[0], address, stream)
    assert host[0, 0, :5].tolist() == [wanted[0, 0, 0], 7, 7, 7, wanted[0, 0, 4]]
    device.close()


def test_a_stream_waits_for_the_default_one_where_decoders_put_their_copies(cuda):
    device = CudaDevice(128)
    event, stream = device.event(), device.stream()
    device.record(event, device.default_stream())
    device.wait(stream, event)
    device.close()
    assert held(cuda) == {}


def test_the_primary_context_is_made_as_ffmpeg_takes_it(cuda):
    """FFmpeg 8.1 decodes and encodes in a primary context of CU_CTX_SCHED_BLOCKING_SYNC, 4, and in no other."""
    CudaDevice(128).close()
    assert cuda.fake_flags() == 4


def test_a_driver_that_takes_no_flags_costs_only_the_video(cuda, monkeypatch, caplog):
    def refuse():
        raise gpu.NoGpuError("the NVIDIA driver is of before CUDA 11")

    monkeypatch.setattr(cuda_device, "flag_primary_context", refuse)
    with caplog.at_level("INFO", "engines.cuda_device"):
        CudaDevice(128).close()
    assert caplog.messages == ["video on the GPU will be refused: the NVIDIA driver is of before CUDA 11"]


def test_all_is_given_back_once_by_hand_or_by_close(cuda):
    device = CudaDevice(128)
    kept, stream = [(device.allocate(8), device.pinned((4, 4))) for _ in range(3)], device.stream()
    device.event()
    recording = device.capture(stream, lambda: device.run(Launch(*KERNEL), stream))
    recording.launch(stream)
    all_held = {"memory": 3, "pinned": 3, "streams": 1, "events": 1, "modules": 1, "executables": 1}
    assert held(cuda) == all_held
    address, host = kept.pop()
    device.free(address)
    device.unpin(host)
    recording.close()
    recording.close()
    assert held(cuda) == {"memory": 2, "pinned": 2, "streams": 1, "events": 1, "modules": 1}
    device.close()
    device.close()
    assert held(cuda) == {}


def test_close_gives_back_recordings_that_nobody_closed(cuda):
    device = CudaDevice(128)
    stream = device.stream()
    recording = device.capture(stream, lambda: device.run(Launch(*KERNEL), stream))
    device.close()
    assert held(cuda) == {}
    recording.close()


def test_any_thread_may_call_and_none_is_left_with_a_context(cuda):
    device, stream = CudaDevice(128), []

    def work():
        stream.append(device.stream())
        device.fill(device.allocate(8), 1, 8, stream[0])
        device.pinned((3,))

    for task in (work, lambda: device.capture(stream[0], lambda: device.run(Launch(*KERNEL), stream[0])), device.close):
        thread = threading.Thread(target=task)
        thread.start()
        thread.join()
    assert held(cuda) == {}


def test_memory_that_is_not_there_is_told_in_numbers_and_harms_nothing(cuda):
    device = CudaDevice(128)
    with pytest.raises(DeviceMemoryError, match=r"^buffer: 1\.0 GB of GPU memory needed, 1\.0 MB free; close") as told:
        device.allocate(1 << 30)
    assert (told.value.needed, told.value.free, told.value.exit_code) == (1 << 30, FREE, 2)
    device.free(device.allocate(FREE))
    device.close()
    assert held(cuda) == {}


def test_a_gpu_that_fails_says_so_in_every_call_and_closes_in_peace(cuda, capfd):
    noted = use_a_gpu_that_fails(cuda)
    gc.collect()
    freed = set(re.findall(r"\w*(?:Free|Destroy|Unload)\w*", cuda.fake_notes()[noted:].decode()))
    assert freed <= {"cuGraphExecDestroy"}, "pycuda would print a warning for each"
    assert capfd.readouterr() == ("", "")


def use_a_gpu_that_fails(cuda):
    """How much was noted before it was closed."""
    device = CudaDevice(128)
    address, host, stream, event = device.allocate(8), device.pinned((3,)), device.stream(), device.event()
    recording = device.capture(stream, lambda: device.run(Launch(*KERNEL), stream))
    device.run(Launch(*BREAKS), stream)
    calls = [
        lambda: device.synchronize(stream),
        lambda: device.synchronize(event),
        lambda: device.upload(address, host, stream),
        lambda: device.download(host, address, stream),
        lambda: device.allocate(4),
        lambda: device.run(Launch(*KERNEL), stream),
        lambda: recording.launch(stream),
        lambda: device.capture(stream, lambda: None),
        device.memory,
        device.stream,
    ]
    for call in calls:
        with pytest.raises(
            DeviceError, match=r"^[^\n]+; run it again, update the NVIDIA driver, or use --backend cpu$"
        ):
            call()
    noted = len(cuda.fake_notes())
    recording.close()
    device.free(address)
    device.unpin(host)
    device.close()
    device.close()
    return noted


@pytest.mark.parametrize("meet", ["synchronize", "launch", "close"])
def test_whoever_meets_the_failure_first_nothing_is_freed(cuda, meet):
    device = CudaDevice(128)
    address, stream = device.allocate(8), device.stream()
    recording = device.capture(stream, lambda: device.run(Launch(*KERNEL), stream))
    device.run(Launch(*BREAKS), stream)
    if meet == "synchronize":
        with pytest.raises(DeviceError):
            device.synchronize(stream)
    elif meet == "launch":
        with pytest.raises(DeviceError):
            recording.launch(stream)
    noted = len(cuda.fake_notes())
    if meet != "close":
        device.free(address)
    device.close()
    assert not re.search("cuMemFree|cuStreamDestroy|cuModuleUnload", cuda.fake_notes()[noted:].decode())


def test_a_closed_device_says_so(cuda):
    device = CudaDevice(128)
    device.close()
    with pytest.raises(ValueError, match="this device is closed"):
        device.allocate(8)


def test_a_driver_without_a_gpu_is_a_backend_error(cuda, monkeypatch):
    driver = sys.modules["pycuda.driver"]

    def init():
        raise driver.Error("cuInit failed: no CUDA-capable device is detected")

    monkeypatch.setattr(driver, "init", init)
    with pytest.raises(BackendError, match=r"^CUDA: cuInit failed: no CUDA-capable device.*nvidia-smi"):
        CudaDevice(128)


def test_the_same_holds_for_pycuda_itself(tmp_path):
    """pycuda as it is installed, with our driver for CUDA's: it says which name or argument it does not know."""
    found = importlib.util.find_spec("pycuda._driver") if importlib.util.find_spec("pycuda") else None
    if found is None or shutil.which("nm") is None:
        pytest.skip("pycuda is not installed, or nm; pip install 'crotalus[cuda]' to test what it is handed")
    asked = subprocess.run(["nm", "-D", "--undefined-only", found.origin], capture_output=True, text=True, check=True)
    named = set(re.findall(r"\b(cu[A-Z]\w+)", asked.stdout)) - set(re.findall(r"(?m)^int (\w+)\(", SOURCE.read_text()))
    rest = tmp_path / "rest.c"
    rest.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in named))  # CUDA_ERROR_NOT_SUPPORTED
    host_driver(tmp_path, rest, name="libcuda.so.1")
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "pycuda warns"
    assert done.stdout.split("\n")[:3] == [
        "Host GPU sm_90",
        "[1, 2, 3, 1, 2, 3]",
        "buffer: 1.0 GB of GPU memory needed",
    ]
    assert "cuStreamSynchronize failed: unspecified launch failure; run it again" in done.stdout
    assert done.stdout.endswith(
        "flags 4\nmemory 0 pinned 0 streams 0 events 0 modules 0 graphs 0 executables 0 depth 0\nend\n"
    )


STORY = """
import ctypes
from engines import kernels
from engines.cuda_device import CudaDevice
from engines.device import DeviceError, DeviceMemoryError
from engines.launches import Launch

kernels.find_nvcc = lambda: None
cuda = ctypes.CDLL("libcuda.so.1")
cuda.fake_held.restype = ctypes.c_char_p
cuda.fake_need_context()
device = CudaDevice(128)
print(device.name, device.target)
address, host, stream, event = device.allocate(6), device.pinned((2, 3)), device.stream(), device.event()
host[0] = 1, 2, 3
device.fill(address, 9, 6, stream)
device.upload(address, host[0], stream)
device.record(event, stream)
device.wait(stream, event)
device.download(host[1], address, stream)
device.synchronize(event)
print(host.ravel().tolist())
try:
    device.allocate(1 << 30)
except DeviceMemoryError as error:
    print(str(error).split(",")[0])
launch = Launch("crotalus_decide", (3, 1, 1), (128, 1, 1), (address, 0, address, 4, 0.5, 0.5, 0.5))
recording = device.capture(stream, lambda: device.run(launch, stream))
recording.launch(stream)
device.unpin(host)
device.close()
held = cuda.fake_held().decode()
device = CudaDevice(128)
address, host, stream, event = device.allocate(6), device.pinned((2, 3)), device.stream(), device.event()
device.run(Launch("crotalus_decide", (666, 1, 1), *[(128, 1, 1), (address, 0, address, 4, 0.5, 0.5, 0.5)]), stream)
try:
    device.synchronize(stream)
except DeviceError as error:
    print(error)
device.free(address)
device.close()
print("flags", cuda.fake_flags())
print(held)
print("end")
"""
