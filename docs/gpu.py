"""Try all that needs a GPU on one: tests, compute-sanitizer over the kernels, the benchmark; and write it down.

Run on a machine with an NVIDIA GPU: python docs/gpu.py [--budget 480] [--only tests|sanitizer|bench] [--out docs]
It writes gpu-YYYY-MM-DD.md and .json, after each step anew, so that what was found is kept whatever comes next.
Exit codes: 0 all passed and every target met; 1 not so; 2 no GPU or wrong use; 130 interrupted (143 by SIGTERM).
See docs/gpu.md for what has to be installed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

sys.path.insert(0, str(Path(__file__).parents[1]))
from gpu_plan import SIZES, find_sanitizer, plan
from gpu_report import Report, free_stem, targets_of, write_report
from gpu_steps import ROOT, Kind, Outcome, Step, run_steps

from engines.gpu import NoGpuError, find_gpu

PACKAGES = (
    "numpy", "onnx", "onnxruntime", "pydantic", "pycuda", "torch", "triton", "nvidia-cudnn-cu13", "tensorrt",
    "tensorrt-rtx-cu13", "pytest",
)  # fmt: skip
PEAK = {"operations": 989e12, "bandwidth": 4.8e12}
"""Of an H200, dense fp16 and HBM3e, a second, by NVIDIA's datasheet."""


def main(arguments: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=480.0, metavar="SECONDS", help="for all together [480]")
    parser.add_argument("--only", choices=get_args(Kind), help="one kind of step")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", metavar="DIR", help="where the report goes [docs]")
    parser.add_argument("--backend", choices=["auto", "tensorrt", "rtx", "torch"], default="auto", help="to be timed")
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="of everything timed [200]")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and the computed floors; needs no GPU")
    given = parser.parse_args(arguments)
    if not 1 <= given.budget < float("inf"):
        parser.error(f"--budget {given.budget:g}: give seconds, 1 or more")
    if given.runs < 2:
        parser.error(f"--runs {given.runs}: give 2 or more")
    with tempfile.TemporaryDirectory() as scratch:
        steps = plan(given.only, Path(scratch), backend=given.backend, runs=given.runs)
        if given.dry_run:
            print("\n".join([*_plan_lines(steps, given.budget), *floor_lines()]))
            return 0
        try:
            gpu = str(find_gpu())
        except NoGpuError as error:
            return _refuse(f"docs/gpu.py: {error}; run it where there is an NVIDIA GPU, or with --dry-run")
        try:
            given.out.mkdir(parents=True, exist_ok=True)
            stem = free_stem(given.out, datetime.date.today().isoformat())
            return run(steps, given.budget, stem, machine(gpu), _command(given))
        except OSError as error:
            return _refuse(f"{given.out}: {error.strerror or error}; give --out a folder that can be written")


def run(steps: Sequence[Step], budget_s: float, stem: Path, facts: dict[str, str], command: str, **tools: Any) -> int:
    """Run the steps and write the report after each. tools: for `run_steps`. Returns the exit code."""
    outcomes: list[Outcome] = []
    has_bench = any(step.kind == "bench" for step in steps)

    def report() -> Report:
        rows = [row for outcome in outcomes for row in outcome.rows]
        targets = targets_of(rows, SIZES, facts["GPU"]) if has_bench else []
        return Report(command, facts, outcomes, targets, len(steps))

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        print(f"{outcome.kind}: {outcome.name}: {outcome.state} in {outcome.seconds:.0f} s: {outcome.said}", flush=True)
        write_report(report(), stem)

    code = 0
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        write_report(report(), stem)
        run_steps(steps, budget_s, on_outcome=tell, **tools)
    except KeyboardInterrupt as interrupt:
        code = 143 if interrupt.args else 130
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"{report()}\n{stem}.md\n{stem}.json")
    return code or (0 if report().is_good else 1)


def machine(gpu: str) -> dict[str, str]:
    """What the numbers depend on."""
    facts = {"date": datetime.date.today().isoformat(), "GPU": gpu, "CPU cores": str(os.cpu_count())}
    facts |= {"system": platform.platform(), "Python": platform.python_version()}
    facts["nvcc"] = _nvcc_version()
    facts["compute-sanitizer"] = find_sanitizer() or "not found"
    facts["commit"] = _said("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "unknown"
    for package in PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def floor_lines() -> list[str]:
    """The least times on an H200 that bytes and operations allow, a line for each size."""
    try:
        from engines.floors import count_work
        from engines.model import load_model

        info = load_model("jcae")
        works = [(size, count_work(info, size)) for size in SIZES]
    except (ImportError, RuntimeError) as error:  # BackendError is one
        return [f"floors: not computed: {error}"]
    lines = ["floors on an H200, computed from 989 TFLOP/s and 4.8 TB/s of its datasheet:"]
    for (width, height), work in works:
        rules, frame = 1e3 * work.rule_bytes / PEAK["bandwidth"], work.floor_ms(**PEAK)
        lines.append(
            f"  {width}x{height}: {work}; fusion kernels {rules:.3f} ms, frame {frame:.3f} ms, "
            f"{1e3 / frame:.0f} pairs/s at the most"
        )
    return lines


def _command(given: argparse.Namespace) -> str:
    """The command as others can give it: without where the report goes."""
    only = f" --only {given.only}" if given.only else ""
    return f"python docs/gpu.py --budget {given.budget:g}{only} --backend {given.backend} --runs {given.runs}"


def _plan_lines(steps: Sequence[Step], budget_s: float) -> list[str]:
    lines = []
    for step in steps:
        limit = f"until {step.until * budget_s:.0f} s at the latest"
        lines += [f"{step.kind}: {step.name}: {step.lack or limit}", f"  {' '.join(step.command)}"]
    return lines


def _nvcc_version() -> str:
    try:
        from engines.kernels import find_nvcc
    except ImportError as error:  # numpy is needed
        return f"not looked for: {error}"
    nvcc = find_nvcc()
    if nvcc is None:
        return "not found"
    found = re.search(r"V(\d+(?:\.\d+)+)", _said(str(nvcc), "--version"))
    return found[1] if found else "of no known version"


def _said(*command: str) -> str:
    """What a program prints; nothing where it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def _on_sigterm(*_: object) -> NoReturn:
    raise KeyboardInterrupt("SIGTERM")


def _refuse(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
