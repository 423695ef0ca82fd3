"""Inputs brought here, outputs taken there: paths as they are, addresses through a bounded cache on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.batch.cache import Cache, Entry
from pipeline.batch.place import Place, parse_place
from pipeline.batch.remote import Facts, Patience, Remote
from pipeline.frames import InputError, OutputError

CACHE_BYTES = 50 * 10**9
"""Of the cache, if nobody says: a day of two cameras at 2 Mbit/s each is 43 GB."""


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where copies go: `$CROTALUS_CACHE/archives`, else `crotalus/archives` in the user's cache directory."""
    if given := environment.get("CROTALUS_CACHE"):
        return Path(given).absolute() / "archives"
    home = environment.get("XDG_CACHE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path(environment.get("HOME") or "/tmp") / ".cache"
    return base / "crotalus" / "archives"


@dataclass(frozen=True, slots=True)
class Storage:
    """Where files come from and go to. A value: it may be sent to other processes, and used by any thread."""

    cache: Path | None = None
    """Folder of copies; None: `cache_folder()` of the machine at hand."""
    limit: int = CACHE_BYTES
    """Bytes of all copies."""
    patience: Patience = field(default_factory=Patience)

    @contextmanager
    def fetch(self, *places: str) -> Iterator[list[Path]]:
        """The files as paths of this machine, which stay while the body runs: those of one chunk in one call.

        Paths are returned as they are, whether or not something is there. Raises InputError for what is not there,
        StorageError for a store that does not answer.
        """
        parsed = [parse_place(place) for place in places]
        entries = {place.text: self._entry(place) for place in parsed if place.scheme}
        cache = Cache(self.cache or cache_folder(), self.limit)
        with cache.held(list(entries.values()), self.patience.deadline) as copies:
            found = dict(zip(entries, copies, strict=True))
            yield [found.get(place.text) or Path(place.text) for place in parsed]

    def put(self, path: Path, place: str) -> None:
        """Copy a file to a place: whole or not at all. Raises InputError, OutputError, StorageError."""
        to = parse_place(place)
        if to.scheme:
            Remote(to, self.patience).write_from(path)
        else:
            _copy(path, Path(to.text))

    def names(self, folder: str) -> list[str]:
        """Files anywhere below a folder or a prefix, relative to it, sorted. Raises InputError, StorageError."""
        place = parse_place(folder)
        if place.scheme:
            return Remote(place, self.patience).names()
        if not os.path.isdir(place.text):
            raise InputError(f"{place}: not a folder; check the name")
        found = (Path(at, name) for at, _, names in os.walk(place.text, followlinks=True) for name in names)
        return sorted(str(path.relative_to(place.text)) for path in found)

    def check_writable(self, place: str) -> None:
        """Raise InputError for an address that can only be read, or whose store nobody here knows."""
        to = parse_place(place)
        if to.scheme:
            Remote(to, self.patience).check_writable()

    def _entry(self, place: Place) -> Entry:
        facts = Remote(place, self.patience).facts()

        def fill(path: Path) -> None:
            Remote(place, self.patience).read_into(path, facts)  # its time begins when it does

        return Entry(_key(place, facts), place.name, facts.size, fill)


def _key(place: Place, facts: Facts) -> str:
    """Of a file at one version. The query is left out: a signature is new every day, the file is not."""
    address = place.text.partition("?")[0] if place.query else place.text
    said = "\n".join((address, str(facts.size), facts.version))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _copy(path: Path, to: Path) -> None:
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("rb") as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            os.replace(part, to)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{to}: {error.strerror}; make room or name another place") from error
