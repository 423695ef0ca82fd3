"""Which runtime is taken, what is said of the others, and what is not imported on the way."""

import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from engines import backends
from engines.base import BackendError, open_fuser
from engines.device import DeviceMemoryError
from engines.gpu import Gpu, NoGpuError
from engines.model import DEFAULT, LIGHT, ModelError, load_model

ROOT = Path(__file__).parents[2]
H200 = Gpu("NVIDIA H200", "sm_90", 150 << 30, "13.0", "580.65")
NO_DRIVER = "no NVIDIA driver (libcuda.so.1: cannot open shared object file)"
WITHOUT_DRIVER = """
import json, sys
from engines import gpu
from engines.base import open_fuser
gpu.find_gpu.__defaults__ = ("libnothing.so",)
fuser = open_fuser(on_progress=lambda line: print("told", line))
print(json.dumps([fuser.name, sorted(sys.modules)]))
"""


@pytest.fixture
def no_driver(monkeypatch):
    def find_gpu():
        raise NoGpuError(NO_DRIVER)

    monkeypatch.setattr(backends, "find_gpu", find_gpu)


@pytest.fixture
def h200(monkeypatch):
    monkeypatch.setattr(backends, "find_gpu", lambda: H200)


@pytest.fixture
def without_packages(monkeypatch):
    for package in (
        "tensorrt",
        "tensorrt_bindings",
        "tensorrt_rtx",
        "tensorrt_rtx_bindings",
        "pycuda",
        "pycuda.driver",
    ):
        monkeypatch.setitem(sys.modules, package, None)


def opener(monkeypatch, **outcomes):
    """Stands for `_open_gpu`: raises or returns what is given for a backend; the list of those asked."""
    asked = []

    def open_gpu(info, backend, gpu, **options):
        asked.append((backend, options["precision"]))
        if isinstance(outcomes[backend], Exception):
            raise outcomes[backend]
        return outcomes[backend]

    monkeypatch.setattr(backends, "_open_gpu", open_gpu)
    return asked


def test_without_a_driver_auto_takes_the_cpu_at_once_and_imports_nothing_of_gpus():
    done = subprocess.run([sys.executable, "-c", WITHOUT_DRIVER], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told, line = done.stdout.splitlines()
    assert told == f"told model auto is {LIGHT} on a CPU; --model {DEFAULT} is the full one, made for a GPU"
    name, modules = json.loads(line)  # and nothing told of a GPU: there is none to be missed
    assert name == f"{LIGHT} on cpu"
    slow = ("torch", "tensorrt", "tensorrt_rtx", "pycuda", "onnx", "engines.tensorrt", "engines.build", "engines.fp16")
    assert not set(modules).intersection(slow)


def test_the_reason_for_the_cpu_is_in_the_log(no_driver, caplog):
    caplog.set_level(logging.INFO, "engines.backends")
    open_fuser().close()
    assert caplog.messages == [f"backend cpu: {NO_DRIVER}"]


@pytest.mark.parametrize("backend", ["tensorrt", "rtx", "torch"])
def test_a_backend_asked_for_is_never_replaced(no_driver, backend):
    with pytest.raises(BackendError) as told:
        open_fuser(backend=backend)
    assert str(told.value) == f"backend {backend}: {NO_DRIVER}; install the driver, or use --backend cpu"
    assert told.value.exit_code == 2


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("tensorrt", r"pip install 'crotalus\[tensorrt\]'"),
        ("rtx", r"pip install 'crotalus\[rtx\]'"),
        ("torch", r"pip install 'crotalus\[cuda\]'"),
    ],
)
def test_a_missing_package_is_an_error_that_says_what_to_install(h200, without_packages, backend, reason):
    with pytest.raises(BackendError, match=reason):
        open_fuser(backend=backend)


def test_a_gpu_that_nothing_here_can_use_is_told_in_one_line(h200, without_packages):
    told = []
    fuser = open_fuser(on_progress=told.append)
    assert fuser.name == f"{LIGHT} on cpu"
    picture = np.full((20, 24), 128, np.uint8)
    assert fuser.fuse(picture, picture).shape == (20, 24)
    fuser.close()
    assert len(told) == 2
    assert told[0].startswith("NVIDIA H200 is not used: backend tensorrt: tensorrt: ")
    assert told[1].startswith(f"model auto is {LIGHT} on a CPU")
    assert all(f"crotalus[{extra}]" in told[0] for extra in ("tensorrt", "rtx", "cuda"))
    assert "\n" not in told[0]


def test_tensorrt_rtx_on_an_h200_names_the_gpus_that_it_runs_on(h200, monkeypatch):
    rtx = types.ModuleType("tensorrt_rtx")
    rtx.__version__ = "1.7.1.116"
    names = dict.fromkeys(("NONE", "SM75", "SM80", "SM86", "SM89", "SM120", "SM121", "CURRENT"))
    rtx.ComputeCapability = types.SimpleNamespace(__members__=names)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx)
    with pytest.raises(BackendError) as told:
        open_fuser(backend="rtx")
    assert str(told.value) == (
        "backend rtx: version 1.7 runs on sm_75, sm_80, sm_86, sm_89, sm_120, sm_121, NVIDIA H200 is sm_90; "
        "use --backend torch or tensorrt or cpu"
    )


