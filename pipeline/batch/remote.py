"""Files behind an address, through fsspec: asked with patience, checked in length, told without secrets."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engines.base import CrotalusError
from pipeline.batch.place import Place
from pipeline.frames import InputError

log = logging.getLogger(__name__)

T = TypeVar("T")
BLOCK = 16 << 20
"""Bytes a request asks for: a lost one costs little, and 30 ms of a request are nothing beside it."""
SLOWEST = 1 << 20
"""Bytes/s below which a transfer that is one request counts as hanging."""
AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Stores where an object is there whole or not at all; elsewhere a file is moved into its place."""
READ_ONLY = frozenset({"http", "https", "data", "github", "git", "zip", "tar"})


class StorageError(CrotalusError, OSError):
    """A store that does not answer, or answers wrongly, after all tries. The same command may succeed later."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is asked."""

    tries: int = 5
    """Of one request."""
    first_wait: float = 0.5
    """s before the second try; doubled each time, a half to the whole of it taken at random."""
    request: float = 60.0
    """s that one request may take."""
    deadline: float = 3600.0
    """s for a whole file."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a store says of a file."""

    size: int
    """Bytes."""
    version: str
    """Changes when the file does: an ETag, else a time; empty if the store tells neither."""


class Remote:
    """One file behind an address. Any thread; a call that hangs is left behind when its time is over."""

    def __init__(self, place: Place, patience: Patience | None = None) -> None:
        """Raises InputError if the store's package is not installed, or nobody knows the scheme."""
        self.place, self._patience = place, patience or Patience()
        self._end = time.monotonic() + self._patience.deadline
        self._system, self._path = _file_system(place, self._patience)

    def facts(self) -> Facts:
        """Size and version. Raises InputError if it is not there, StorageError if the store does not say."""
        info = self._ask("look it up", lambda: self._system.info(self._path))
        if info.get("type") == "directory":
            raise InputError(f"{self.place}: a folder; name a file in it")
        if info.get("size") is None:
            raise StorageError(f"{self.place}: the server tells no size, so a broken copy would pass; copy it to disk")
        told = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "modified", "created")
        version = next((str(info[name]) for name in told if info.get(name)), "")
        return Facts(int(info["size"]), version)

    def read_into(self, path: Path, facts: Facts) -> None:
        """Copy it to a file of this machine. Raises InputError, StorageError, and OSError of this machine."""
        if not self._has_ranges(facts):
            self._ask("read it", lambda: self._system.get_file(self._path, str(path)), facts.size)
        else:
            with path.open("r+b" if path.exists() else "wb") as file:  # room may be reserved by a file of its size
                file.truncate(facts.size)
                for start in range(0, facts.size, BLOCK):
                    file.write(self._block(start, min(start + BLOCK, facts.size)))
        if path.stat().st_size != facts.size:
            raise StorageError(f"{self.place}: {path.stat().st_size} bytes came of {facts.size}; run it again")
        if self.facts() != facts:
            raise StorageError(f"{self.place}: changed while it was read; wait until it is written, and run it again")

    def write_from(self, path: Path) -> None:
        """Put a file of this machine there: whole or not at all. Raises InputError, StorageError."""
        self.check_writable()
        size = path.stat().st_size
        is_whole = self.place.scheme in AT_ONCE

        def put() -> None:
            beside = self._path if is_whole else f"{self._path}.{random.getrandbits(40):010x}.part"
            if not is_whole and "/" in self._path.strip("/"):
                self._system.makedirs(self._path.rpartition("/")[0], exist_ok=True)
            self._system.put_file(str(path), beside)
            found = self._system.info(beside)["size"]
            if found != size:
                raise ConnectionError(f"{found} bytes arrived of {size}")
            if not is_whole:
                self._system.mv(beside, self._path)

        self._ask("write it", put, size)

    def names(self) -> list[str]:
        """Files below it, relative to it, sorted."""
        root = self._path.rstrip("/") + "/"
        found = self._ask("list it", lambda: self._system.find(self._path))
        return sorted(name.removeprefix(root) for name in found if name.startswith(root))

    def check_writable(self) -> None:
        """Raise InputError for a place that can only be read."""
        if self.place.scheme in READ_ONLY:
            raise InputError(f"{self.place}: {self.place.scheme}:// can only be read; name a path or a bucket for out")

    def _has_ranges(self, facts: Facts) -> bool:
        """Whether parts of it can be asked for: of web servers, not all know how."""
        if not self.place.scheme.startswith("http") or facts.size <= BLOCK:
            return not self.place.scheme.startswith("http")

        def last_byte() -> bool:
            try:
                with self._system.open(self._path, "rb", cache_type="none") as file:
                    file.seek(facts.size - 1)
                    return len(file.read(1)) == 1
            except ValueError:  # fsspec's word for a server that sends all of it
                return False

        return self._ask("read it", last_byte)

    def _block(self, start: int, end: int) -> bytes:
        def read() -> bytes:
            data = self._system.cat_file(self._path, start=start, end=end)
            if len(data) != end - start:
                raise ConnectionError(f"{len(data)} bytes came of {end - start}")
            return bytes(data)

        return self._ask("read it", read)

    def _ask(self, what: str, request: Callable[[], T], size: int = 0) -> T:
        """The answer to a request, tried again while that may help."""
        patience, wait = self._patience, self._patience.first_wait
        for number in range(1, patience.tries + 1):
            left = self._end - time.monotonic()
            try:
                return _within(min(patience.request + size / SLOWEST, max(left, 0.01)), request)
            except Exception as error:  # libraries of stores share no base class
                reason = _origin(error)
            lasting = _lasting(reason)
            if lasting:
                raise InputError(f"{self.place}: {lasting}") from None  # the text of others may hold secrets
            pause = wait * random.uniform(0.5, 1)
            if number == patience.tries or left < pause:
                break
            log.info("%s: could not %s%s; next try in %.1f s", self.place, what, self._told(reason), pause)
            time.sleep(pause)
            wait *= 2
        count = f"{number} {'try' if number == 1 else 'tries'}"
        advice = "check the network and the store, and run the same command again"
        raise StorageError(f"{self.place}: could not {what} in {count}{self._told(reason)}; {advice}") from None

    def _told(self, error: BaseException) -> str:
        words = " ".join(self.place.redact(str(error)).split())[:200]
        return f" ({type(error).__name__}{': ' + words if words else ''})"


