"""One measurement in a process of its own: on some of the cores, or to see how much memory it takes at most.

Its argument is a request in JSON, its output an answer in JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engines.base import CrotalusError
from pipeline.bench.program import run_program
from pipeline.bench.spec import Spec

ROOT = str(Path(__file__).parents[2])


class ChildError(CrotalusError, RuntimeError):
    """A measurement in another process that failed; the text is what that process said last."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the other process is to measure, as `plan.Plan` has it."""

    spec: Spec
    inputs: tuple[str, str]
    size: tuple[int, int] | None
    preset: str
    frames: int
    seconds: float
    threads: int
    precision: str
    hwaccel: str
    steady: bool
    work_height: int | None
    cores: Sequence[int] | None = None
    """Numbers of those it may use; None: all that this process may."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What it found."""

    fuser: str
    width: int
    height: int
    pairs: int
    seconds: float
    peak_mb: float | None
    """Most memory it held, MiB; None where the system does not tell."""

    @property
    def fps(self) -> float:
        """Pairs a second."""
        return self.pairs / self.seconds


def ask(request: Request, stop: threading.Event) -> Answer | None:
    """Measure in a new process and wait for it; None if `stop` was set. Raises ChildError."""
    where = os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-m", "pipeline.bench.child", json.dumps(asdict(request))]
    ended = run_program(command, stop, env={**os.environ, "PYTHONPATH": where})
    if ended is None:
        return None
    code, out, said = ended
    if code:
        lines = said.strip().splitlines()
        raise ChildError(f"a measurement in a process of its own failed: {lines[-1] if lines else code}")
    return Answer(**json.loads(out))


def peak_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """Most memory that this program held since it was loaded, MiB. `ru_maxrss` would count its parent's, too."""
    with suppress(OSError, ValueError, StopIteration):
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return None


def answer(request: Request) -> Answer:
    """Measure here. Raises CrotalusError."""
    from pipeline.bench.plan import Plan
    from pipeline.bench.timed import timed

    plan = Plan(
        request.inputs, [request.size], request.frames, seconds=request.seconds, threads=request.threads,
        hwaccel=request.hwaccel, steady=request.steady, work_height=request.work_height,  # type: ignore[arg-type]
    )  # fmt: skip
    with TemporaryDirectory(prefix="crotalus-bench-") as folder, closing(
        request.spec.open(threads=request.threads, precision=request.precision)  # type: ignore[arg-type]
    ) as fuser:  # fmt: skip
        job = plan.job(request.inputs, request.size, request.preset, Path(folder))
        turn = timed(job, fuser, seconds=request.seconds)
        assert turn is not None, "nobody stops a measurement here"
        return Answer(fuser.name, turn.width, turn.height, turn.pairs, turn.seconds, peak_mb())


def parsed(text: str) -> Request:
    """The request of a line of JSON."""
    values: dict[str, Any] = json.loads(text)
    assert set(values) == {field.name for field in fields(Request)}
    for name in ("inputs", "size"):
        values[name] = values[name] and tuple(values[name])
    return Request(**{**values, "spec": Spec(**values["spec"])})


def main() -> int:
    """Answer the request that is the only argument; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = parsed(sys.argv[1])
    if request.cores is not None:
        os.sched_setaffinity(0, request.cores)  # before any library counts them
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        found = answer(request)
    except CrotalusError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    out.write(json.dumps(asdict(found)) + "\n")
    out.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
