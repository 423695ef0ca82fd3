"""What the GPU script runs: test files, benchmarks and sanitizers as steps, and what they lack here."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from gpu_steps import ROOT, Kind, Step, judge_bench, judge_sanitizer, judge_tests

SIZES = (640, 480), (1920, 1080)
ENDS: dict[Kind, float] = {"tests": 0.4, "bench": 0.8, "sanitizer": 1.0}
"""In this order, and the part of the budget by whose end each is over. The sanitizer is last: it may take long."""
FIRST_SHARE = 0.6
"""Of the time left to its kind, what a step that others follow may take."""
KERNEL_TESTS = "tests/engines/cuda/test_on_gpu.py"
MARK = re.compile(r"^(pytestmark = |@)pytest\.mark\.gpu$", re.MULTILINE)
NEEDS: dict[Kind, tuple[str, ...]] = {
    "tests": ("pytest", "numpy"),
    "bench": ("numpy", "onnx", "pydantic", "torch", "pycuda"),
    "sanitizer": ("pytest", "numpy", "pycuda"),
}
"""Without these there is no use in starting; what a single test lacks besides, it says itself."""
SANITIZED = 86
"""Exit code that compute-sanitizer is to give for what it finds, which pytest never gives."""

Part = tuple[str, list[object], Any]
"""Name, command and judge of a step."""


def plan(only: Kind | None, scratch: Path, *, backend: str = "auto", runs: int = 200) -> list[Step]:
    """The steps, in order. scratch: a folder for what they leave to be read."""
    steps, begin = [], 0.0
    for kind in [only] if only else ENDS:
        parts = {"tests": _tests, "bench": _benches, "sanitizer": _sanitizers}[kind](scratch, backend, runs)
        end = 1.0 if only else ENDS[kind]
        lack = _lack(kind)
        for k, (name, command, judge) in enumerate(parts):
            rest = (1 - FIRST_SHARE) ** (k + 1) if k + 1 < len(parts) else 0.0
            until = end - (end - begin) * rest
            steps.append(Step(kind, name, tuple(map(str, command)), until, judge, lack))
        begin = end
    return steps


def gpu_tests() -> list[str]:
    """Test files that hold tests for a GPU, the kernels' first."""
    files = (path for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARK.search(path.read_text()))
    return sorted((str(path.relative_to(ROOT)) for path in files), key=lambda name: name != KERNEL_TESTS)


def find_sanitizer() -> str | None:
    """compute-sanitizer of PATH, of CUDA_HOME or CUDA_PATH, or of the usual folder."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    folders = [f"{home}/{part}" for home in [*homes, "/usr/local/cuda"] for part in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *folders]))


def _tests(scratch: Path, backend: str, runs: int) -> list[Part]:
    return [(name, *_pytest(name, scratch / f"tests{k}.xml")) for k, name in enumerate(gpu_tests())]


def _benches(scratch: Path, backend: str, runs: int) -> list[Part]:
    found = []
    for width, height in SIZES:
        size = f"{width}x{height}"
        out, script = scratch / f"{size}.jsonl", ROOT / "docs" / "gpu_rows.py"
        options = ["--size", size, "--backend", backend, "--runs", runs, "--out", out]
        found.append((size, [sys.executable, script, *options], judge_bench(out)))
    return found


def _sanitizers(scratch: Path, backend: str, runs: int) -> list[Part]:
    found = []
    for tool in ("memcheck", "racecheck"):
        report = scratch / f"{tool}.xml"
        # Calls that fail are pycuda's to tell; nvcc, a process of its own, is not looked into.
        options = ["--tool", tool, "--error-exitcode", SANITIZED, "--target-processes", "application-only"]
        options += ["--report-api-errors", "no"] if tool == "memcheck" else []
        command = [find_sanitizer() or "compute-sanitizer", *options, *_pytest(KERNEL_TESTS, report)[0]]
        found.append((f"{tool} over {KERNEL_TESTS}", command, judge_sanitizer(report)))
    return found


def _pytest(name: str, report: Path) -> tuple[list[object], Any]:
    return [sys.executable, "-m", "pytest", "-m", "gpu", "-vv", f"--junitxml={report}", name], judge_tests(report)


def _lack(kind: Kind) -> str:
    missing = [name for name in NEEDS[kind] if importlib.util.find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed; see docs/gpu.md for what is needed"
    if kind == "sanitizer" and find_sanitizer() is None:
        return "compute-sanitizer not found; it comes with the CUDA toolkit: put its folder on PATH"
    return ""
