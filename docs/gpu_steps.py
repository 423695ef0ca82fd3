"""Steps of the GPU script: programs run one after the other within a budget, and what is read from what they leave."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
"""Where steps run."""

Kind = Literal["tests", "bench", "sanitizer"]
State = Literal["passed", "failed", "not run"]

LEAST_S = 5.0
"""With less time left no step is started."""
GRACE_S = 5.0
"""From asking a step to end to ending it."""
TAIL = 40
"""Lines of output kept of a step that failed."""
MISSING = re.compile(r"ModuleNotFoundError: No module named '[\w.]+'")
SUMMARY = re.compile(r"^=+ ((?:ERROR|RACECHECK) SUMMARY: .*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that has ended."""

    code: int | None
    """Exit code; None if it was stopped at its limit."""
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a program left."""

    is_good: bool
    said: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    """`GpuRow`s as plain values, of a benchmark."""
    is_for_lack: bool = False
    """Nothing was run, as something that it needs is not there."""


@dataclass(frozen=True, slots=True)
class Step:
    """A program to run."""

    kind: Kind
    name: str
    command: tuple[str, ...]
    until: float
    """Part of the budget by whose end it is stopped; what the steps before leave of theirs is its own."""
    judge: Callable[[Ran], Finding]
    lack: str = ""
    """Why it cannot be started."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step."""

    kind: Kind
    name: str
    state: State
    seconds: float
    said: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    output: str = ""
    """The last lines, of a step that failed."""


def run_program(command: Sequence[str], limit_s: float) -> Ran:
    """Run a program, with what it starts, for `limit_s` at most; all of them are ended if this is left early."""
    begin = time.monotonic()
    environment = os.environ | {"REQUIRE_GPU": "1", "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile() as log:  # no pipe, which a process left behind would hold open
        try:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            return Ran(127, 0.0, f"{command[0]}: {error.strerror}")
        code = None
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end(process)
        log.seek(0)
        return Ran(code, time.monotonic() - begin, log.read().decode(errors="replace"))


def run_steps(
    steps: Sequence[Step],
    budget_s: float,
    *,
    on_outcome: Callable[[Outcome], None],
    run: Callable[[Sequence[str], float], Ran] = run_program,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run each step, whatever became of those before. on_outcome: told of each as it ends."""
    begin = clock()
    for step in steps:
        left = step.until * budget_s - (clock() - begin)
        if step.lack or left < LEAST_S:
            lack = step.lack or f"its part of the budget of {budget_s:.0f} s is used up; give --budget more"
            on_outcome(Outcome(step.kind, step.name, "not run", 0.0, lack))
            continue
        ran = run(step.command, left)
        found = step.judge(ran)
        said = found.said if ran.code is not None else f"stopped after {ran.seconds:.0f} s, its limit; {found.said}"
        state: State = "failed"
        if found.is_for_lack:
            state = "not run"
        elif found.is_good and ran.code == 0:
            state = "passed"
        tail = "\n".join(ran.output.splitlines()[-TAIL:]) if state == "failed" else ""
        on_outcome(Outcome(step.kind, step.name, state, ran.seconds, said, found.rows, tail))


def judge_tests(report: Path) -> Callable[[Ran], Finding]:
    """How tests went, by the JUnit file that pytest leaves, or by its lines where it was stopped."""

    def judge(ran: Ran) -> Finding:
        try:
            cases = list(ElementTree.parse(report).getroot().iter("testcase"))
        except (OSError, ElementTree.ParseError):
            if ran.code is None:
                return Finding(False, f"{ran.output.count(' PASSED')} passed by then")
            missing = MISSING.search(ran.output)  # by a conftest.py
            return Finding(False, missing[0] if missing else _last_line(ran), is_for_lack=bool(missing))
        bad = [child for case in cases for child in case if child.tag in ("failure", "error")]
        skipped = [child for case in cases for child in case if child.tag == "skipped"]
        passed = sum(not any(child.tag in ("failure", "error", "skipped") for child in case) for case in cases)
        counts = (passed, "passed"), (len(bad), "failed"), (len(skipped), "skipped")
        said = ", ".join(f"{count} {word}" for count, word in counts if count) or "no tests"
        reasons = dict.fromkeys(_reason(child) for child in bad or skipped)
        is_for_lack = not passed and all(MISSING.search(reason) for reason in reasons) if bad else not passed
        return Finding(bool(passed) and not bad, "; ".join([said, *list(reasons)[:3]]), is_for_lack=is_for_lack)

    return judge


def judge_sanitizer(report: Path) -> Callable[[Ran], Finding]:
    """What compute-sanitizer found, and how the tests under it went."""
    tests = judge_tests(report)

    def judge(ran: Ran) -> Finding:
        under, summaries = tests(ran), dict.fromkeys(SUMMARY.findall(ran.output))
        if not summaries:
            return Finding(False, f"no summary from compute-sanitizer; {under.said}")
        is_clean = all(re.search(r": 0 (errors|hazards)", summary) for summary in summaries)
        return Finding(is_clean and under.is_good, "; ".join([*summaries, under.said]), is_for_lack=under.is_for_lack)

    return judge


def judge_bench(file: Path) -> Callable[[Ran], Finding]:
    """The rows that a benchmark wrote, as many as there are."""

    def judge(ran: Ran) -> Finding:
        rows = []
        for line in file.read_text().splitlines() if file.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:  # the last one, of a benchmark that was stopped
                break
        said = f"{len(rows)} rows" if ran.code in (0, None) else f"{len(rows)} rows; {_last_line(ran)}"
        return Finding(bool(rows), said, rows)

    return judge


def _reason(child: ElementTree.Element) -> str:
    """One line for a test that failed or was skipped; of a file that cannot be imported, what it lacks."""
    message = child.get("message", "").partition("\n")[0]
    errors = [line[2:].strip() for line in (child.text or "").splitlines() if line.startswith("E ")]
    return errors[-1] if errors and message == "collection failure" else message


def _last_line(ran: Ran) -> str:
    lines = [line.strip() for line in ran.output.splitlines() if line.strip()]
    return f"exit code {ran.code}: {lines[-1] if lines else 'no output'}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started, which is a group of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue
