"""The targets: a flat grid of corners or circles that both cameras see, and where its points are, in metres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.rig import Matrix
from engines.base import CrotalusError

Kind = Literal["circles", "acircles", "chess", "charuco"]
FEWEST, MOST = 3, 60
"""Columns and rows of a grid: fewer carry no tilt, more are a slip of the finger."""
MARKER = 0.75
"""Side of a Charuco marker over its square's, where it is not given."""
DICTIONARY = "4x4_250"
"""Of Charuco markers: 4x4 modules are the largest, so a thermal camera with few pixels resolves them first."""


class BoardError(CrotalusError, ValueError):
    """A target that cannot be; the text says which is."""

    exit_code = 2


@dataclass(frozen=True)
class Board:
    """A target. chess: a chessboard, counted by its inner corners. charuco: the same with markers, counted by squares.

    circles: rows below each other. acircles: every second row is moved by `pitch`; circles of a row are two apart.
    """

    kind: Kind
    columns: int
    rows: int
    pitch: float
    """m: side of a square; distance of the circles' rows."""
    marker: float | None = None
    """m, side of a Charuco marker; None: 0.75 of a square."""
    dictionary: str = DICTIONARY
    """Of Charuco markers, as OpenCV names them: 4x4_250, 5x5_100, apriltag_36h11, ..."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise BoardError(f"board {self.kind!r}: give one of {', '.join(get_args(Kind))}")
        if min(self.columns, self.rows) < FEWEST or max(self.columns, self.rows) > MOST:
            raise BoardError(f"grid {self.grid}: give columns x rows, {FEWEST} to {MOST} of each")
        if not 1e-4 <= self.pitch <= 10:
            raise BoardError(f"pitch {self.pitch * 1000:g} mm: give the distance of neighbours in mm, 0.1 to 10000")
        if self.marker is not None and not 0 < self.marker < self.pitch:
            raise BoardError(f"marker {self.marker * 1000:g} mm: give its side in mm, less than the pitch")
        if self.kind == "charuco":
            _ = self.charuco

    @property
    def grid(self) -> str:
        """Columns and rows as they are given: 9x6."""
        return f"{self.columns}x{self.rows}"

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows of the points that are found."""
        return (self.columns - 1, self.rows - 1) if self.kind == "charuco" else (self.columns, self.rows)

    @cached_property
    def points(self) -> Matrix:
        """(N, 3) m, z = 0; x to the right along a row, y down, row after row."""
        row, column = np.mgrid[: self.shape[1], : self.shape[0]].astype(np.float64)
        if self.kind == "acircles":
            column = 2 * column + row % 2
        flat = np.stack([column, row, np.zeros_like(row)], axis=-1).reshape(-1, 3)
        return flat * self.pitch + (self.pitch if self.kind == "charuco" else 0.0) * np.array([1, 1, 0])

    @property
    def spacing(self) -> float:
        """m, from a point to its nearest neighbour."""
        return self.pitch * (np.sqrt(2) if self.kind == "acircles" else 1.0)

    @cached_property
    def turns(self) -> list[NDArray[np.intp]]:
        """Orders of the points by which the grid looks the same when turned; as it stands comes first.

        A chessboard's colours would tell some of these apart, but not in infrared, where either may be the bright one.
        """
        identity = np.arange(len(self.points))
        if self.kind == "charuco":
            return [identity]
        flat = self.points[:, :2] - (self.points[:, :2].max(axis=0) + self.points[:, :2].min(axis=0)) / 2
        found = [identity]
        for matrix in ([[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]):
            turned = flat @ np.array(matrix, np.float64).T
            distance = np.linalg.norm(turned[:, None] - flat[None], axis=2)
            if distance.min(axis=1).max() < 1e-6 * self.pitch:
                found.append(distance.argmin(axis=1))
        return found

    @cached_property
    def charuco(self) -> Any:
        """OpenCV's own board, of kind charuco. Raises BoardError for a dictionary that is none, or is too small."""
        names = {name[5:].lower(): name for name in dir(cv2.aruco) if name.startswith("DICT_")}
        if self.dictionary.lower() not in names:
            raise BoardError(f"dictionary {self.dictionary}: give one of {' '.join(sorted(names))}")
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, names[self.dictionary.lower()]))
        wanted, held = self.columns * self.rows // 2, len(dictionary.bytesList)
        if wanted > held:
            raise BoardError(
                f"grid {self.grid}: takes {wanted} markers, {self.dictionary} has {held}; give a smaller one"
            )
        marker = self.marker or MARKER * self.pitch
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.pitch, marker, dictionary)

    def with_grid(self, columns: int, rows: int) -> Board:
        """The same kind of board with another grid."""
        return Board(self.kind, columns, rows, self.pitch, self.marker, self.dictionary)


def parse_board(kind: str, grid: str, pitch_mm: float, marker_mm: float | None, dictionary: str) -> Board:
    """A board as the command line has it: `9x6` and mm. Raises BoardError."""
    try:
        columns, rows = (int(part) for part in grid.lower().split("x"))
    except ValueError:
        raise BoardError(f"grid {grid!r}: give columns x rows, as in 9x6") from None
    marker = None if marker_mm is None else marker_mm / 1000
    return Board(kind, columns, rows, pitch_mm / 1000, marker, dictionary)  # type: ignore[arg-type]
