"""A trained model on disk: `model.json` beside its graphs and weights, each file held to its hash."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from engines.base import CrotalusError

SHIPPED = Path(__file__).parent / "models"
"""Folder of the models that come with the package."""
DEFAULT = "jcae-e2e"
"""What `auto` is on a GPU, and wherever it is not said on what."""
LIGHT = "jcae-lite"
"""What `auto` is on a CPU."""
PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz"}
"""Suffixes of formats that can run code when read."""

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ModelError(CrotalusError, ValueError):
    """A model that cannot be used; names the file."""

    exit_code = 2


class ModelInfo(BaseModel):
    """What the engines need to know of a model, as `model.json` holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(1, ge=1, le=1)
    """Version of this file's layout."""
    name: str
    kind: Literal["jcae", "graph"] = "jcae"
    """`jcae`: encoders, rules, decoder, and all of them in one graph; `graph`: another network, that graph alone."""
    multiple: int = Field(ge=1)
    """Sides that the graphs take are multiples of this, px."""
    margin: int = Field(ge=0)
    """Context that the graphs eat at each border, px; the fuser adds it by reflection."""
    maps: int = Field(0, ge=0)
    """Feature maps of a branch, M; 0 for a `graph`, which shows none."""
    activity_ratio: float = Field(1, gt=0, le=1)
    """T / (h w) of Eq. 9; means nothing for a `graph`."""
    files: dict[FileName, Sha256]
    """sha256 of each file beside model.json."""
    training: dict[str, Any] = {}
    """Where the weights come from: data, pairs, steps, seed, loss."""
    metrics: dict[str, float] = {}
    """Measured on pictures that were not trained on."""
    folder: Path = Field(Path(), exclude=True)
    """Where it was loaded from; not in the file."""

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        if self.kind == "jcae" and (self.maps < 1 or "activity_ratio" not in self.model_fields_set):
            raise ValueError("a model of kind jcae says its maps, 1 or more, and its activity_ratio")
        if self.kind == "graph" and self.maps:
            raise ValueError(f"{self.maps} maps for kind graph, which shows none; give 0")
        return self

    def require_parts(self, what: str) -> None:
        """Return if encoders and decoder are there one by one, as `what` takes them. Raises ModelError."""
        if self.kind != "jcae":
            raise ModelError(
                f"model {self.name}: one whole graph, and {what} takes encoders and decoder; use --backend cpu, or a "
                "model of kind jcae"
            )

    def path(self, name: str) -> Path:
        """Full path of one of the model's files. Raises ModelError if the model has no such file."""
        if name not in self.files:
            raise ModelError(f"model {self.name}: has no {name}, only {', '.join(sorted(self.files))}; export it again")
        return self.folder / name


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/model.json"))


def load_model(model: str | Path) -> ModelInfo:
    """The model of `auto`, a shipped name or a folder with `model.json`, every file checked against its hash.

    `auto` is `DEFAULT` here; `base.open_fuser`, which knows the backend, takes `LIGHT` on a CPU.
    Raises ModelError: unknown name, no or wrong model.json, a file missing or changed, or a pickle.
    """
    folder = _folder(model)
    file = folder / "model.json"
    try:
        info = ModelInfo.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}; a model is a folder with model.json and its files") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{file}: {where or 'content'}: {first['msg']}; export the model again") from error
    for name, expected in info.files.items():
        _check(folder / name, expected)
    return info.model_copy(update={"folder": folder})


def version(package: str) -> str:
    """The installed version of a distribution, or `not installed`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(model: str | Path) -> Path:
    if model == "auto":
        return SHIPPED / DEFAULT
    path = Path(model)
    if path.suffix.lower() in PICKLES:
        raise ModelError(
            f"{path}: {path.suffix} files can run code when read and are refused; "
            "give a model folder as `python -m training.export` writes it (ONNX and safetensors)"
        )
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{path}: a file; give the folder that holds model.json")
    if str(model) in shipped_models():
        return SHIPPED / str(model)
    raise ModelError(f"{model}: no such model; give {', '.join(['auto', *shipped_models()])} or a model folder")


def _check(path: Path, expected: str) -> None:
    try:
        found = sha256(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; model.json names it: copy or export the model again") from error
    if found != expected:
        raise ModelError(
            f"{path}: sha256 {found[:12]}.. is not the {expected[:12]}.. of model.json; the file is damaged"
        )
