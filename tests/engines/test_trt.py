"""The adapter: its names exist in all three bindings, real engines are built, and every refusal is one clear line."""

import ast
import logging
import os
import re
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest

from engines import trt as adapter
from engines import trt_run
from engines.base import BackendError
from engines.build import networks
from engines.model import load_model
from engines.profile import Profile
from engines.trt import EngineError, Network, build_plan, load, open_compiler

STUB = Path(__file__).parent / "trt_stub.c"
BINDINGS = {"10": "10.16.1.11", "11": "11.4.0.106"}
CLASSES = {
    "builder": "Builder",
    "definition": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "runtime_config": "IRuntimeConfig",
    "self._engine": "ICudaEngine",
    "self._context": "IExecutionContext",
}
"""What the adapter calls its objects, and TensorRT their classes."""
RTX_ONLY = {
    "ComputeCapability", "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability",
    "DynamicShapesKernelSpecializationStrategy", "ICudaEngine.create_runtime_config",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
    "IRuntimeConfig.set_execution_context_allocation_strategy",
}  # fmt: skip
LOOK_UP = """
import functools, sys, tensorrt_bindings as trt
missing = []
for name in sys.argv[1:]:
    try:
        functools.reduce(getattr, name.split("."), trt)
    except AttributeError:
        missing.append(name)
print(trt.__version__, *missing)
"""
BUILD = """
import sys
from engines import trt
try:
    compiler = trt.open_compiler("tensorrt")
    print(compiler.flavour, compiler.version, compiler.targets)
    compiler.compile(trt.Network("encoder", b"", {}, frozenset()), "sm_86")
except trt.EngineError as error:
    print(error)
"""


def chain(node):
    """`a.b.c` of an attribute; empty if it does not start with a name."""
    if isinstance(node, ast.Name):
        return node.id
    inner = chain(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner else ""


def names_used():
    """Every TensorRT name that the adapter's two files mention, `Class.member`."""
    names = set()
    for file in (adapter.__file__, trt_run.__file__):
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.Attribute):
                owner, _, member = chain(node).rpartition(".")
                if owner.startswith("trt"):
                    names.add(chain(node).partition(".")[2])
                elif owner in CLASSES:
                    names.add(f"{CLASSES[owner]}.{member}")
    return names


def compile_stub(library, *options):
    command = ["gcc", "-shared", "-fPIC", *options, str(STUB), "-o", str(library)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no gcc")
    return library


@pytest.fixture(scope="session", params=sorted(BINDINGS))
def bindings(request, tmp_path_factory):
    """Environment in which `tensorrt_bindings` of a version can be imported."""
    folder = tmp_path_factory.mktemp(f"tensorrt{request.param}")
    wheel = f"tensorrt_cu13_bindings=={BINDINGS[request.param]}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder, wheel]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{wheel} cannot be downloaded here: 120 s are over")
    if done.returncode:
        pytest.skip(f"{wheel} cannot be downloaded here: {done.stderr.strip().splitlines()[-1]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as file:
        file.extractall(folder)
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        compile_stub(folder / f"lib{library}.so.{request.param}")
    root = Path(adapter.__file__).parents[1]
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": f"{folder}:{root}"}


@pytest.fixture(scope="session")
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'crotalus[rtx]'")


@pytest.fixture
def encoder(rtx, model_folder):
    return network(model_folder, "encoder_ir", "fp16")


def network(folder, name, precision, size=(96, 64)):
    """That of the engine of this name for pictures of a padded size."""
    pytest.importorskip("onnx")
    info = load_model(folder)
    profile = Profile.fixed(*(side - 2 * info.margin for side in size))
    return next(part for part in networks(info, precision, profile) if part.name == name)


def python(script, environment, *arguments):
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_names_exist_in_tensorrt(bindings):
    wanted = names_used() - {name for name in names_used() if name.startswith(tuple(RTX_ONLY))}
    assert {"Builder.create_network", "NetworkDefinitionCreationFlag.STRONGLY_TYPED"} <= wanted
    version, *missing = python(LOOK_UP, bindings, *sorted(wanted)).split()
    assert version in BINDINGS.values()
    assert missing == []


def test_names_exist_in_tensorrt_rtx(rtx):
    import functools

    for name in sorted(names_used()):
        functools.reduce(getattr, name.split("."), rtx)
    assert names_used() >= RTX_ONLY


def test_tensorrt_without_its_libraries_is_one_line(bindings):
    first, second = python(BUILD, bindings).strip().splitlines()
    assert re.match(r"tensorrt 1[01]\.\d+\.\d+\.\d+ \(", first)
    assert second.startswith("encoder: TensorRT refused (")


def test_a_backend_that_is_not_installed_says_how_to_install_it(monkeypatch):
    for package in adapter.PACKAGES["tensorrt"]:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=r"tensorrt: .*; tensorrt_bindings: .*; pip install 'crotalus\[tensorrt\]'"):
        open_compiler("tensorrt")


