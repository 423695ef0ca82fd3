"""CUDA graphs by ctypes, on a driver that a C compiler makes on the spot."""

import ctypes

import pytest

from engines.device import DeviceError
from engines.graph import CudaGraph
from tests.engines.cuda.host_pycuda import host_driver

STREAM = 0x7F12_3456_7890
"""As large as a pointer is: the driver refuses what was cut to an int."""
RECORDED = "cuStreamBeginCapture_v2 cuStreamEndCapture cuGraphInstantiateWithFlags cuGraphDestroy "


@pytest.fixture
def driver(tmp_path):
    """A driver of this test's own, and where it lies."""
    library = host_driver(tmp_path)
    loaded = ctypes.CDLL(str(library))
    loaded.fake_notes.restype = loaded.fake_held.restype = ctypes.c_char_p
    loaded.path = str(library)
    return loaded


def notes(driver):
    return driver.fake_notes().decode()


def held(driver):
    words = driver.fake_held().decode().split()
    return {name: int(count) for name, count in zip(words[::2], words[1::2], strict=True) if count != "0"}


def test_a_body_is_recorded_once_and_launched_often(driver):
    seen = []
    graph = CudaGraph(STREAM, lambda: seen.append(notes(driver)), driver.path)
    assert seen == ["cuStreamBeginCapture_v2 "]
    assert notes(driver) == RECORDED
    for _ in range(3):
        graph.launch(STREAM)
    assert notes(driver) == RECORDED + 3 * "cuGraphLaunch "
    assert held(driver) == {"executables": 1}
    graph.close()
    graph.close()
    assert held(driver) == {}
    with pytest.raises(ValueError, match="this graph is closed"):
        graph.launch(STREAM)


def test_a_body_that_fails_leaves_no_recording_behind(driver):
    with pytest.raises(ZeroDivisionError):
        CudaGraph(STREAM, lambda: 1 / 0, driver.path)
    assert notes(driver) == "cuStreamBeginCapture_v2 cuStreamEndCapture cuGraphDestroy "
    assert held(driver) == {}
    CudaGraph(STREAM, lambda: None, driver.path).close()


def test_a_body_that_broke_the_recording_fails_as_itself(driver):
    driver.fake_fail(b"cuStreamEndCapture", 901)
    with pytest.raises(ZeroDivisionError):
        CudaGraph(STREAM, lambda: 1 / 0, driver.path)
    assert held(driver) == {}


@pytest.mark.parametrize("name", ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"])
def test_a_driver_that_refuses_is_told_by_name(driver, name):
    driver.fake_fail(name.encode(), 719)
    with pytest.raises(DeviceError, match=rf"^{name}: CUDA_ERROR_LAUNCH_FAILED; run it again, [^\n]+$"):
        CudaGraph(STREAM, lambda: None, driver.path)
    assert held(driver) == {}


def test_a_launch_that_fails_is_told_and_an_unknown_error_by_its_number(driver):
    graph = CudaGraph(STREAM, lambda: None, driver.path)
    driver.fake_fail(b"cuGraphLaunch", 12345)
    with pytest.raises(DeviceError, match=r"^cuGraphLaunch: error 12345; "):
        graph.launch(STREAM)
    driver.fake_fail(b"cuGraphExecDestroy", 719)
    graph.close()


def test_a_driver_that_is_missing_or_old_is_told(tmp_path):
    with pytest.raises(DeviceError, match=r"CUDA graphs: .*; they need an NVIDIA driver of CUDA 11\.4 or later"):
        CudaGraph(STREAM, lambda: None, str(tmp_path / "none.so"))
    with pytest.raises(DeviceError, match=r"cuStreamBeginCapture_v2.*; they need"):
        CudaGraph(STREAM, lambda: None, "libc.so.6")
