"""What tells one engine from another: a file name that holds all that can make it stale, and a record beside it.

The record's hash tells damage and mix-ups; it does not protect from somebody who can write both files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from engines.base import CrotalusError
from engines.model import Sha256

RECIPE = 2
"""Raised when the code comes to build another engine from the same ingredients."""
SUFFIX, SIDECAR = ".plan", ".json"

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class StaleError(CrotalusError, ValueError):
    """An engine that must not be run."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; build it again, or remove it with `build --prune`")
        self.reason = reason
        """In a few words, without the path."""


class EngineKey(BaseModel):
    """Everything that decides what is in an engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: Word
    onnx: Sha256
    """Of the bytes that the compiler parsed: typed, weights inside."""
    precision: Word
    profile: Word
    """As `engines.profile` writes it."""
    batch: int = Field(ge=1)
    """Largest number of pictures at once."""
    target: Word
    """Compute capability, `sm_86`."""
    flavour: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,20}$")]
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+-]{1,40}$")]
    """Of TensorRT, exact."""
    recipe: int = RECIPE

    @property
    def name(self) -> str:
        """The plan's file name. Only the version has dots, so two keys never share a name."""
        words = self.graph, self.precision, self.profile, f"b{self.batch}", self.target, f"r{self.recipe}"
        return ".".join([*words, f"{self.flavour}-{self.version}", self.onnx]) + SUFFIX


class Record(BaseModel):
    """What lies beside a plan, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: EngineKey
    plan_sha256: Sha256
    plan_bytes: int = Field(ge=1)
    scratch_bytes: int | None
    """Device memory that the engine needs while it runs, as told at the build."""
    seconds: float = Field(ge=0)
    """The build took."""
    model: str
    """The model's name."""
    model_json: str
    """Path of its model.json."""
    model_files: dict[str, Sha256]
    """The model's files and their hashes at the build."""


def read_record(path: Path) -> Record:
    """The record of a plan. Raises StaleError if there is none that fits the plan's name."""
    try:
        record = Record.model_validate_json(path.with_suffix(SIDECAR).read_bytes())
    except FileNotFoundError as error:
        raise StaleError(path, "its sidecar is missing" if path.exists() else "not built yet") from error
    except OSError as error:
        raise StaleError(path, f"its sidecar cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise StaleError(path, "its sidecar is damaged") from error
    if record.key.name != path.name:
        raise StaleError(path, "its sidecar is of another engine")
    return record


def read_plan(path: Path) -> tuple[Record, bytes]:
    """A plan and its record, the very bytes that were checked. Raises StaleError if they do not belong together."""
    record = read_record(path)
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise StaleError(path, f"cannot be read ({error.strerror})") from error
    if len(plan) != record.plan_bytes:
        raise StaleError(path, f"half written, {len(plan)} of {record.plan_bytes} bytes")
    if hashlib.sha256(plan).hexdigest() != record.plan_sha256:
        raise StaleError(path, "damaged, its hash is not the sidecar's")
    return record, plan
