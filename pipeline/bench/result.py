"""A benchmark as a JSON file: written whole, read with care."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.bench.batches import Batch
from pipeline.bench.growth import Length, Pixels
from pipeline.bench.latency import Latency
from pipeline.bench.load import Load
from pipeline.bench.row import Row
from pipeline.bench.scaling import OnCores
from pipeline.frames import InputError

FORMAT, VERSION = "crotalus-bench", 1
MOST_BYTES = 64 << 20
"""Of a file that is read: a result has some 100 kB."""
COPYING = "copying memory, GB"
"""The anchor that copies of pictures are held to."""
Rates = dict[str, list[float]]
"""What was measured: by its name the speed in each repeat, larger is faster."""


@dataclass(slots=True)
class Result:
    """Everything that one run of `bench` found."""

    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    anchors: Rates = field(default_factory=dict)
    """What the machine does without this program, by repeat: GB/s copied, GFLOP/s multiplied."""
    latency: list[Latency] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    cores: list[OnCores] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    lengths: list[Length] = field(default_factory=list)
    load: Load | None = None
    noise: list[str] = field(default_factory=list)
    """Why the run is noisy, a line each; empty if it is not."""
    failed: list[str] = field(default_factory=list)
    """Why what was asked for beside the rows is not there, a line each."""
    is_interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        parts = ("rows", "latency", "batches", "cores", "pixels", "lengths")
        return {
            "format": FORMAT, "version": VERSION, "machine": self.machine, "versions": self.versions,
            "settings": self.settings, "load": self.load.to_json() if self.load else None, "noise": self.noise,
            "failed": self.failed, "is_interrupted": self.is_interrupted,
            "anchors": {name: [round(value, 3) for value in values] for name, values in self.anchors.items()},
            **{part: [item.to_json() for item in getattr(self, part)] for part in parts},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """What a file says, as far as two runs are compared by it."""

    name: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    weights: dict[str, str | None]
    """Of each fuser."""
    noise: list[str]
    anchors: Rates
    rates: Rates


def read(path: Path) -> Told:
    """The result in a file that `bench --json` wrote. Raises InputError for any other."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: too large for a result of bench; give a file that `bench --json` wrote")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a file that `bench --json` wrote") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON; give a file that `bench --json` wrote") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        if isinstance(content, dict) and {"machine", "rows"} <= content.keys():
            raise InputError(f"{path}: of an older bench, which kept no repeats; measure again with this one")
        raise InputError(f"{path}: not a result of bench; give a file that `bench --json` wrote")
    if content.get("version") != VERSION:
        raise InputError(f"{path}: version {content.get('version')!r}, this bench reads {VERSION}; measure again")
    try:
        return Told(
            str(path), _texts(content["machine"]), _texts(content["versions"]), dict(content["settings"]),
            {str(row["fuser"]): row.get("weights") for row in content["rows"]}, list(map(str, content["noise"])),
            dict(_checked((name, values) for name, values in content["anchors"].items())),
            dict(_checked(_rates(content))),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: damaged, {type(error).__name__} {error}; measure again") from error


def _rates(content: dict[str, Any]) -> Iterator[tuple[str, list[float]]]:
    for row in content["rows"]:
        place = f"{row['width']}x{row['height']}"
        yield f"{place} {row['preset']} {row['fuser']}", row["fps_of_repeats"]
        yield f"{place} {row['preset']} {row['fuser']}: CPU", [1e3 / ms for ms in row["cpu_ms_of_repeats"]]
        for stage, alone in row["alone"].items():
            # Decoding is the same for every fuser and preset of a size: a later row says it again.
            name = f"{place} decode alone" if stage == "decode" else f"{place} {row['preset']} {row['fuser']}: {stage}"
            yield name if stage == "decode" else f"{name} alone", [1e3 / ms for ms in alone["ms"]]
    for row in content["latency"]:
        yield f"{row['width']}x{row['height']} {row['fuser']}: latency", [1e3 / ms for ms in row["p50_ms_of_repeats"]]
    for row in content["batches"]:
        place = f"{row['width']}x{row['height']} {row['fuser']}"
        yield f"{place}: batch {row['batch']}", [1e3 / ms for ms in row["ms_of_repeats"]]
    for row in content["cores"]:
        place = f"{row['width']}x{row['height']} {row['fuser']}"
        yield f"{place}: cores {row['cores']}", row["fps_of_repeats"]


def _checked(rates: Any) -> Iterator[tuple[str, list[float]]]:
    """The same; raises ValueError for what is no speed."""
    for name, values in rates:
        speeds = [float(value) for value in values]
        if not all(math.isfinite(speed) and speed > 0 for speed in speeds):
            raise ValueError(f"{name}: {speeds}")
        if speeds:
            yield name, speeds


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()}
