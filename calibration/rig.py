"""Two cameras side by side: what they see of each other's picture, as a value and as a file that people can read.

The file is JSON, version 1; docs/calibration.md describes it. Pixels are counted from the centre of the first one,
metres are those of the target that was measured.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.base import CrotalusError

Matrix = NDArray[np.float64]
Side = Literal["ir", "vis"]
Size = tuple[int, int]
"""Width and height, px."""
LENSES = {"pinhole": (0, 4, 5, 8), "fisheye": (4,)}
"""Numbers of distortion coefficients that a lens model takes, in OpenCV's order."""
ASPECT_TOLERANCE = 0.02
"""Relative difference of aspect ratios that is rounding; more is another crop of the sensor."""
MAX_BYTES = 1 << 20

Row3 = Annotated[tuple[float, float, float], Field()]
Table3 = tuple[Row3, Row3, Row3]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class RigError(CrotalusError, ValueError):
    """A rig that cannot be used; the text names the file and what is wrong with it."""

    exit_code = 2


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Camera(_Part):
    """One camera: how rays become pixels."""

    width: int = Field(ge=1, le=65536)
    """px, of the pictures that the numbers below belong to."""
    height: int = Field(ge=1, le=65536)
    K: Table3
    """Focal lengths and centre, px: rows of [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]."""
    lens: Literal["pinhole", "fisheye"] = "pinhole"
    dist: tuple[Finite, ...] = ()
    """k1 k2 p1 p2 k3 ... of the pinhole, k1..k4 of the fisheye, as OpenCV has them."""
    rms: float | None = Field(None, ge=0)
    """Reprojection error of its calibration, px; None if not calibrated by a target."""

    @model_validator(mode="after")
    def _is_a_camera(self) -> Camera:
        (fx, skew, _), (zero, fy, _), last = self.K
        if fx <= 0 or fy <= 0 or skew or zero or last != (0.0, 0.0, 1.0):
            raise ValueError("K is [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy")
        if len(self.dist) not in LENSES[self.lens]:
            allowed = " or ".join(map(str, LENSES[self.lens]))
            raise ValueError(f"a {self.lens} lens has {allowed} coefficients in dist, not {len(self.dist)}")
        return self


class Stereo(_Part):
    """Where the two cameras stand to each other: x_vis = R x_ir + T."""

    R: Table3
    T: tuple[Finite, Finite, Finite]
    """m"""

    @model_validator(mode="after")
    def _is_a_rotation(self) -> Stereo:
        R = np.array(self.R)
        if np.abs(R @ R.T - np.eye(3)).max() > 1e-4 or np.linalg.det(R) < 0:
            raise ValueError("R is a rotation: its rows are of length 1, at right angles, right-handed")
        return self


class Plane(_Part):
    """No more than a homography: right for one distance, or for far scenes. Pixels of IR to pixels of VIS."""

    ir_size: Size
    vis_size: Size
    H: Table3

    @model_validator(mode="after")
    def _can_be_inverted(self) -> Plane:
        if min(*self.ir_size, *self.vis_size) < 1:
            raise ValueError("ir_size and vis_size are width and height, px")
        H = np.array(self.H)
        if abs(np.linalg.det(H)) < 1e-12 * max(1.0, np.abs(H).max()) ** 3:
            raise ValueError("H has no inverse: it maps the picture to a line or a point")
        return self