def _within(seconds: float, request: Callable[[], T]) -> T:
    """The answer, or TimeoutError: the thread that waits for it is left behind."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(request())
        except BaseException as error:  # crosses over to the caller
            failed.append(error)

    thread = threading.Thread(target=run, name="store", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return found[0]


def _origin(error: BaseException) -> BaseException:
    """What went wrong: fsspec calls every failure to look up a URL "not found", and tells the reason as its cause."""
    cause = error.__cause__
    is_of_web = cause is not None and type(cause).__module__.startswith("aiohttp")
    return cause if cause is not None and is_of_web and isinstance(error, FileNotFoundError) else error


def _lasting(error: BaseException) -> str | None:
    """What to tell of an error that no second try would cure; None for one that may pass."""
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "no such bucket" if "bucket does not exist" in str(error) else "not there; check the name"
    if isinstance(error, PermissionError) or status in (401, 403) or "Credential" in type(error).__name__:
        return "access refused; give keys that may use it, by the environment or a profile"
    if isinstance(error, (IsADirectoryError, NotADirectoryError, NotImplementedError, ValueError, TypeError)):
        return "cannot be used; check the address"
    if type(error).__name__ == "ParamValidationError":
        return "not an address that this store takes; check it"
    return None


def _file_system(place: Place, patience: Patience) -> tuple[Any, str]:
    """fsspec's file system of a place, and the place's path in it."""
    extra = "pip install 'crotalus[cluster]'"
    try:
        import fsspec
    except ImportError as error:
        raise InputError(f"{place}: needs fsspec; {extra}") from error
    options: dict[str, Any] = {"use_listings_cache": False}  # or a file that has changed would look as before
    if place.scheme in ("s3", "s3a"):
        # Parts of a large upload are tried again one by one, there; a whole request, here.
        options["config_kwargs"] = {
            "connect_timeout": min(10.0, patience.request), "read_timeout": patience.request,
            "retries": {"mode": "standard", "max_attempts": 2},
        }  # fmt: skip
    if place.scheme.startswith("http"):
        options["client_kwargs"] = {"timeout": _limits(patience)}
    try:
        system, path = fsspec.core.url_to_fs(place.text, **options)
    except ImportError as error:
        told = f"{place.scheme}:// is not installed ({error})"
        raise InputError(f"{place}: {told}; s3:// and https:// come with {extra}") from error
    except ValueError as error:
        advice = "give a path, s3://, gs://, https:// or another that fsspec knows"
        raise InputError(f"{place}: {place.scheme}:// is not known; {advice}") from error
    return system, path


def _limits(patience: Patience) -> Any:
    """Of a web client: its own limit of 5 minutes would end every large file."""
    from aiohttp import ClientTimeout

    return ClientTimeout(total=None, sock_connect=min(10.0, patience.request), sock_read=patience.request)
