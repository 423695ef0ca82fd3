"""User and password in an address: found whatever they hold, spelt so that every server reads the same, never told."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, unquote_to_bytes

from pipeline.frames import InputError

HIDDEN = "***"
"""What stands where a secret was."""
ADVICE = "write @ / ? # % of a password as %40 %2F %3F %23 %25"
"""The way out where an address can be read in two ways."""

_HOST_AND_PORT = re.compile(r"[^:@\s]*:\d{0,5}|\[[0-9A-Fa-f:.]*\](:\d{0,5})?")
_LOGIN = re.compile(r"([a-z][a-z0-9+.\-]*://)[^\s'\"<>]*@", re.IGNORECASE)
_ODD_LOGIN = re.compile(r"(://)[^\s@/:]+:(?!\d{1,5}(?:[/?#\s'\"),;]|$))[^@\n]*@")  # with blanks or quotes in it
_PARAMETER = re.compile(
    r"((?:^|[^A-Za-z0-9])(?:pass(?:word|wd|phrase)?|pwd?|psw|auth|token|access_?token|secret|api_?key|key|sig|signature"
    r"|credentials?|user(?:name)?|usr|login|account)=)(?:[^&;/\s'\"<>]*?)(?=[&;/\s'\"<>]|_[a-z]+=|$)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(authorization:?\s*)(basic|digest|bearer)\b[^\n]*", re.IGNORECASE)
_SHORTEST = 3  # a secret of one or two characters cannot be struck out of a text without striking out the text


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks, and the word that proves it. Its repr tells neither."""

    text: str = field(default="", repr=False)
    """`user:password`, everything but letters and digits percent-encoded; empty without a login."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Every spelling that must not be told, the longest first."""

    def clean(self, words: str) -> str:
        """Words of others for a message of ours: empty if they hold the login in any spelling.

        Struck out of a well-known sentence a secret could be read off the hole.
        """
        return "" if any(secret in words for secret in self.secrets) else redact(words)

    def redact(self, text: str) -> str:
        """The text without the login in any spelling, and without what else looks like one."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return redact(text)


def redact(text: str) -> str:
    """A text without logins in addresses, secret parameters and authorization headers, as far as they can be seen.

    Of an address all before its last @ goes: rather too much than a part of a password.
    """
    text = _ODD_LOGIN.sub(rf"\1{HIDDEN}@", _LOGIN.sub(rf"\1{HIDDEN}@", text))
    return _HEADER.sub(rf"\1{HIDDEN}", _PARAMETER.sub(rf"\1{HIDDEN}", text))


def split_login(rest: str, scheme: str) -> tuple[Login, str]:
    """The login of what follows `scheme://`, and what is left: host, port, path.

    A password may be typed as it is, even with @ : # ? % / in it, as long as only one reading is possible.
    Raises InputError, which quotes nothing, where there are two.
    """
    end = next((place for place, sign in enumerate(rest) if sign in "/?#"), len(rest))
    head, at = rest[:end], rest.rfind("@")
    if at < 0:
        return Login(), rest
    if "@" not in head and ":" not in head and ":" not in rest[end:at]:
        return Login(), rest  # an @ in the path or the query
    is_plain = at < end
    is_raw = "@" not in head and rest.count("@") == 1 and ":" in head and not _HOST_AND_PORT.fullmatch(head)
    if not (is_plain or is_raw):
        raise InputError(f"{scheme}:// address: its @ can end the password in two places; {ADVICE}")
    return _login(rest[:at], scheme), rest[at + 1 :]


def _login(typed: str, scheme: str) -> Login:
    user, colon, password = typed.partition(":")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in typed + unquote(typed)):
        raise InputError(f"{scheme}:// address: a control character in its user or password; remove it")
    # By bytes: %E9 is a letter to an old camera, and no UTF-8. A % that starts no escape stands for itself.
    plain = [unquote_to_bytes(part) for part in (user, password)]
    parts = [quote(part, safe="") for part in plain]
    raw = b":".join(plain)
    spellings = {typed, ":".join(parts), password, parts[1], parts[1].lower(), unquote(password)}
    spellings |= {
        quote(password),
        quote(plain[1]),
        plain[1].decode("latin-1"),
        plain[1].decode("utf-8", "replace"),
        unquote(typed),
    }
    spellings |= {base64.b64encode(part).decode() for part in (raw, plain[1]) if part}
    secrets = sorted((secret for secret in spellings if len(secret) >= _SHORTEST), key=len, reverse=True)
    return Login(parts[0] + (colon and ":" + parts[1]), tuple(secrets))
