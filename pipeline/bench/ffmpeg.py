"""FFmpeg's own `blend` on the same files with the same encoder settings: what a user has without this program."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pipeline.align import Size
from pipeline.bench.program import run_program
from pipeline.job import Job
from pipeline.video_sink import KEY_INTERVAL

NAME = "ffmpeg blend"


@dataclass(frozen=True, slots=True)
class Blend:
    """The program, and what it says of itself."""

    program: str
    version: str

    def command(self, job: Job, size: Size, rate: Fraction, pairs: int) -> list[str]:
        """Averages luma and keeps the chroma of VIS, as plain mean does; so many pairs."""
        scale = f"scale={size[0]}:{size[1]}"
        graph = f"[0:v]{scale}[vis];[1:v]{scale},format=yuv420p[ir];[vis][ir]blend=c0_mode=average[out]"
        settings = job.settings
        return [
            self.program, "-nostdin", "-v", "error", "-y", "-i", _file(job.vis), "-i", _file(job.ir),
            "-filter_complex", graph, "-map", "[out]", "-frames:v", str(pairs), "-c:v", settings.encoder,
            "-preset", str(settings.preset), "-crf", str(settings.crf), "-pix_fmt", settings.pixel_format,
            "-g", str(max(1, round(KEY_INTERVAL * rate))), "-threads", str(job.threads), _file(str(job.out)),
        ]  # fmt: skip


def find_blend() -> Blend | str:
    """The program of this machine, or why there is none."""
    program = shutil.which("ffmpeg")
    if program is None:
        return f"{NAME}: no program ffmpeg here; install it to have it measured beside"
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, errors="replace", timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{NAME}: {program} does not run ({error}); install another"
    words = told.stdout.split()
    if told.returncode or len(words) < 3:
        return f"{NAME}: {program} does not run (exit code {told.returncode}); install another"
    return Blend(program, words[2])


def blended(
    blend: Blend, job: Job, size: Size, rate: Fraction, pairs: int, warm_up: int, stop: threading.Event
) -> float | str | None:
    """Pairs a second, or why it failed; None if `stop` was set meanwhile.

    Measured as ours is, after a warm-up and until the file is closed: the time of warm-up and pairs less that of the
    warm-up alone, which takes the start of the program out.
    """
    took = []
    for count in (warm_up, warm_up + pairs):
        began = time.perf_counter()
        failure = _run(blend.command(job, size, rate, count), stop)
        took.append(time.perf_counter() - began)
        if stop.is_set():
            return None
        if failure is not None:
            return f"{NAME}: {failure}"
    seconds = took[1] - took[0]
    return pairs / seconds if seconds > 0 else f"{NAME}: {pairs} pairs are too few to time it; pass more --frames"


def why_not(job: Job) -> str | None:
    """Why the program is not asked to fuse these inputs; None if it is."""
    for name in (job.ir, job.vis):
        if not Path(name).is_file():
            return f"{NAME}: takes two video files, {name} is none"
    return None


def _run(command: list[str], stop: threading.Event) -> str | None:
    """None, or why it failed: the last line that it said."""
    ended = run_program(command, stop)
    if ended is None or not ended[0]:
        return None
    lines = ended[2].strip().splitlines()
    return lines[-1] if lines else f"exit code {ended[0]}"


def _file(name: str) -> str:
    """A name that FFmpeg takes for a file, whatever it looks like."""
    return f"file:{name}"