class Rig(_Part):
    """A calibrated pair: either two cameras and their pose, or a homography."""

    format: Literal["crotalus rig 1"] = "crotalus rig 1"
    ir: Camera | None = None
    vis: Camera | None = None
    pose: Stereo | None = None
    plane: Plane | None = None
    reference: Side | None = None
    """On whose picture the other one was searched, and whose px `quality` is in; None: by a target, or unknown."""
    depth: float | None = Field(None, gt=0)
    """m, distance at which the pictures are laid over each other; None is infinity."""
    clock_offset: Finite = 0.0
    """s, added to infrared times."""
    clock_rate: Annotated[float, Field(ge=-2000, le=2000, allow_inf_nan=False)] = 0.0
    """ppm by which the infrared clock is slow: of recordings, so much more is added as time goes on."""
    created: str = ""
    """ISO 8601 date."""
    tool: str = ""
    """Name and version of what wrote it."""
    quality: dict[str, float] = {}
    """What was measured when it was made: errors and sigmas, with the unit in the name."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Rig:
        is_stereo = [part is not None for part in (self.ir, self.vis, self.pose)]
        if self.plane is None and not all(is_stereo):
            raise ValueError("give ir, vis and pose, or plane")
        if self.plane is not None and any(is_stereo):
            raise ValueError("give either ir, vis and pose, or plane, not both")
        return self

    def size(self, side: Side) -> Size:
        """Width and height of the pictures that a side was calibrated with."""
        if self.plane is not None:
            return self.plane.ir_size if side == "ir" else self.plane.vis_size
        camera = self.ir if side == "ir" else self.vis
        assert camera is not None
        return camera.width, camera.height


def load_rig(path: Path) -> Rig:
    """The rig of a file. Raises RigError naming the file and the key that is wrong."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RigError(f"{path}: {path.stat().st_size >> 10} KiB; a rig has a few: is it another file?")
        text = path.read_bytes()
    except OSError as error:
        raise RigError(f"{path}: {error.strerror}; a rig is a JSON file, docs/calibration.md says of what") from error
    try:
        return Rig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise RigError(f"{path}: {where}: {first['msg']}; docs/calibration.md has the keys of a rig") from error


def save_rig(rig: Rig, path: Path) -> None:
    """Write a rig, whole or not at all. Raises RigError."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.write_text(rig.model_dump_json(indent=2, exclude_none=True) + "\n")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise RigError(f"{path}: {error.strerror}; give another -o") from error


def rescaled(rig: Rig, ir_size: Size, vis_size: Size) -> Rig:
    """The rig for pictures of other sizes. Raises RigError where an aspect ratio does not fit: that is another crop."""
    ratios = {"ir": ratio_to(rig, "ir", ir_size), "vis": ratio_to(rig, "vis", vis_size)}
    if rig.plane is not None:
        ir, vis = (_scale_matrix(*ratios[side]) for side in ("ir", "vis"))
        H = vis @ np.array(rig.plane.H) @ np.linalg.inv(ir)
        return rig.model_copy(update={"plane": Plane(ir_size=ir_size, vis_size=vis_size, H=as_table(H))})
    assert rig.ir is not None
    assert rig.vis is not None
    cameras = {"ir": _scaled(rig.ir, ir_size, ratios["ir"]), "vis": _scaled(rig.vis, vis_size, ratios["vis"])}
    return rig.model_copy(update=cameras)


def ratio_to(rig: Rig, side: Side, size: Size) -> tuple[float, float]:
    """A camera's picture size over the one it was calibrated with, (x, y). Raises RigError if the two differ."""
    own = rig.size(side)
    ratio = size[0] / own[0], size[1] / own[1]
    if not math.isclose(*ratio, rel_tol=ASPECT_TOLERANCE):
        raise RigError(
            f"rig: {side} was calibrated at {own[0]}x{own[1]}, the stream has {size[0]}x{size[1]}: another aspect "
            "ratio; calibrate at the stream's size, or crop the stream as it was calibrated"
        )
    return ratio


def as_table(matrix: Matrix) -> Table3:
    """A (3, 3) array as the file has it."""
    rows: Any = tuple(tuple(float(value) for value in row) for row in np.asarray(matrix, np.float64))
    return rows


def _scaled(camera: Camera, size: Size, ratio: tuple[float, float]) -> Camera:
    K = _scale_matrix(*ratio) @ np.array(camera.K)
    K[0, 1] = 0.0
    return camera.model_copy(update={"width": size[0], "height": size[1], "K": as_table(K)})


def _scale_matrix(x: float, y: float) -> Matrix:
    """Pixels of a picture to those of the same picture at another size: their edges, not their centres, coincide."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
