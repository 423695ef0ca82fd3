"""What a benchmark is to measure, and who is told meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.align import Size
from pipeline.bench.clip import synthetic_pair
from pipeline.bench.ffmpeg import Blend
from pipeline.bench.row import Row
from pipeline.bench.timed import WARM_UP
from pipeline.device_job import Hwaccel
from pipeline.job import Job, Opened
from pipeline.sink import SinkSettings

DEFAULT_SIZE: Size = (640, 480)
"""Of the synthetic pair."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, beside the fusers."""

    inputs: tuple[str, str] | None
    """IR and VIS; None makes a synthetic pair of each size."""
    sizes: Sequence[Size | None]
    """None is the inputs' own."""
    frames: int
    """Pairs timed at most, after the warm-up."""
    presets: Sequence[str] = ("veryfast",)
    repeats: int = 1
    seconds: float = math.inf
    """After which one measurement ends early."""
    threads: int = 0
    hwaccel: Hwaccel = "auto"
    steady: bool = False
    work_height: int | None = None
    """See `align.Geometry`."""
    blend: Blend | None = None
    """FFmpeg, to be measured beside."""
    is_alone: bool = False
    """Stages are measured alone, too."""

    def inputs_at(self, folder: Path, size: Size | None) -> tuple[str, str]:
        """The two files; synthetic ones are made in the folder."""
        return self.inputs or synthetic_pair(folder, size or DEFAULT_SIZE, self.frames + WARM_UP)

    def job(self, inputs: tuple[str, str], size: Size | None, preset: str, folder: Path) -> Job:
        """The pipeline as `fuse` would run it on them."""
        settings = SinkSettings(preset=preset, overwrite=True)
        job = Job(*inputs, folder / "out.mp4", limit=self.frames + WARM_UP, threads=self.threads, hwaccel=self.hwaccel)
        geometry = replace(job.geometry, size=size if self.inputs else None, work_height=self.work_height)
        return replace(job, geometry=geometry, settings=settings, steady=None if self.steady else False)


@dataclass(slots=True)
class Ears:
    """Who is told what, while it happens."""

    on_row: Callable[[Row], None] = lambda row: None
    """Of each row when its last repeat is done."""
    on_notice: Callable[[str], None] = lambda line: None
    """Once of each thing worth knowing of inputs, hardware and rivals."""
    on_step: Callable[[str], None] = lambda line: None
    """Of what is measured next."""
    told: set[str] = field(default_factory=set)

    def notice(self, line: str) -> None:
        """Tell of it if nobody has."""
        if line not in self.told:
            self.told.add(line)
            self.on_notice(line)

    def opened(self, opened: Opened) -> None:
        """Tell what a job found in its inputs."""
        for line in opened.notices:
            self.notice(line)
