"""What a calibration found, in full: what a report draws. A file beside the rig, `NAME.findings.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from calibration.rig import RigError

Size = tuple[int, int]
"""Width and height, px."""
XY = tuple[float, float]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Target(_Part):
    """The board that was looked for."""

    kind: Literal["circles", "acircles", "chess", "charuco"]
    columns: int
    rows: int
    pitch_mm: Number


class SideOfView(_Part):
    """A board in one picture."""

    points: list[XY]
    """px, as they were seen."""
    residuals: list[XY]
    """px, projected by the rig less seen."""
    rms_px: Number
    held_out_px: Number | None = None
    """px, rms in cameras that were found without this view; None for an outlier."""
    blur_px: Number
    is_inverted: bool


class TargetView(_Part):
    """A board seen by both cameras."""

    name: str
    time: Number
    """s on the visible clock."""
    state: Literal["kept", "outlier"]
    ir: SideOfView
    vis: SideOfView


class CameraFindings(_Part):
    """One camera, over all views."""

    size: Size
    lens: str
    """Formula and loose coefficients: `pinhole k1 k2 p1 p2`."""
    pictures: int
    """Looked at."""
    found: int
    """Of these, with the whole board (Charuco: enough of it)."""
    rms_px: Number
    held_out_px: Number
    coverage: list[list[int]]
    """Points in each cell of the picture, rows of columns; kept views only."""


class TargetFindings(_Part):
    """A calibration by a target."""

    target: Target
    pictures: int
    """Pairs looked at."""
    both: int
    """Of these, with the board in either picture."""
    left_out: dict[str, int]
    """Views that were not used, by reason."""
    ir: CameraFindings
    vis: CameraFindings
    views: list[TargetView]
    sigmas: dict[str, Number]
    """Standard errors, with the unit in the name."""
    distance_m: Number
    """Median distance of the board."""
    is_accepted: bool
    """Whether all limits were held; a rig that does not is written with --accept only."""
    failures: list[str]


class SceneFrame(_Part):
    """How one frame lay, by itself."""

    is_believed: bool
    doubts: list[str]
    """Why not."""
    model: str | None = None
    """The rest is None where no place was found."""
    H: list[list[Number]] | None = None
    """Pixels of IR to pixels of VIS."""
    overlap: Number | None = None
    patches_agreeing: Number | None = None
    lead: Number | None = None
    """By what factor the place scored above the next best; None if there was no other."""
    estimators_apart_px: Number | None = None
    corner_sigma_px: Number | None = None
    residual_px: Number | None = None


class SceneFindings(_Part):
    """A calibration by what both cameras see; lengths are px of the reference."""

    reference: Literal["ir", "vis"]
    model: str | None
    """None where there is no rig."""
    frames: list[SceneFrame]
    agreeing: list[int]
    """Frames that the rig is made of."""
    residuals: list[tuple[XY, XY]]
    """Of the patches of these: place in the reference, and how far from there they fit best."""


class Findings(_Part):
    """All that one calibration found; the part that was made is there."""

    format: Literal["crotalus findings 1"] = "crotalus findings 1"
    rig: str
    """File name of the rig."""
    ir: str
    """The inputs, as they were given."""
    vis: str
    created: str = ""
    """ISO 8601 date."""
    tool: str = ""
    warnings: list[str] = []
    target: TargetFindings | None = None
    scene: SceneFindings | None = None


def findings_path(rig: Path) -> Path:
    """Where the findings of a rig are: `rig.findings.json` for `rig.json`."""
    return rig.with_name(rig.stem + ".findings.json")


def save_findings(findings: Findings, path: Path) -> None:
    """Write them, whole or not at all. Raises RigError."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.write_text(findings.model_dump_json(exclude_none=True) + "\n")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise RigError(f"{path}: {error.strerror}; give another -o") from error


def load_findings(path: Path) -> Findings:
    """The findings of a file. Raises RigError naming the file and the key that is wrong."""
    try:
        return Findings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RigError(f"{path}: {error.strerror}; it is written beside the rig by calibrate") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise RigError(f"{path}: {where}: {first['msg']}; calibrate writes it anew") from error
