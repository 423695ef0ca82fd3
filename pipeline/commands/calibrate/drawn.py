"""Pictures of what a calibration saw, for `--debug`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.boards import Board
from calibration.detect import Sighting
from calibration.rig import Rig
from calibration.warp import make_warp
from pipeline.commands.calibrate.looks import Look
from pipeline.frames import OutputError

MOST = 200
"""Pictures: a recording of an hour must not fill the disk."""
HEIGHT = 480
"""px, of the pictures that are shown side by side."""
SQUARES = 12
"""Of the checkerboard in which infrared and visible take turns, along the height."""

Picture = NDArray[np.uint8]


class Drawings:
    """A folder of pictures, one for each pair that was looked at. Raises OutputError where it cannot be written."""

    def __init__(self, folder: Path, board: Board) -> None:
        """Make the folder, if it is not there."""
        self.folder, self.board, self._count = folder, board, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror}; give another --debug") from error

    def draw(self, look: Look) -> None:
        """Both pictures of a look side by side, the board's points marked."""
        self._count += 1
        if self._count <= MOST:
            self._write(f"{self._count:04d}.png", self._side_by_side(look))

    def draw_best(self, side: str, look: Look) -> None:
        """The look that shows most of a board which is not found."""
        self._write(f"best_{side}.png", self._side_by_side(look))

    def draw_overlay(self, look: Look, rig: Rig, distance: float) -> None:
        """Left as recorded, right as laid by the rig at this distance (m): squares in turn, below infrared in red."""
        size = look.vis.shape[1], look.vis.shape[0]
        warp = make_warp(rig, (look.ir.shape[1], look.ir.shape[0]), size, depth=distance)
        rows, columns = np.nonzero(warp.weight > 0)
        if not len(rows):
            return  # the cameras do not meet there: the overlay would show nothing
        where = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        none: Any = None
        laid = np.asarray(cv2.remap(look.ir, warp.at, none, cv2.INTER_LINEAR), np.uint8)
        before = np.asarray(cv2.resize(look.ir, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        pictures = [_compared(ir[where], look.vis[where]) for ir in (before, laid)]
        self._write("before_after.png", np.hstack(pictures).astype(np.uint8))

    def _side_by_side(self, look: Look) -> Picture:
        pictures = [self._marked(look.ir, look.in_ir, "ir"), self._marked(look.vis, look.in_vis, "vis")]
        return np.hstack(pictures).astype(np.uint8)

    def _marked(self, luma: Picture, sighting: Sighting | None, name: str) -> Picture:
        scale = HEIGHT / luma.shape[0]
        shown = cv2.resize(luma, (max(round(luma.shape[1] * scale), 1), HEIGHT), interpolation=cv2.INTER_AREA)
        coloured = cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR)
        text, colour = f"{name}: not found", (0, 0, 255)
        if sighting is not None:
            points = (((sighting.points + 0.5) * scale - 0.5) * 16).round().astype(int)
            cv2.polylines(coloured, [points], False, (0, 200, 255), 1, cv2.LINE_AA, 4)
            for x, y in points:
                cv2.circle(coloured, (int(x), int(y)), 4 * 16, (0, 255, 0), 1, cv2.LINE_AA, 4)
            inverted = ", inverted" if sighting.is_inverted else ""
            text, colour = f"{name}: {len(points)} of {len(self.board.points)}{inverted}", (0, 255, 0)
        cv2.putText(coloured, text, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, 2, cv2.LINE_AA)
        return np.asarray(coloured, np.uint8)

    def _write(self, name: str, picture: Picture) -> None:
        _, data = cv2.imencode(".png", picture)
        try:
            (self.folder / name).write_bytes(data.tobytes())
        except OSError as error:
            raise OutputError(f"{self.folder / name}: {error.strerror}; give another --debug") from error


def _compared(ir: Picture, vis: Picture) -> Picture:
    """Squares of either in turn, and below both at once: infrared red, visible cyan."""
    scale = HEIGHT / vis.shape[0]
    size = max(round(vis.shape[1] * scale), 1), HEIGHT
    ir, vis = (np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8) for luma in (ir, vis))
    row, column = np.mgrid[: size[1], : size[0]] // (HEIGHT // SQUARES)
    mixed = np.where((row + column) % 2 == 0, ir, vis).astype(np.uint8)
    both = np.dstack([vis, vis, ir])
    return np.vstack([np.dstack([mixed] * 3), both]).astype(np.uint8)
