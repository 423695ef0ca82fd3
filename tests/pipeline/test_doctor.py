"""What `doctor` says of a GPU: of machines without one, of drivers that a C compiler makes, and of packages broken."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.base import BackendError
from engines.cache import CacheError
from engines.gpu import NoGpuError
from pipeline import doctor, doctor_gpu, hardware
from tests.engines.test_gpu import driver

ROOT = Path(__file__).parents[2]
REPORT = """
import json, sys
from pipeline.doctor import report
rows = list(report())
print(json.dumps([rows, sorted(sys.modules)]))
"""
HEAVY = {"torch", "tensorrt", "tensorrt_rtx", "pycuda", "onnx", "engines.tensorrt", "engines.cuda_device"}


def report_of_a_process(driver_folder, tmp_path):
    """Findings by (section, name) where the loader finds a driver in a folder, and the modules imported."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver_folder), "CROTALUS_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", REPORT], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows, modules = json.loads(done.stdout)
    return {(section, name): finding for section, name, finding in rows}, set(modules)


@pytest.fixture
def no_gpu(monkeypatch):
    def find_gpu():
        raise NoGpuError("the NVIDIA driver sees no GPU")

    monkeypatch.setattr(doctor_gpu, "find_gpu", find_gpu)


def facts():
    return {name: finding for _, name, finding in doctor_gpu.facts()}


def test_a_driver_that_cannot_start_is_the_reason_and_nothing_heavy_is_imported(tmp_path):
    """Whether there is a GPU here or not: the driver that is found first is ours."""
    Path(driver(tmp_path, "-DINIT=100")).rename(tmp_path / "libcuda.so.1")
    found, modules = report_of_a_process(tmp_path, tmp_path)
    reason = "the NVIDIA driver cannot start: error 100 (CUDA_ERROR_NO_DEVICE)"
    assert found["gpu", "GPU"] == f"none: {reason}"
    for backend in ("tensorrt", "rtx", "torch"):
        assert found["backends", backend] == f"not usable: {reason}; install the driver"
    assert found["backends", "cpu"].startswith("usable: ")
    assert found["gpu", "NVDEC (H.264)"] != hardware.USABLE
    assert not modules & HEAVY


def test_a_gpu_is_described_and_each_backend_says_what_it_lacks(tmp_path):
    """The driver tells of a GPU and can do no more, so that no backend opens, each for a reason of its own."""
    Path(driver(tmp_path)).rename(tmp_path / "libcuda.so.1")
    found, _ = report_of_a_process(tmp_path, tmp_path)
    assert found["gpu", "GPU"].startswith("NVIDIA Test, sm_121, 12.0 GiB, driver ")
    for backend in ("tensorrt", "rtx", "torch"):
        assert found["backends", backend].startswith("not usable: ")
        assert "no NVIDIA driver" not in found["backends", backend]


def test_a_backend_that_opens_is_usable_and_closed_again(monkeypatch):
    opened, closed = [], []

    def open_fuser(model, *, backend):
        opened.append(backend)
        if backend == "rtx":
            raise BackendError(
                "backend rtx: version 1.7 runs on sm_86, NVIDIA H200 is sm_90; use --backend torch or cpu"
            )
        if backend == "tensorrt":
            raise SystemError("broken\nin a way of its own")
        return SimpleNamespace(name="jcae on torch 2.11 fp16", close=lambda: closed.append(backend))

    monkeypatch.setattr(doctor_gpu, "open_fuser", open_fuser)
    found = {name: finding for _, name, finding in doctor_gpu.backends()}
    assert opened == ["tensorrt", "rtx", "torch"]
    assert closed == ["torch"]
    assert found == {
        "tensorrt": "not usable: broken in a way of its own",
        "rtx": "not usable: version 1.7 runs on sm_86, NVIDIA H200 is sm_90; use --backend torch or cpu",
        "torch": "usable: jcae on torch 2.11 fp16",
    }


def test_encoders_of_the_same_finding_stand_together(no_gpu, monkeypatch):
    said = {"h264_nvenc": "usable", "hevc_nvenc": "usable"}
    monkeypatch.setattr(hardware, "nvenc", said.__getitem__)
    monkeypatch.setattr(hardware, "nvdec", lambda: "usable")
    assert facts()["NVENC"] == "h264_nvenc hevc_nvenc: usable"
    assert facts()["NVDEC (H.264)"] == "usable"
    said["hevc_nvenc"] = "no capable device"
    assert facts()["NVENC"] == "h264_nvenc: usable; hevc_nvenc: no capable device"


@pytest.mark.parametrize(
    ("nvcc", "ptx", "wanted"),
    [
        (Path("/opt/nvcc"), b"//", "nvcc is /opt/nvcc; PTX for 128 maps is shipped"),
        (None, b"//", "no nvcc; PTX for 128 maps is shipped"),
        (None, None, "no nvcc; the shipped PTX is out of date"),
    ],
)
def test_a_way_to_the_kernels_is_told(no_gpu, monkeypatch, nvcc, ptx, wanted):
    monkeypatch.setattr(doctor_gpu, "find_nvcc", lambda: nvcc)
    monkeypatch.setattr(doctor_gpu, "shipped_ptx", lambda maps: ptx)
    monkeypatch.setattr(doctor_gpu, "version", lambda package: f"{package} version")
    assert facts()["CUDA kernels"] == f"pycuda pycuda version; {wanted}"


def test_built_engines_are_counted_and_weighed(no_gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("CROTALUS_CACHE", str(tmp_path))
    folder = tmp_path / "engines"
    assert facts()["built engines"] == f"none in {folder}"
    assert not folder.exists()  # looking makes nothing
    folder.mkdir()
    for name, size in (("a.plan", 1_400_000), ("b.plan", 600_000), ("a.json", 10), ("lock", 0)):
        (folder / name).write_bytes(bytes(size))
    assert facts()["built engines"] == f"2 (2.0 MB) in {folder}"


def test_a_cache_that_cannot_be_found_is_a_finding(no_gpu, monkeypatch):
    def engine_folder():
        raise CacheError("folder of engines: no home; set CROTALUS_CACHE to a folder of yours")

    monkeypatch.setattr(doctor_gpu, "engine_folder", engine_folder)
    assert facts()["built engines"].startswith("not readable: folder of engines: no home; set")


def test_sections_stand_together():
    order = ["machine", "packages", "video", "models", "methods", "gpu", "backends"]
    sections = [section for section, _, _ in doctor.report()]
    assert list(dict.fromkeys(sections)) == order
    assert sections == sorted(sections, key=order.index)