def test_an_old_tensorrt_is_refused(monkeypatch):
    old = types.ModuleType("tensorrt")
    old.__version__ = "8.6.1"
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(BackendError, match=r"8\.6\.1: too old; pip install"):
        load("tensorrt")


def test_rtx_builds_for_gpus_that_are_not_here(rtx):
    targets = open_compiler("rtx").targets
    assert {"sm_75", "sm_80", "sm_86", "sm_89", "sm_120"} <= set(targets)
    assert list(targets) == sorted(targets, key=lambda target: int(target[3:]))


@pytest.mark.parametrize("target", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_120"])
@pytest.mark.parametrize(("name", "precision"), [("encoder_ir", "fp16"), ("decoder", "fp16"), ("decoder", "fp32")])
def test_engines_are_built_for_each_target(rtx, model_folder, name, precision, target):
    plan = build_plan(rtx, network(model_folder, name, precision), target)
    assert len(plan.data) > 100_000
    assert plan.scratch_bytes > 96 * 64 * 64  # at least the widest layer at full size, 1 byte a value


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_no_reformat_stands_between_engine_and_kernel(rtx, model_folder, precision, caplog):
    """In either precision: the casts of fp32 are inside."""
    caplog.set_level(logging.DEBUG, "engines.trt")
    for name in ("encoder_common", "decoder"):
        caplog.clear()
        build_plan(rtx, network(model_folder, name, precision), "sm_86")
        layers = caplog.text.partition("Engine Layer Information:")[2].split("[MemUsageStats]")[0]
        assert re.search(r"features \(Half\[1,128:8,28,44\]\)", layers), layers
        assert layers.count("Layer(") == 1, layers
        assert "eformat" not in layers
        strides = re.findall(r"Autotuning format combination: (.*) \*", caplog.text)
        assert any(re.search(r"Half\(\d+,1:8,", line) for line in strides), strides


def test_one_stack_takes_half_the_scratch_memory_of_two(rtx, model_folder):
    from engines.fp16 import load_graph, typed_bytes

    one = network(model_folder, "decoder", "fp16", (656, 496))
    (features,), both = {shapes[0] for name, shapes in one.shapes.items() if name == "features"}, ("common", "private")
    shapes = dict.fromkeys(both, (features, features, features))
    two = Network("both", typed_bytes(load_graph(model_folder / "decoder.onnx"), "fp16"), shapes, frozenset(both))
    scratch = [build_plan(rtx, each, "sm_86").scratch_bytes for each in (one, two)]
    assert scratch[0] < 0.52 * scratch[1]


def test_scratch_memory_grows_with_the_picture(rtx, model_folder):
    small, large = (
        build_plan(rtx, network(model_folder, "encoder_ir", "fp16", size), "sm_86").scratch_bytes
        for size in ((320, 240), (640, 480))
    )
    assert 3 < large / small < 4.5  # about 4, and what does not depend on the size


def test_an_engine_that_needs_more_memory_than_there_is_says_how_much(rtx, encoder):
    shapes = {"luma": ((1, 1, 59998, 60000), (1, 1, 60000, 60000), (1, 1, 60000, 60000))}
    with pytest.raises(EngineError, match=r"too little memory, the engine needs \d{3}\.\d GB .*smaller --size"):
        build_plan(rtx, Network("encoder_ir", encoder.onnx, shapes, encoder.channels_last), "sm_86")


def test_none_from_the_builder_is_an_error_with_its_messages(rtx, encoder):
    without_profile = Network("encoder_ir", encoder.onnx, {}, encoder.channels_last)
    with pytest.raises(EngineError, match=r"encoder_ir: TensorRT refused \(.*luma is missing dimensions") as caught:
        build_plan(rtx, without_profile, "sm_86")
    assert "\n" not in str(caught.value)


def test_a_profile_that_cannot_be_is_one_line(rtx, encoder):
    shapes = {"luma": ((1, 1, 64, 64), (1, 1, 32, 32), (1, 1, 64, 64))}
    with pytest.raises(EngineError, match="TensorRT refused"):
        build_plan(rtx, Network("encoder_ir", encoder.onnx, shapes, encoder.channels_last), "sm_86")


def test_a_graph_that_the_parser_refuses_is_one_line(rtx):
    with pytest.raises(EngineError, match=r"encoder: TensorRT .* cannot read the graph"):
        build_plan(rtx, Network("encoder", b"junk", {}, frozenset()), "sm_86")


def test_a_plan_that_cannot_be_read_is_an_error_and_not_none(rtx):
    with pytest.raises(EngineError, match="decoder: TensorRT refused"):
        trt_run.Engine(rtx, "decoder", b"junk" * 100)


def test_engines_may_bring_no_code_for_the_host(rtx):
    assert rtx.Runtime(adapter.make_log(rtx)).engine_host_code_allowed is False
    for path in Path(adapter.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and chain(node.targets[0]).endswith(".engine_host_code_allowed"):
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path
