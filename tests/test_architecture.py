"""Who may import whom, read from the source itself."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"pipeline", "engines", "training", "calibration", "run_stream"}
ALLOWED = {
    "pipeline": (
        "engines.backends",
        "engines.base",
        "engines.cache",
        "engines.classical",
        "engines.cores",
        "engines.device_picture",
        "engines.dlpack",
        "engines.gpu",
        "engines.kernels",
        "engines.launches",
        "engines.model",
        "engines.record",
        "engines.steady",
        "engines.trt",
        "calibration.check",
        "calibration.rig",
        "calibration.unaligned",
        "calibration.warp",
    ),
    "engines": (),
    "training": (
        "engines.model",
        "engines.onnx_cpu",
        "engines.rules",
        "engines.base",
        "engines.classical",
        "engines.steady",
    ),
    "calibration": ("engines.base",),
}
"""Modules of other packages that a package may import. `engines.base` carries the errors a command line catches."""
HEAVY = {
    "torch": ("training/", "engines/torch_cuda.py", "engines/torch_eager.py"),
    "onnxruntime": ("engines/onnx_cpu.py", "training/export.py"),
    "onnx": ("training/", "engines/fp16.py", "engines/one_stack.py"),
    "pycuda": ("engines/kernels.py",),
    "tensorrt": ("engines/trt.py",),
    "tensorrt_rtx": ("engines/trt.py",),
    "matplotlib": ("training/checkpoint.py", "training/experiments/plots.py"),
    "h5py": ("training/vgg.py",),
    "safetensors": ("training/",),
    "sporco": ("engines/classical/csr.py",),
    "scipy": ("training/significance.py",),
    "av": ("pipeline/", "training/video.py"),
    "starlette": ("pipeline/preview/",),
    "uvicorn": ("pipeline/preview/connection.py",),
    "prometheus_client": ("pipeline/preview/metrics.py",),
    "yaml": ("pipeline/live/yaml_file.py",),
    "fsspec": ("pipeline/batch/remote.py",),
    "aiohttp": ("pipeline/batch/remote.py",),
    "s3fs": (),
    "ray": ("pipeline/batch/ray_connection.py", "pipeline/batch/ray_worker.py"),
}
"""Where a heavy library may be imported."""
COMMANDS = "pipeline/commands/"
"""Parts of run_stream.py: they may import whatever they command, inside the function that needs it if heavy."""
SOURCES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))


def imports(path, top_level_only=False):
    """Names of the modules that a file imports."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            deeper = node.module in OURS  # `from engines import rules` imports engines.rules
            yield from (f"{node.module}.{alias.name}" if deeper else node.module for alias in node.names)


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_packages_import_only_what_they_may(path):
    package = path.relative_to(ROOT).parts[0]
    if name(path).startswith(COMMANDS):
        return
    for module in imports(path):
        if module.split(".")[0] in OURS - {package}:
            assert module in ALLOWED[package], f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "run_stream.py"], ids=name)
def test_heavy_libraries_stay_in_their_files(path):
    for module in imports(path):
        places = HEAVY.get(module.split(".")[0])
        assert places is None or name(path).startswith(places), f"{name(path)} imports {module}"


def test_onnx_runtime_is_imported_only_when_needed():
    assert "onnxruntime" not in imports(ROOT / "engines/onnx_cpu.py", top_level_only=True)


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "run_stream.py"], ids=name)
def test_files_hold_one_noun(path):
    assert path.read_text().count("\n") <= (300 if path.name == "run_stream.py" else 260)  # a command is an item


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "run_stream.py"], ids=name)
def test_what_is_public_says_what_it_does(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{name(path)} has no docstring"
    kinds = (ast.FunctionDef, ast.ClassDef)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    nodes = [*tree.body, *(n for c in classes for n in c.body)]
    bare = [n.name for n in nodes if isinstance(n, kinds) and n.name[0] != "_" and not ast.get_docstring(n)]
    assert not set(bare) - {"info", "close", "name"}, f"{name(path)}: {bare}"