@pytest.mark.parametrize("first", range(4))
def test_auto_takes_the_first_that_runs_and_logs_why_not_the_others(h200, monkeypatch, caplog, first):
    caplog.set_level(logging.INFO, "engines.backends")
    order = ["tensorrt", "rtx", "torch", "cpu"]
    errors = [BackendError("none here"), ModelError("no graphs"), DeviceMemoryError(1 << 30, 0)]
    fusers = [object() for _ in order]
    monkeypatch.setattr(backends, "_open_cpu", lambda info, threads: fusers[3])
    outcomes = {name: errors[i] if i < first else fusers[i] for i, name in enumerate(order[:3])}
    asked, told = opener(monkeypatch, **outcomes), []
    assert open_fuser(precision="fp32", on_progress=told.append) is fusers[first]
    assert asked == [(name, "fp32") for name in order[: min(first + 1, 3)]]
    for i, name in enumerate(order[:first]):
        assert caplog.messages[i] == f"not {name}: {errors[i]}"
    assert bool(told) == (first == 3)
    if first < 3:
        assert caplog.messages[-1].startswith(f"backend {order[first]}: the first that runs on NVIDIA H200, sm_90")


@pytest.mark.parametrize(("backend", "model"), [("auto", DEFAULT), ("torch", DEFAULT), ("cpu", LIGHT)])
def test_auto_is_the_full_model_on_a_gpu_and_the_light_one_on_a_cpu(h200, monkeypatch, backend, model):
    def open_gpu(info, name, gpu, **options):
        return types.SimpleNamespace(info=info, name=f"{info.name} on {name}", close=lambda: None)

    monkeypatch.setattr(backends, "_open_gpu", open_gpu)
    told = []
    fuser = open_fuser(backend=backend, on_progress=told.append)
    assert fuser.info.name == model
    assert bool(told) == (model == LIGHT)
    assert backends.auto_model(backend, precision="fp16") == model
    fuser.close()


@pytest.mark.parametrize(("backend", "model"), [("auto", LIGHT), ("cpu", LIGHT), ("tensorrt", DEFAULT)])
def test_the_model_that_auto_is_can_be_told_by_its_name(no_driver, monkeypatch, backend, model):
    monkeypatch.setattr(backends, "_open_cpu", lambda info, threads: pytest.fail("opened, and nobody needs to"))
    assert backends.auto_model(backend, precision="fp16") == model


def test_a_gpu_that_cannot_be_used_leaves_auto_the_light_model(h200, monkeypatch):
    opener(monkeypatch, **dict.fromkeys(("tensorrt", "rtx", "torch"), BackendError("none here")))
    assert backends.auto_model("auto", precision="fp16") == LIGHT


def test_a_model_asked_for_by_name_is_never_replaced(no_driver):
    told = []
    fuser = open_fuser(DEFAULT, backend="cpu", on_progress=told.append)
    assert (fuser.name, told) == (f"{DEFAULT} on cpu", [])
    fuser.close()


def test_an_error_that_is_not_ours_is_not_swallowed(h200, monkeypatch):
    opener(monkeypatch, tensorrt=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        open_fuser()


def test_a_device_whose_network_cannot_be_is_closed(h200, monkeypatch):
    closed = []
    monkeypatch.setattr(
        "engines.cuda_device.CudaDevice", lambda maps: types.SimpleNamespace(close=lambda: closed.append(maps))
    )
    monkeypatch.setattr(backends, "_network", lambda *_, **__: (_ for _ in ()).throw(ModelError("no graphs")))
    with pytest.raises(ModelError, match="no graphs"):
        open_fuser(backend="torch")
    assert closed == [128]


def test_the_cpu_is_float32_whatever_the_precision():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 20, 24), np.uint8)
    results = []
    for precision in ("fp16", "fp32"):
        fuser = open_fuser(backend="cpu", precision=precision, threads=1)
        results.append(fuser.fuse(*pictures))
        fuser.close()
    np.testing.assert_array_equal(*results)


def test_an_unknown_backend_lists_those_there_are():
    with pytest.raises(BackendError, match="backend 'vulkan': not known; use auto, cpu, tensorrt, rtx, torch"):
        open_fuser(backend="vulkan")


def test_an_unknown_model_is_told_before_any_backend_is_looked_for(monkeypatch):
    monkeypatch.setattr(backends, "find_gpu", lambda: pytest.fail("looked for a GPU"))
    with pytest.raises(ModelError, match="no such model"):
        open_fuser("nothing")
    assert load_model("jcae").maps == 128


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("--backend", "tensorrt"), "no NVIDIA driver"), (("--precision", "int8"), "int8")],
)
@pytest.mark.parametrize("command", ["fuse", "bench"])
def test_the_command_line_ends_with_two_and_one_line(tmp_path, command, arguments, reason):
    if "tensorrt" in arguments:
        try:
            backends.find_gpu()
            pytest.skip("there is a GPU")
        except NoGpuError:
            pass
    inputs = ("ir.png", "vis.png", "-o", str(tmp_path / "out.png")) if command == "fuse" else ()
    line = [sys.executable, str(ROOT / "run_stream.py"), command, *inputs, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr


@pytest.mark.parametrize("command", ["fuse", "bench"])
def test_the_commands_hand_backend_and_precision_on(monkeypatch, command):
    from typer.testing import CliRunner

    import run_stream
    from pipeline import chosen

    seen = []

    def open_one(model, **options):
        seen.append({name: options[name] for name in ("backend", "precision")})
        options["on_progress"]("building")
        raise BackendError("enough")

    monkeypatch.setattr(chosen, "open_fuser", open_one)
    inputs = ["ir.png", "vis.png", "-o", "out.png"] if command == "fuse" else []
    done = CliRunner().invoke(run_stream.app, [command, *inputs, "--backend", "rtx", "--precision", "fp32"])
    assert seen == [{"backend": "rtx", "precision": "fp32"}]
    assert isinstance(done.exception, BackendError)
    assert done.output == "building\n"
