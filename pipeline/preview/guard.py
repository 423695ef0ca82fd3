"""Who may see the page and who may change what it shows: token, Host, Origin, and what every answer must carry."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from pipeline.frames import InputError

PUBLIC = frozenset({"/", "/app.js", "/stream.js", "/charts.js", "/style.css", "/icon.svg", "/healthz", "/readyz"})
"""What tells nothing of the run but whether it is alive and ready; the page itself is the same for everybody."""
SESSION = "/session"
"""Where a page hands in the token and gets it back as a cookie."""
READ = frozenset({"GET", "HEAD"})
MAX_BODY = 4096
"""Bytes a request may bring: many times what any change of the controls needs."""
MIN_TOKEN = 16
"""Characters of a token that a user chooses."""
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""On every answer. No header of CORS: no other site is to read anything."""

Refusal = tuple[HTTPStatus, str]


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one server."""

    token: str = field(repr=False)
    """Needed for every change; to look as well unless `is_open`."""
    is_open: bool
    """True on a loopback address without a token of the user's: whoever reaches it may look."""
    is_loopback: bool
    hosts: frozenset[str]
    """Names under which the page may be asked for, besides addresses."""
    cookie: str
    """Its name; it holds the port, because browsers share cookies between the ports of a host."""

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request is refused, or None. headers: names in lower case."""
        host = headers.get("host", "").lower()
        if not self._is_ours(host):
            return HTTPStatus.FORBIDDEN, f"host {host!r}: not a name of this page; add it to the preview's hosts"
        if not _is_from_here(method, host, headers):
            return HTTPStatus.FORBIDDEN, "asked for by another site"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return HTTPStatus.BAD_REQUEST, "content-length: not a number"
        if len(length) > 9 or int(length) > MAX_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY} bytes"
        if path == SESSION or (method in READ and (self.is_open or path in PUBLIC)):
            return None
        if not self.knows(self.given(headers)):
            return HTTPStatus.UNAUTHORIZED, "a token is needed; open the address that was printed at the start"
        return None

    def knows(self, token: str) -> bool:
        """Whether this is the token; takes as long for a wrong one as for the right one."""
        return secrets.compare_digest(token.encode(errors="surrogatepass"), self.token.encode())

    def given(self, headers: Mapping[str, str]) -> str:
        """The token that a request brings as `Authorization: Bearer` or as a cookie; empty without one."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return token.strip()
        for item in headers.get("cookie", "").split(";"):
            name, _, value = item.strip().partition("=")
            if name == self.cookie:
                return value
        return ""

    def set_cookie(self) -> str:
        """The header that makes a browser bring the token, to this host only and for no other site."""
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"

    def _is_ours(self, host: str) -> bool:
        """A name that only an attacker's DNS points here is not ours; an address cannot be forged in this way."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self.hosts:
                return True
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.is_loopback


def make_guard(host: str, port: int, token: str | None, hosts: tuple[str, ...] = ()) -> Guard:
    """The rules for an address (a literal one). Raises InputError for a token too short or not made for a header."""
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or set(token) & set(' ;,"\\')):
        given = f"{len(token)} characters" if len(token) < MIN_TOKEN else "a blank, quote, comma or semicolon in it"
        allowed = f"at least {MIN_TOKEN} printable ASCII characters without blanks, quotes, commas and semicolons"
        raise InputError(f"preview token: {given}; give {allowed}, or none to have one made")
    is_loopback = ip_address(host).is_loopback
    own = socket.gethostname().lower()
    names = {"localhost", *(name.lower() for name in hosts), *(() if is_loopback else (own, f"{own}.local"))}
    return Guard(
        token or secrets.token_urlsafe(24), is_loopback and token is None, is_loopback, frozenset(names),
        f"crotalus_{port}",
    )  # fmt: skip


def _is_from_here(method: str, host: str, headers: Mapping[str, str]) -> bool:
    """False for what another site makes a browser ask for; following a link to the page is no such thing."""
    origin = headers.get("origin")
    if origin is not None and origin.lower().partition("://")[2] != host:  # `null` has no such part
        return False
    site = headers.get("sec-fetch-site", "none")
    is_link = method in READ and headers.get("sec-fetch-mode") == "navigate"
    return site in ("none", "same-origin") or (is_link and headers.get("sec-fetch-dest") == "document")
