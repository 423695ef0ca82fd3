"""A target on paper: its shapes in mm, as SVG or PDF of exactly that size, with a line to check the print by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from calibration.boards import Board, BoardError

PAGES = {
    "a4": (210.0, 297.0),
    "a3": (297.0, 420.0),
    "a2": (420.0, 594.0),
    "a1": (594.0, 841.0),
    "letter": (215.9, 279.4),
}
"""Width and height, mm."""
MARGIN = 8.0
"""mm that printers leave white."""
FOOT = 12.0
"""mm below the board for the ruler and its text."""
RULER = 100.0
"""mm"""
ROUND = 0.5522847498
"""Of the Bezier curves that draw a quarter of a circle each: 4/3 (sqrt(2) - 1)."""
MM = 72 / 25.4
"""Points of PDF per mm."""


class Square(NamedTuple):
    """A black rectangle, mm from the upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Disc(NamedTuple):
    """A black circle, mm."""

    x: float
    y: float
    radius: float


Shape = Square | Disc


class Sheet(NamedTuple):
    """A page with a board on it."""

    width: float
    """mm"""
    height: float
    shapes: list[Shape]
    label: str


def parse_page(text: str) -> tuple[float, float]:
    """Width and height in mm of `a4` or `210x297`. Raises BoardError."""
    if text.lower() in PAGES:
        return PAGES[text.lower()]
    try:
        width, height = (float(part) for part in text.lower().split("x"))
    except ValueError:
        width = height = 0.0
    if not (20 <= width <= 5000 and 20 <= height <= 5000):
        raise BoardError(f"page {text!r}: give {', '.join(PAGES)}, or WIDTHxHEIGHT in mm, 20 to 5000")
    return width, height


def lay_out(board: Board, page: tuple[float, float]) -> Sheet:
    """The board in the middle of a page, turned sideways if it fits only so. Raises BoardError where it does not."""
    shapes = list(_shapes(board))
    right, lower = _extent(shapes)
    for width, height in (page, page[::-1]):
        x, y = (width - right) / 2, (height - FOOT - lower) / 2
        if x >= MARGIN and y >= MARGIN:
            break
    else:
        room = max(min((w - 2 * MARGIN) / right, (h - FOOT - 2 * MARGIN) / lower) for w, h in (page, page[::-1]))
        raise BoardError(
            f"page {page[0]:g}x{page[1]:g} mm: the board is {right:.0f}x{lower:.0f} mm; give a larger --page, or a "
            f"--pitch up to {np.floor(board.pitch * 1e4 * room) / 10:g}"
        )
    moved = [shape._replace(x=shape.x + x, y=shape.y + y) for shape in shapes]
    label = f"{board.kind} {board.grid}, pitch {board.pitch * 1000:g} mm; this line is {RULER:g} mm: measure it"
    if min(width, height) < RULER + 2 * MARGIN:
        return Sheet(width, height, moved, f"{board.kind} {board.grid}, pitch {board.pitch * 1000:g} mm")
    return Sheet(width, height, [*moved, *_ruler(width, height)], label)


