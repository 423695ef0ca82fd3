"""docs/gpu.py without a GPU: its plan, its budget, what it reads from steps that end badly, and what it writes."""

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.base import BackendError
from engines.device import DeviceError
from engines.gpu_bench import GpuRow
from engines.gpu_clock import Timing

ROOT = Path(__file__).parents[1]
BARE = """
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.path[:0] = [{root!r}, {root!r} + "/docs"]
for name in {modules!r}:
    importlib.import_module(name)
print("imported")
"""
FACTS = {"GPU": "NVIDIA H200, sm_90, 139.8 GiB, driver 580 (CUDA 13.0)", "torch": "2.11|cu130"}


@pytest.fixture
def script(monkeypatch):
    """The modules of the script."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import gpu
    import gpu_plan
    import gpu_report
    import gpu_steps

    return SimpleNamespace(gpu=gpu, plan=gpu_plan, report=gpu_report, steps=gpu_steps)


def row(name, p50, floor=None, *, size=(640, 480), grown=0, runs=200):
    """A row of the benchmark as it is read back."""
    timing = {"runs": runs, "p50_ms": p50, "p95_ms": 2 * p50, "grown_bytes": grown}
    return {"name": name, "width": size[0], "height": size[1], "timing": timing, "floor_ms": floor, "note": "a copy"}


def rows_of(frame=0.5, rules=0.05, arrays=0.6, grown=0, size=(640, 480)):
    """Rows of one size, rivals before the fuser so that their order decides nothing."""
    return [
        row("frame on the device, torch 2.11 eager fp32", 9.0, 0.3, size=size, grown=1 << 20),
        row("frame on the device, torch 2.11 compile fp16", 0.1, 0.3, size=size),
        row("fusion rules", rules, 0.04, size=size),
        row("frame on the device, torch 2.11 fp16", frame, 0.3, size=size),
        row("from arrays to arrays, jcae on torch 2.11 fp16", arrays, 0.3, size=size, grown=grown),
    ]


def step(steps, name="a", *, until=1.0, kind="tests", good=True, lack="", rows=()):
    """A step whose program leaves what is said here."""
    return steps.Step(kind, name, (name,), until, lambda ran: steps.Finding(good, f"{name} said", list(rows)), lack)


class Clock:
    """Time that passes only while programs run."""

    def __init__(self, steps, **seconds):
        self.steps, self.seconds, self.now, self.limits = steps, seconds, 1000.0, []

    def __call__(self):
        return self.now

    def run(self, command, limit_s):
        (name,) = command
        self.limits.append((name, limit_s))
        took = min(limit_s, self.seconds[name])
        self.now += took
        return self.steps.Ran(None if took < self.seconds[name] else 0, took, f"output of {name}")


def outcomes(steps, plan, budget, clock):
    found = []
    steps.run_steps(plan, budget, on_outcome=found.append, run=clock.run, clock=clock)
    return found


def test_time_a_step_leaves_is_the_next_ones_and_one_too_slow_is_stopped(script):
    clock = Clock(script.steps, a=10, b=500, c=30)
    plan = [step(script.steps, name, until=until) for name, until in (("a", 0.4), ("b", 0.8), ("c", 1.0))]
    a, b, c = outcomes(script.steps, plan, 100, clock)
    assert clock.limits == [("a", 40), ("b", 70), ("c", pytest.approx(20))]
    assert (a.state, b.state, c.state) == ("passed", "failed", "failed")
    assert b.said == "stopped after 70 s, its limit; b said"
    assert (a.output, b.output) == ("", "output of b")


def test_a_step_without_time_or_tools_is_told_and_the_others_run(script):
    clock = Clock(script.steps, a=50, c=1)
    plan = [step(script.steps, "a", until=0.5), step(script.steps, "b", until=0.54),
            step(script.steps, "lame", lack="no pytest"), step(script.steps, "c", good=False)]  # fmt: skip
    found = outcomes(script.steps, plan, 100, clock)
    assert [outcome.state for outcome in found] == ["passed", "not run", "not run", "failed"]
    assert "budget of 100 s is used up; give --budget" in found[1].said
    assert found[2].said == "no pytest"


def test_a_program_and_what_it_started_are_ended_at_the_limit(script, tmp_path):
    mark = tmp_path / "pid"
    code = (
        f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); \
open({str(mark)!r}, 'w').write(str(p.pid)); print('begun', flush=True); time.sleep(60)"
    )
    ran = script.steps.run_program([sys.executable, "-c", code], 2.0)
    assert (ran.code, ran.output) == (None, "begun\n")
    deadline = time.monotonic() + 10
    state = "R"
    while state not in ("gone", "Z") and time.monotonic() < deadline:  # a zombie waits for its reaper only
        try:
            state = Path(f"/proc/{mark.read_text()}/stat").read_text().rsplit(") ", 1)[1][0]
        except (FileNotFoundError, ProcessLookupError):
            state = "gone"
    assert state in ("gone", "Z")


def test_a_program_runs_in_the_root_with_a_gpu_required(script):
    code = "import os; print(os.getcwd(), os.environ['REQUIRE_GPU']); raise SystemExit(3)"
    ran = script.steps.run_program([sys.executable, "-c", code], 60)
    assert (ran.code, ran.output) == (3, f"{ROOT} 1\n")
    assert script.steps.run_program(["/no/such/program"], 60).code == 127


def pytest_report(tmp_path, text):
    """What pytest leaves of a file of tests, and the judgement of it."""
    (tmp_path / "test_it.py").write_text(text)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", f"--junitxml={report}", "test_it.py"]
    quick = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=quick)
    return report, done


@pytest.mark.parametrize(
    ("text", "is_good", "is_for_lack", "said"),
    [
        ("def test_a(): pass\nimport pytest\ndef test_b(): pytest.skip('no rtx')", True, False,
         "1 passed, 1 skipped; no rtx"),
        ("def test_a(): pass\ndef test_b(): assert 1 == 2", False, False, "1 passed, 1 failed; assert 1 == 2"),
        ("import pytest\ndef test_b(): pytest.skip('no torch')", False, True, "1 skipped; no torch"),
        ("import no_such_av", False, True, "1 failed; ModuleNotFoundError: No module named 'no_such_av'"),
        ("", False, True, "no tests"),
    ],
)  # fmt: skip
def test_pytest_is_read(script, tmp_path, text, is_good, is_for_lack, said):
    report, done = pytest_report(tmp_path, text)
    found = script.steps.judge_tests(report)(script.steps.Ran(done.returncode, 1.0, done.stdout))
    assert found == script.steps.Finding(is_good, said, is_for_lack=is_for_lack)


def test_tests_without_a_report_are_never_good(script, tmp_path):
    judge = script.steps.judge_tests(tmp_path / "missing.xml")
    stopped = judge(script.steps.Ran(None, 9.0, "test_a PASSED [1%]\ntest_b PASSED [2%]\ntest_c "))
    assert (stopped.is_good, stopped.said) == (False, "2 passed by then")
    died = judge(script.steps.Ran(-11, 9.0, "test_a PASSED\nFatal Python error: Segmentation fault\n"))
    assert (died.is_good, died.said) == (False, "exit code -11: Fatal Python error: Segmentation fault")
    lacking = judge(
        script.steps.Ran(4, 1.0, "ImportError while loading\nE   ModuleNotFoundError: No module named 'av'")
    )
    assert (lacking.is_for_lack, lacking.said) == (True, "ModuleNotFoundError: No module named 'av'")


@pytest.mark.parametrize(
    ("output", "is_good"),
    [
        ("========= ERROR SUMMARY: 0 errors", True),
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", True),
        ("========= ERROR SUMMARY: 2 errors", False),
        ("========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)", False),
        ("========= ERROR SUMMARY: 0 errors\n========= ERROR SUMMARY: 10 errors", False),
        ("Device not supported", False),
    ],
)
def test_only_a_clean_summary_of_the_sanitizer_is_good(script, tmp_path, output, is_good):
    report = tmp_path / "report.xml"
    report.write_text("<testsuites><testsuite><testcase name='test_a'/></testsuite></testsuites>")
    found = script.steps.judge_sanitizer(report)(script.steps.Ran(0, 1.0, f"= x\n{output}\n"))
    assert found.is_good == is_good
    assert output.splitlines()[-1].removeprefix("========= ") in found.said or "no summary" in found.said


def test_rows_of_a_benchmark_that_was_stopped_are_kept(script, tmp_path):
    file = tmp_path / "rows.jsonl"
    judge = script.steps.judge_bench(file)
    assert judge(script.steps.Ran(1, 1.0, "error: no torch\n")) == script.steps.Finding(
        False, "0 rows; exit code 1: error: no torch"
    )
    file.write_text(json.dumps(row("fusion rules", 0.05, 0.04)) + '\n{"name": "fra')
    found = judge(script.steps.Ran(None, 1.0, ""))
    assert (found.said, [r["name"] for r in found.rows]) == ("1 rows", ["fusion rules"])


class Closing:
    """A device or a network; says when it is closed."""

    def __init__(self, name, closed):
        self.name, self.closed = name, closed

    def close(self):
        self.closed.append(self.name)


def test_the_first_backend_that_opens_is_timed_and_those_before_say_why(script, monkeypatch, capsys):
    import gpu_rows

    closed = []

    def open_parts(info, backend):
        if backend != "torch":
            raise BackendError(f"backend {backend}: not for sm_90")
        return Closing("device", closed), Closing("network", closed)

    monkeypatch.setattr(gpu_rows, "open_parts", open_parts)
    assert gpu_rows.first_that_opens(None) == "torch"
    assert closed == ["network", "device"]
    assert capsys.readouterr().out == "backend tensorrt: not for sm_90\nbackend rtx: not for sm_90\n"
    monkeypatch.setattr(gpu_rows, "GPU_BACKENDS", ("tensorrt", "rtx"))
    with pytest.raises(BackendError, match=r"^backend tensorrt: not for sm_90 \| backend rtx: not for sm_90$"):
        gpu_rows.first_that_opens(None)


def test_rows_timed_before_a_failure_are_written(script, tmp_path, monkeypatch, capsys):
    import gpu_rows

    from engines import torch_cuda

    def rows(info, open_parts, runtime, *, sizes, runs, on_row):
        assert (info.name, runtime, sizes, runs) == ("jcae", "runtime", [(640, 480)], 7)
        on_row(GpuRow("fusion rules", 640, 480, Timing(7, 0.05, 0.06, 0), 0.04, "the copy"))
        raise DeviceError("NVIDIA H200: it is lost")

    monkeypatch.setattr(gpu_rows, "rows", rows)
    monkeypatch.setattr(torch_cuda, "open_runtime", lambda: "runtime")
    out = tmp_path / "rows.jsonl"
    options = ["--size", "640x480", "--backend", "torch", "--runs", "7", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["gpu_rows.py", *options])
    assert gpu_rows.main() == 1
    assert capsys.readouterr().err == "error: NVIDIA H200: it is lost\n"
    (found,) = script.steps.judge_bench(out)(script.steps.Ran(1, 1.0, "error")).rows
    assert found == row("fusion rules", 0.05, 0.04, runs=7) | {
        "note": "the copy", "timing": {"runs": 7, "p50_ms": 0.05, "p95_ms": 0.06, "grown_bytes": 0}
    }  # fmt: skip


def verdicts(script, rows, gpu="NVIDIA H200"):
    return [target.verdict for target in script.report.targets_of(rows, [(640, 480)], gpu)]


def test_targets_are_met_at_their_limit_and_missed_beyond(script):
    at_limit = rows_of(frame=1.0, rules=0.052, arrays=1.25)
    assert verdicts(script, at_limit) == ["met"] * 4
    assert verdicts(script, rows_of(rules=0.053)) == ["missed", "met", "met", "met"]
    assert verdicts(script, rows_of(frame=1.01, arrays=1.2)) == ["met", "missed", "met", "met"]
    assert verdicts(script, rows_of(frame=0.5, arrays=0.63)) == ["met", "met", "missed", "met"]
    assert verdicts(script, rows_of(grown=1)) == ["met", "met", "met", "missed"]


def test_targets_without_rows_are_not_measured_and_rates_hold_for_one_gpu(script):
    assert verdicts(script, []) == ["not measured"] * 4
    assert verdicts(script, [row("frame on the device, torch 2.11 eager fp32", 0.1)]) == ["not measured"] * 4
    assert verdicts(script, rows_of(), "NVIDIA L4") == ["met", "not for this GPU", "met", "met"]
    told = script.report.targets_of(rows_of(frame=3, arrays=4, size=(1920, 1080)), [(1920, 1080)], "H200")
    assert [target.measured for target in told] == ["1.25 x", "333 pairs/s", "75%", "0 bytes over 200 pairs"]


def test_the_benchmark_still_has_the_rows_that_targets_are_of(script):
    """The names are its own: renamed rows would leave every target unmeasured."""
    text = (ROOT / "engines" / "gpu_bench.py").read_text()
    names = script.report.RULES, script.report.FRAME, script.report.ARRAYS
    assert all(f'"{name}' in text for name in names)
    rivals = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.AnnAssign)
                  and getattr(node.target, "id", "") == "RIVALS")  # fmt: skip
    assert ast.literal_eval(rivals.value) == script.report.RIVALS


def run(script, tmp_path, plan, clock, budget=100):
    stem = tmp_path / "gpu-2026-01-02"
    code = script.gpu.run(plan, budget, stem, FACTS, "python docs/gpu.py", run=clock.run, clock=clock)
    return code, stem.with_suffix(".md").read_text(), json.loads(stem.with_suffix(".json").read_text())


def test_a_good_run_is_written_with_all_that_was_measured(script, tmp_path):
    both = [step(script.steps, name, kind="bench", rows=rows_of(size=size))
            for name, size in zip("ab", script.plan.SIZES, strict=True)]  # fmt: skip
    code, text, values = run(script, tmp_path, both, Clock(script.steps, a=3, b=4))
    assert code == 0
    assert "`python docs/gpu.py`: 2 of 2 steps passed, 8 of 8 targets met." in text
    assert "| torch | 2.11\\|cu130 |" in text
    assert "| bench | a | passed | 3 | a said |" in text
    assert "| 640x480 on the device | >= 1000 pairs/s on an H200 | 2000 pairs/s | met |" in text
    assert "| 1920x1080 | fusion rules | 0.050 | 0.100 | 20000.0 | 200 | 0.040 | 1.25 | 0 | a copy |" in text
    assert values["is_good"] is True
    assert (len(values["rows"]), values["outcomes"][0]["seconds"]) == (10, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu-2026-01-02.json", "gpu-2026-01-02.md"]


def test_one_bad_step_or_missed_target_makes_the_exit_code_one(script, tmp_path):
    good, bad = step(script.steps, "a"), step(script.steps, "b", good=False)
    clock = Clock(script.steps, a=1, b=1)
    assert run(script, tmp_path, [good], clock)[0] == 0
    code, text, values = run(script, tmp_path, [bad, good], clock)
    assert (code, [o["state"] for o in values["outcomes"]]) == (1, ["failed", "passed"])
    assert "## Last output of b\n\n````text\noutput of b\n````" in text
    assert run(script, tmp_path, [good, step(script.steps, lack="no nvcc")], clock)[0] == 1
    slow = step(script.steps, "a", kind="bench", rows=rows_of(frame=3))
    assert run(script, tmp_path, [slow], clock)[0] == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_was_found_before_an_interrupt_is_kept(script, tmp_path, number, code):
    class Interrupted(Clock):
        def run(self, command, limit_s):
            if command == ("b",):
                os.kill(os.getpid(), number)
                threading.Event().wait(10)
            return super().run(command, limit_s)

    steps = [step(script.steps, "a"), step(script.steps, "b")]
    ended, text, values = run(script, tmp_path, steps, Interrupted(script.steps, a=1, b=1))
    assert ended == code
    assert "|  | (ended early) | not run |  |  |" in text
    assert [o["name"] for o in values["outcomes"]] == ["a"]


def test_a_report_never_replaces_another(script, tmp_path):
    assert script.report.free_stem(tmp_path, "2026-01-02").name == "gpu-2026-01-02"
    (tmp_path / "gpu-2026-01-02.json").touch()
    (tmp_path / "gpu-2026-01-02-2.md").touch()
    assert script.report.free_stem(tmp_path, "2026-01-02").name == "gpu-2026-01-02-3"


def test_the_plan_holds_all_gpu_tests_in_time(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script.plan, "_lack", lambda kind: "")
    steps = script.plan.plan(None, tmp_path)
    names = [s.name for s in steps if s.kind == "tests"]
    assert names[0] == "tests/engines/cuda/test_on_gpu.py"
    assert {"tests/engines/cuda/test_fuser_on_gpu.py", "tests/engines/cuda/test_torch_on_gpu.py"} <= set(names)
    assert all("pytest.mark.gpu" in (ROOT / name).read_text() for name in names)
    ends = [s.until for s in steps]
    assert ends == sorted(ends)
    last = {s.kind: s.until for s in steps}
    assert last == {"tests": 0.4, "bench": 0.8, "sanitizer": 1.0}
    assert steps[0].until == pytest.approx(0.24)  # the kernels' tests have the larger part of the first 40 %
    assert [s.name.split()[0] for s in steps if s.kind == "sanitizer"] == ["memcheck", "racecheck"]
    assert all("--error-exitcode" in s.command and "pytest" in s.command for s in steps if s.kind == "sanitizer")
    alone = script.plan.plan("bench", tmp_path, backend="torch", runs=7)
    assert [(s.name, s.until) for s in alone] == [("640x480", pytest.approx(0.6)), ("1920x1080", 1.0)]
    assert alone[0].command[2:8] == ("--size", "640x480", "--backend", "torch", "--runs", "7")


def test_what_is_not_installed_is_told_in_the_plan(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script.plan, "NEEDS", {"tests": ("json", "no_such"), "sanitizer": ("json",)})
    monkeypatch.setattr(script.plan, "find_sanitizer", lambda: None)
    tests, sanitizer = (script.plan.plan(kind, tmp_path)[0].lack for kind in ("tests", "sanitizer"))
    assert tests == "no_such not installed; see docs/gpu.md for what is needed"
    assert sanitizer.startswith("compute-sanitizer not found")


def test_the_sanitizer_is_found_beside_a_toolkit(script, tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    tool.touch(mode=0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    assert script.plan.find_sanitizer() == str(tool)


def gpu_py(*arguments):
    command = [sys.executable, ROOT / "docs" / "gpu.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", env=os.environ | {"LD_LIBRARY_PATH": ""})


def test_without_a_gpu_one_line_says_so_and_nothing_is_written(script, tmp_path, monkeypatch, capsys):
    def no_gpu():
        raise script.gpu.NoGpuError("no NVIDIA driver (libcuda.so.1)")

    monkeypatch.setattr(script.gpu, "find_gpu", no_gpu)
    assert script.gpu.main(["--out", str(tmp_path / "new")]) == 2
    wanted = (
        "error: docs/gpu.py: no NVIDIA driver (libcuda.so.1); run it where there is an NVIDIA GPU, or with --dry-run"
    )
    assert capsys.readouterr() == ("", f"{wanted}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_plan_and_floors():
    done = gpu_py("--dry-run", "--budget", "100")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tests: tests/engines/cuda/test_on_gpu.py: until 24 s at the latest" in done.stdout
    # 1 MB is 10^6 bytes: 161.9 MB at 4.8 TB/s, and 212.04 GFLOP at 989 TFLOP/s before that.
    assert "162 MB through the rules; fusion kernels 0.034 ms, frame 0.248 ms, 4030 pairs/s at the most" in done.stdout


@pytest.mark.parametrize("wrong", [["--budget", "0"], ["--budget", "nan"], ["--runs", "1"], ["--only", "all"]])
def test_wrong_use_is_told(script, wrong, capsys):
    with pytest.raises(SystemExit) as left:
        script.gpu.main(wrong)
    assert left.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script.gpu, "find_gpu", lambda: "NVIDIA H200")
    monkeypatch.setattr(script.gpu, "machine", lambda gpu: FACTS)
    (tmp_path / "file").touch()
    assert script.gpu.main(["--out", str(tmp_path / "file")]) == 2
    assert "give --out a folder" in capsys.readouterr().err


def test_the_machine_is_described_without_importing_what_is_heavy(script):
    facts = script.gpu.machine("NVIDIA H200")
    assert facts["GPU"] == "NVIDIA H200"
    assert facts["Python"] == sys.version.split()[0]
    assert {"torch", "pycuda", "onnx", "nvcc", "compute-sanitizer", "commit"} <= set(facts)


@pytest.mark.parametrize(
    ("missing", "modules"),
    [
        # The script itself: on a machine with nothing but Python.
        (["av", "typer", "rich", "cv2", "pydantic", "numpy", "onnx", "torch", "pytest", "pycuda"], ["gpu"]),
        # What its steps import at once: where there is no video library and no command line.
        (["av", "typer", "rich", "cv2", "scipy", "hypothesis", "skimage"], [
            "gpu_rows", "gpu_profile", "engines.torch_cuda", "engines.tensorrt", "engines.cuda_device",
            "tests.engines.cuda.test_on_gpu", "tests.engines.cuda.test_fuser_on_gpu",
            "tests.engines.cuda.test_torch_on_gpu", "tests.conftest", "tests.engines.conftest",
        ]),
    ],
)  # fmt: skip
def test_nothing_that_a_bare_gpu_machine_lacks_is_imported(missing, modules):
    code = BARE.format(missing=missing, root=str(ROOT), modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "imported\n", done.stderr
