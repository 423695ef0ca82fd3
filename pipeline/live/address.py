"""Where a live source is, as typed: `rtsp://`, `http://`, `udp://`, `tcp://`, `v4l2:`, `file:`, with its options.

Options follow the address as a query or a fragment: `rtsp://camera/stream?channel=1#transport=udp`. What is in the
query and is no option of ours goes to the camera.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from fractions import Fraction

from pipeline.frames import InputError
from pipeline.live.address_options import OPTIONS, Kind, Transport, settings
from pipeline.live.clock import ClockMode
from pipeline.live.login import HIDDEN, Login, redact, split_login

OPEN_TIMEOUT = 5.0
"""s a source gets to answer and to say what it sends."""
READ_TIMEOUT = 10.0
"""s without a picture after which it is opened anew."""
MAX_RTSP_LOGIN = 127
"""Bytes of a percent-encoded login that FFmpeg's RTSP client holds; it cuts off the rest and is refused."""
_SCHEMES: dict[str, Kind] = {
    "rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http", "udp": "udp", "tcp": "tcp",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """A checked address. Its repr and str are safe to print; `url` is not."""

    kind: Kind
    label: str
    """The address without its login, for people."""
    place: str
    """What messages call it: host and port, the device, the file's name."""
    url: str = field(repr=False)
    """What FFmpeg opens: with the login of a network address, the device, the path of a file."""
    login: Login = field(default_factory=Login, repr=False)
    transport: Transport = "tcp"
    """What carries RTSP's pictures."""
    clock: ClockMode = "pts"
    open_timeout: float = OPEN_TIMEOUT
    read_timeout: float = READ_TIMEOUT
    is_deep: bool = False
    """Whether 16-bit gray was asked for: an 8-bit stream is refused then."""
    fmt: str | None = None
    """Four letters of a pixel format, a key of `PIXELS`; None: the device's choice."""
    size: tuple[int, int] | None = None
    """Width and height, px."""
    fps: Fraction | None = None
    realtime: bool = True
    """Whether a file is paced by its time stamps; else as fast as its frames are asked for."""
    loop: bool = False
    """Whether a file starts again at its end."""

    def __str__(self) -> str:
        return self.label

    def redact(self, text: str) -> str:
        """A text without this address's login."""
        return self.login.redact(text)


def parse_address(text: str) -> Address:
    """An address as typed. Raises InputError, which never quotes a login.

    A name without a scheme is a device if it begins with /dev/video, else a file.
    """
    text = text.strip()
    if not text or any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise InputError("live source: empty, or with a control character; give an address like rtsp://host/path")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if colon and scheme in _SCHEMES:
        if not rest.startswith("//"):
            raise InputError(f"{scheme}: address without //; write {scheme}://host:port/path")
        return _network(scheme, rest[2:])
    if colon and scheme == "v4l2":
        return _device(rest)
    if colon and scheme == "file":
        return _file(rest.removeprefix("//"))
    if colon and rest.startswith("//"):
        allowed = ", ".join(f"{name}://" for name in _SCHEMES)
        raise InputError(f"{redact(scheme)[:20]}://: not a kind of live source; use {allowed}, v4l2: or file:")
    if text.startswith("/dev/video"):
        return _device(text)
    if re.search(r":.*@", text) and not os.path.exists(text):
        raise InputError("live source: a login without a scheme before it; write rtsp://user:password@host/path")
    return _file(text)


def _network(scheme: str, rest: str) -> Address:
    kind = _SCHEMES[scheme]
    login, rest = split_login(rest, scheme)
    rest, _, fragment = rest.partition("#")
    path, mark, query = rest.partition("?")
    theirs = [part for part in query.split("&") if part.partition("=")[0] not in OPTIONS[kind]]
    ours = [part for part in query.split("&") if part and part not in theirs] + fragment.split("&")
    rest = path + (mark if query and any(theirs) else "") + "&".join(theirs)
    place = re.split(r"[/?]", rest, maxsplit=1)[0]
    label = login.redact(f"{scheme}://{HIDDEN + '@' if login.text else ''}{redact(rest)}")
    _check_place(place, label, kind)
    if kind == "rtsp" and len(login.text) > MAX_RTSP_LOGIN:
        raise InputError(f"{label}: login of {len(login.text)} characters, encoded; RTSP takes {MAX_RTSP_LOGIN}")
    url = f"{scheme}://{login.text + '@' if login.text else ''}{rest}"
    return Address(kind, label, place, url, login, **settings(ours, kind, label))


def _check_place(place: str, label: str, kind: Kind) -> None:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%a-z0-9]+\]|[^\s:@\[\]]*)(?::(\d{1,5}))?", place)
    host, port = (match[1], match[2]) if match else ("", None)
    if not match or not (host or kind == "udp") or (port and not 0 < int(port) < 65536):
        raise InputError(f"{label}: no host and port in it; write host:port, with [ ] around an IPv6 address")
    if kind in ("udp", "tcp") and port is None:
        raise InputError(f"{label}: no port; write {kind}://host:port")


def _device(rest: str) -> Address:
    path, _, query = rest.partition("?")
    if not path.startswith("/dev/"):
        raise InputError(f"v4l2:{path}: not a device; write v4l2:/dev/video0?fmt=Y16&size=640x480&fps=9")
    return Address("v4l2", f"v4l2:{path}", path, path, **settings(query.split("&"), "v4l2", f"v4l2:{path}"))


def _file(rest: str) -> Address:
    path, query = rest, ""
    if not os.path.exists(rest):  # a ? in the name of a file that is there is part of the name
        path, _, query = rest.rpartition("?") if "?" in rest else (rest, "", "")
    label, name = redact(f"file:{path}"), redact(os.path.basename(path))
    if not path:
        raise InputError("file: without a path; write file:PATH?realtime=1&loop=1")
    return Address("file", label, name, path, **settings(query.split("&"), "file", label))