def svg(sheet: Sheet) -> str:
    """The page as SVG in mm."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{sheet.width:g}mm" height="{sheet.height:g}mm" '
        f'viewBox="0 0 {sheet.width:g} {sheet.height:g}">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for shape in sheet.shapes:
        if isinstance(shape, Disc):
            lines.append(f'<circle cx="{shape.x:.4f}" cy="{shape.y:.4f}" r="{shape.radius:.4f}"/>')
        else:
            x, y, width, height = shape
            lines.append(f'<rect x="{x:.4f}" y="{y:.4f}" width="{width:.4f}" height="{height:.4f}"/>')
    lines.append(
        f'<text x="{MARGIN:g}" y="{sheet.height - MARGIN + 3:g}" font-family="sans-serif" font-size="3.2">'
        f"{sheet.label}</text>"
    )
    return "\n".join([*lines, "</svg>"]) + "\n"


def pdf(sheet: Sheet) -> bytes:
    """The page as PDF 1.4, in mm by a scaled matrix with y down; viewers are asked not to scale it in print."""
    drawn = [f"{MM:.6f} 0 0 {-MM:.6f} 0 {sheet.height * MM:.4f} cm 0 g"]
    for shape in sheet.shapes:
        drawn.append(_circle(shape) if isinstance(shape, Disc) else " ".join(f"{v:.4f}" for v in shape) + " re f")
    text_at = f"{MARGIN:g} {sheet.height - MARGIN + 3:g}"
    drawn.append(f"BT /F 3.2 Tf 1 0 0 -1 {text_at} Tm ({sheet.label}) Tj ET")
    stream = "\n".join(drawn).encode("ascii")
    box = f"[0 0 {sheet.width * MM:.4f} {sheet.height * MM:.4f}]"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R "
        f"/Resources << /Font << /F 5 0 R >> >> >>".encode(),
        f"<< /Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    file, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(file))
        file += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    return (
        bytes(file)
        + f"{end}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(file)}\n%%EOF\n".encode()
    )


def write_sheet(sheet: Sheet, path: Path) -> None:
    """Write a page as its suffix says, whole or not at all. Raises BoardError."""
    if path.suffix.lower() not in (".svg", ".pdf"):
        raise BoardError(f"{path}: a board is printed from .pdf or .svg; give a name that ends so")
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.write_bytes(pdf(sheet) if path.suffix.lower() == ".pdf" else svg(sheet).encode())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise BoardError(f"{path}: {error.strerror}; give another -o") from error


def _shapes(board: Board) -> Iterator[Shape]:
    """What is black, mm, from (0, 0) on."""
    pitch = board.pitch * 1000
    if board.kind in ("circles", "acircles"):
        radius = 0.3 * board.spacing * 1000
        for x, y, _ in board.points * 1000:
            yield Disc(float(x) + radius, float(y) + radius, radius)
        return
    columns, rows = (board.columns, board.rows) if board.kind == "charuco" else (board.columns + 1, board.rows + 1)
    for row in range(rows):
        for column in range(columns):
            if (row + column) % 2 == 0:
                yield Square(column * pitch, row * pitch, pitch, pitch)
    if board.kind == "charuco":
        yield from _markers(board)


def _markers(board: Board) -> Iterator[Square]:
    """The black runs of modules of the markers in the white squares."""
    dictionary, side = board.charuco.getDictionary(), board.charuco.getMarkerLength() * 1000
    modules = dictionary.markerSize + 2
    step = side / modules
    for number, corners in zip(board.charuco.getIds().ravel(), board.charuco.getObjPoints(), strict=True):
        x, y = (float(value) * 1000 for value in corners[0][:2])
        bits = dictionary.generateImageMarker(int(number), modules) < 128
        for line, row in enumerate(bits):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
            for begin, end in zip(edges[::2], edges[1::2], strict=True):
                yield Square(x + float(begin) * step, y + line * step, float(end - begin) * step, step)


def _ruler(width: float, height: float) -> Iterator[Square]:
    x, y = (width - RULER) / 2, height - MARGIN - 3
    yield Square(x, y - 0.1, RULER, 0.2)
    yield Square(x, y - 2, 0.2, 4)
    yield Square(x + RULER - 0.2, y - 2, 0.2, 4)


def _extent(shapes: list[Shape]) -> tuple[float, float]:
    ends = [
        (s.x + s.radius, s.y + s.radius) if isinstance(s, Disc) else (s.x + s.width, s.y + s.height) for s in shapes
    ]
    return max(x for x, _ in ends), max(y for _, y in ends)


def _circle(disc: Disc) -> str:
    """Four Bezier curves; they leave the true circle by 0.03 % of its radius."""
    x, y, r = disc
    k = ROUND * r
    quarters = [(x + r, y + k, x + k, y + r, x, y + r), (x - k, y + r, x - r, y + k, x - r, y),
                (x - r, y - k, x - k, y - r, x, y - r), (x + k, y - r, x + r, y - k, x + r, y)]  # fmt: skip
    curves = " ".join(" ".join(f"{value:.4f}" for value in quarter) + " c" for quarter in quarters)
    return f"{x + r:.4f} {y:.4f} m {curves} f"
