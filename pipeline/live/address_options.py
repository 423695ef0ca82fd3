"""What may follow the address of a live source, `transport=udp&clock=arrival`: checked, as fields of an Address."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Literal, get_args
from urllib.parse import unquote

from pipeline.frames import MAX_SIDE, InputError
from pipeline.live.clock import ClockMode
from pipeline.live.login import redact

Kind = Literal["rtsp", "http", "udp", "tcp", "v4l2", "file"]
Transport = Literal["tcp", "udp"]

MAX_TIMEOUT = 3600.0
"""s; longer is a typing error."""
PIXELS = {
    "Y16": "gray16le", "GREY": "gray", "Y8": "gray", "YUYV": "yuyv422", "UYVY": "uyvy422", "NV12": "nv12",
    "YU12": "yuv420p", "RGB3": "rgb24", "BGR3": "bgr24", "MJPG": "mjpeg", "H264": "h264",
}  # fmt: skip
"""Pixel formats of V4L2 that FFmpeg's capture knows, by their four letters, and its names for them."""

_COMMON = ("clock", "open_timeout", "read_timeout", "bits")
OPTIONS: dict[Kind, tuple[str, ...]] = {
    "rtsp": (*_COMMON, "transport"), "http": _COMMON, "udp": _COMMON, "tcp": _COMMON,
    "v4l2": (*_COMMON, "fmt", "size", "fps"), "file": (*_COMMON, "realtime", "loop"),
}  # fmt: skip
"""Names allowed for each kind of source."""


def settings(parts: list[str], kind: Kind, label: str) -> dict[str, Any]:
    """Fields of an Address from `name=value` texts. label: what messages call it. Raises InputError."""
    found: dict[str, Any] = {}
    for part in filter(None, parts):
        name, _, value = part.partition("=")
        if name not in OPTIONS[kind]:
            allowed = ", ".join(OPTIONS[kind])
            raise InputError(f"{label}: option {redact(name)[:20]!r} not known for {kind}; use {allowed}")
        found |= _setting(name, unquote(value), f"{label}: {name}={redact(value)[:40]}")
    return found


def _setting(name: str, value: str, given: str) -> dict[str, Any]:
    match name:
        case "clock":
            return {"clock": _one_of(value, get_args(ClockMode), given)}
        case "transport":
            return {"transport": _one_of(value, get_args(Transport), given)}
        case "realtime" | "loop":
            return {name: _one_of(value, ("0", "1"), given) == "1"}
        case "bits":
            return {"is_deep": _one_of(value, ("8", "16"), given) == "16"}
        case "fmt":
            fmt = _one_of(value.upper(), tuple(PIXELS), given)
            return {"fmt": fmt} | ({"is_deep": True} if fmt == "Y16" else {})
        case "size":
            match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
            size = (int(match[1]), int(match[2])) if match else (0, 0)
            if not (min(size) > 0 and max(size) <= MAX_SIDE):
                raise InputError(f"{given}: not a size; give width and height in px, like 640x480")
            return {"size": size}
        case "fps":
            if not re.fullmatch(r"(?=.*[1-9])\d{1,6}(\.\d{1,6}|/0*[1-9]\d{0,5})?", value) or not Fraction(value):
                raise InputError(f"{given}: not a rate; give frames per second, like 9 or 30000/1001")
            return {"fps": Fraction(value)}
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= MAX_TIMEOUT:
        raise InputError(f"{given}: not a time; give seconds from 0.1 to {MAX_TIMEOUT:g}")
    return {name: seconds}


def _one_of(value: str, allowed: tuple[str, ...], given: str) -> str:
    if value not in allowed:
        raise InputError(f"{given}: not known; use one of {', '.join(allowed)}")
    return value
