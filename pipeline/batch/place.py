"""Where a file is, as typed: a path, or an address that fsspec knows; its login and its signature are never told."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from pipeline.frames import InputError
from pipeline.live.login import HIDDEN, Login, redact, split_login

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
_BY_ENVIRONMENT = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
"""Clouds whose keys come from their own settings: in an address they would end in every list of files."""


@dataclass(frozen=True, slots=True)
class Place:
    """A checked place. Its repr and str are safe to print; `text` is not."""

    label: str
    """The place without login, query and signature, for people."""
    text: str = field(repr=False)
    """A path, or what fsspec opens."""
    scheme: str = ""
    """Of an address; empty for a path."""
    login: Login = field(default_factory=Login, repr=False)
    query: str = field(default="", repr=False)
    """Of an address: it may be a signature, so it is not told."""

    def __str__(self) -> str:
        return self.label

    @property
    def name(self) -> str:
        """The last part, without a query: what a file is called."""
        return unquote(os.path.basename(self.label.removesuffix("?" + HIDDEN).rstrip("/")))

    def redact(self, text: str) -> str:
        """A text of others without this place's login and query."""
        if self.query:
            text = text.replace(self.query, HIDDEN).replace(unquote(self.query), HIDDEN)
        return redact(self.login.redact(text))


def is_address(text: str) -> bool:
    """Whether a place is no path of this machine, by its looks. `file://` is a path."""
    match = _ADDRESS.match(text)
    return match is not None and match[1].lower() not in ("file", "local")


def parse_place(text: str) -> Place:
    """A place as typed. Raises InputError, which never quotes a login."""
    match = _ADDRESS.match(text)
    if match is None:
        return Place(redact(text), text)
    scheme, rest = match[1].lower(), match[2]
    if scheme in ("file", "local"):
        return Place(redact(rest), rest)
    if "::" in rest or "::" in text.partition("://")[0]:
        raise InputError(f"{scheme}:// address: another one inside it (::); unpack the archive and name its files")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme in _BY_ENVIRONMENT and ("@" in host and (":" in host or not scheme.startswith("a"))):
        advice = "give keys by the environment or a profile, such as AWS_PROFILE"
        raise InputError(f"{scheme}:// address: a login in it; {advice}")
    login, rest = (Login(), rest) if scheme in _BY_ENVIRONMENT else split_login(rest, scheme)
    path, mark, query = rest.partition("?") if scheme.startswith("http") else (rest, "", "")
    shown = f"{scheme}://{HIDDEN + '@' if login.text else ''}{path}"
    label = login.redact(redact(shown)) + (f"?{HIDDEN}" if mark else "")
    if not path.strip("/") or (path.startswith("/") and scheme in _BY_ENVIRONMENT):
        raise InputError(f"{label}: no bucket or host in it; write {scheme}://bucket/name")
    full = f"{scheme}://{login.text + '@' if login.text else ''}{rest}"
    return Place(label, full, scheme, login, query)
