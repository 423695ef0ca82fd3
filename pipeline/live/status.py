"""The values of a live run that cross threads: frames with their times, what is under way, what a viewer may change."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pipeline.frames import Colour, Frame
from pipeline.palettes import PALETTES
from pipeline.views import VIEWS, View

State = Literal["connecting", "running", "stalled", "retrying", "stopped"]
MAX_NUDGE = 512.0
"""px either way: past it, it is the geometry that is wrong."""
_AGC = re.compile(r"percentile|plateau|fixed:\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A frame with what only a live source knows of it."""

    frame: Frame
    """pts strictly increasing per camera, in 1/1,000,000 s; its `time` is `captured`."""
    captured: float
    """s, time.monotonic: estimate of when it was taken."""
    arrived: float
    """s, time.monotonic: when it came out of the decoder."""
    colour: Colour = field(default_factory=Colour)
    """What its chroma planes mean."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera at one moment. Safe to publish: it holds no credentials."""

    name: str
    """`ir` or `vis`."""
    label: str
    """Redacted address."""
    state: State = "connecting"
    reason: str = ""
    """One line; empty while running."""
    since: float = 0.0
    """s monotonic, when the state began."""
    frames: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    """Frames lost, exactly, by reason."""
    reconnects: int = 0
    fps: float = math.nan
    """Over the last seconds; nan if unknown."""
    last_frame: float | None = None
    """s monotonic, arrival."""
    width: int = 0
    """px; 0 before the first frame."""
    height: int = 0
    bits: int = 0
    notes: tuple[str, ...] = ()
    """Odd things, each logged once: jumps, wraps, duplicates, changes of format, a frozen picture."""


@dataclass(frozen=True, slots=True)
class Controls:
    """What a viewer may change while the run goes on; replaced whole, never mutated."""

    view: View = "fused"
    palette: str = "white hot"
    agc: str = "percentile"
    """`percentile`, `plateau` or `fixed:LO,HI`."""
    nudge: tuple[float, float] = (0.0, 0.0)
    """px by which IR is moved right and down, added to the geometry's."""
    weight: float = 0.5
    """Share of IR in the view `blend`."""
    divider: float | None = None
    """Place, 0..1 of the width, where a picture in two halves is cut; None: no divider."""
    overlay: bool = False
    recording: bool = False
    hot_level: int = 200
    """Luma of IR, 0..255, from which the view `hot` lays it over VIS."""


class Panel:
    """Holds the controls of a run. Any thread may read and change them."""

    def __init__(self, controls: Controls | None = None, *, palettes: tuple[str, ...] = PALETTES) -> None:
        """palettes: the names allowed; a user's own table adds one. Raises ValueError as `change` does."""
        self._lock = threading.Lock()
        self.palettes = palettes
        """Names that `palette` may have."""
        self._controls = controls or Controls()
        self.change(**{item.name: getattr(self._controls, item.name) for item in fields(Controls)})

    @property
    def controls(self) -> Controls:
        """As they stand."""
        return self._controls

    def change(self, **changes: Any) -> Controls:
        """Set some fields and return the new controls. Raises ValueError, one line, and changes nothing then."""
        checked = {name: self._checked(name, value) for name, value in changes.items()}
        with self._lock:
            self._controls = replace(self._controls, **checked)
            return self._controls

    def _checked(self, name: str, value: Any) -> Any:
        match name:
            case "view":
                return _one_of(name, value, VIEWS)
            case "palette":
                return _one_of(name, value, self.palettes)
            case "agc":
                return _agc(value)
            case "nudge":
                if not isinstance(value, (tuple, list)) or len(value) != 2:
                    raise ValueError(f"nudge {value!r}: give two numbers of px, right and down")
                return tuple(_number(name, part, -MAX_NUDGE, MAX_NUDGE) for part in value)
            case "weight":
                return _number(name, value, 0.0, 1.0)
            case "divider":
                return None if value is None else _number(name, value, 0.0, 1.0)
            case "hot_level":
                return round(_number(name, value, 0, 255))
            case "overlay" | "recording":
                if not isinstance(value, bool):
                    raise ValueError(f"{name} {value!r}: give true or false")
                return value
        allowed = ", ".join(item.name for item in fields(Controls))
        raise ValueError(f"{name}: no such control; use one of {allowed}")


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """A whole run at one moment."""

    cameras: dict[str, CameraStatus]
    pairs: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    """Frames the line itself lost, exactly, by reason."""
    fps: float = math.nan
    """Of the output, over the last seconds."""
    latency_ms: dict[str, float] = field(default_factory=dict)
    """Capture to output: p50, p95, last."""
    skew_ms: dict[str, float] = field(default_factory=dict)
    """IR minus VIS within a pair: last, p95 of its size."""
    stages_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """By stage: p50, p95."""
    state: str = "starting"
    """`starting`, `fusing`, `waiting`, `ir lost`, `vis lost`, `both lost` or `stopped`."""
    message: str = ""
    """One line for a person: what is missing, and by how much."""
    recording: dict[str, Any] | None = None
    """path, seconds, bytes, free_bytes, error; None without a recording."""
    alignment: dict[str, float] | None = None
    """residual_px, dx_px and dy_px (infrared right and below), confidence, patches; None while nobody can tell."""
    backend: str = ""
    steady: bool = False
    """Gain steps of IR and the grain of what rests are held back."""
    uptime: float = 0.0
    """s since the start."""
    rss_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON: numbers that are not known (nan) are None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} {value!r}: not known; use one of {', '.join(allowed)}")
    return str(value)


def _number(name: str, value: Any, low: float, high: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and low <= value <= high):  # nan is not, either
        raise ValueError(f"{name} {value!r}: give a number from {low:g} to {high:g}")
    return float(value)


def _agc(value: Any) -> str:
    match = _AGC.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[1] is not None and float(match[1]) >= float(match[2])):
        raise ValueError(f"agc {value!r}: not known; use percentile, plateau or fixed:LO,HI with LO below HI")
    return str(value)
