"""The address of the page: read from the command line, and taken from the system with an error of one line."""

from __future__ import annotations

import errno
import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from pipeline.frames import InputError

SEND_BUFFER = 256 * 1024
"""Bytes the system holds for a viewer: several pictures; with its own choice a slow viewer sees seconds late."""
GONE_MS = 15_000
"""After which the system drops a viewer that acknowledges nothing (TCP_USER_TIMEOUT): a phone out of reach."""
BACKLOG = 64
_PATTERN = re.compile(r"(?P<host>\[[0-9a-fA-F:.%\w]+\]|[^\s:\[\]/]+):(?P<port>\d{1,5})")
_REASONS = {
    errno.EADDRINUSE: "in use by another program; stop that one or choose another port",
    errno.EADDRNOTAVAIL: "not an address of this machine; use one of its own, or 0.0.0.0 for all of them",
    errno.EACCES: "not permitted; ports below 1024 need rights, choose one above",
}


@dataclass(frozen=True, slots=True)
class Bind:
    """Where to listen."""

    host: str
    """A name or an address, IPv6 without brackets."""
    port: int
    """0: any free one."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bind(text: str) -> Bind | None:
    """`HOST:PORT`, or `off`, which is None. Raises InputError."""
    if text.strip().lower() == "off":
        return None
    match = _PATTERN.fullmatch(text.strip())
    if match is None or int(match["port"]) > 65535:
        raise InputError(f"preview {text!r}: not an address; give HOST:PORT, as 127.0.0.1:8080 or [::1]:8080, or off")
    return Bind(match["host"].strip("[]"), int(match["port"]))


def listen(bind: Bind) -> socket.socket:
    """A listening socket; its options pass on to the connections made through it. Raises InputError."""
    try:
        found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InputError(f"preview {bind}: no such host; give an address of this machine, or off") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = _REASONS.get(error.errno or 0, f"{error.strerror}; choose another address, or off")
        raise InputError(f"preview {bind}: {reason}") from error
    return listener


def address_of(listener: socket.socket) -> tuple[str, int]:
    """The literal address and the port that a socket listens on."""
    host, port = listener.getsockname()[:2]
    return str(ip_address(host.partition("%")[0])), port
