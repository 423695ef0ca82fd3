"""A board on paper: its size to a thousandth of a mm, and seen by the detector that will look for it."""

import re

import cv2
import numpy as np
import pytest

from calibration.boards import Board, BoardError
from calibration.detect import Detector
from calibration.sheet import PAGES, Disc, lay_out, parse_page, pdf, svg, write_sheet

BOARDS = [
    Board("chess", 9, 6, 0.025),
    Board("circles", 7, 5, 0.025),
    Board("acircles", 4, 11, 0.02),
    Board("charuco", 8, 6, 0.03),
]
SCALE = 4
"""px a mm"""


def drawn(sheet):
    """The sheet as a printer would put it on paper: pixels (H, W)."""
    page = np.full((round(sheet.height * SCALE), round(sheet.width * SCALE)), 255, np.uint8)
    for shape in sheet.shapes:
        if isinstance(shape, Disc):
            centre = [round((value * SCALE - 0.5) * 256) for value in shape[:2]]
            cv2.circle(page, centre, round(shape.radius * SCALE * 256), 0, -1, cv2.LINE_AA, 8)
        else:
            left, top = (round(value * SCALE) for value in shape[:2])
            right, lower = round((shape.x + shape.width) * SCALE), round((shape.y + shape.height) * SCALE)
            page[top:lower, left:right] = 0
    return page


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.kind)
def test_a_printed_board_is_found_at_its_pitch(board):
    page = drawn(lay_out(board, PAGES["a4"]))
    found = Detector(board).find(page)
    assert found is not None
    assert len(found.ids) == len(board.points)
    offset = found.points - board.points[found.ids, :2] * 1000 * SCALE
    best = min(
        float(np.ptp(found.points[order] - board.points[:, :2] * 1000 * SCALE, axis=0).max()) for order in board.turns
    )
    assert best < 0.6, offset


def test_svg_has_the_shapes_in_mm():
    board = Board("circles", 4, 3, 0.0254)
    sheet = lay_out(board, PAGES["a4"])
    text = svg(sheet)
    circles = np.array(re.findall(r'<circle cx="(.*?)" cy="(.*?)" r="(.*?)"/>', text), float)
    np.testing.assert_allclose(np.diff(circles[:4, 0]), 25.4, atol=2e-4)
    np.testing.assert_allclose(circles[:, 2], 0.3 * 25.4, atol=1e-4)
    assert 'width="210mm" height="297mm" viewBox="0 0 210 297"' in text


def test_pdf_has_the_shapes_in_points_of_an_inch():
    board = Board("chess", 5, 4, 0.03)
    sheet = lay_out(board, PAGES["a4"])
    data = pdf(sheet)
    text = data.decode("latin-1")
    scale = float(re.search(r"^([\d.]+) 0 0 -\1 0 ([\d.]+) cm", text, re.M)[1])
    assert scale * 25.4 == pytest.approx(72, abs=1e-3)
    squares = np.array(re.findall(r"^([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re f", text, re.M), float)
    np.testing.assert_allclose(squares, [shape[:4] for shape in sheet.shapes], atol=1e-4)
    ruler = squares[squares[:, 2] > 50]
    np.testing.assert_allclose(ruler[:, 2], 100)
    start = int(re.search(r"startxref\n(\d+)", text)[1])
    assert data[start : start + 4] == b"xref"
    for number, place in enumerate(re.findall(r"^(\d{10}) 00000 n", text, re.M), 1):
        assert data[int(place) :].startswith(f"{number} 0 obj".encode())
    length = int(re.search(r"/Length (\d+)", text)[1])
    assert text[text.index("stream\n") + 7 :][length : length + 10] == "\nendstream"


def test_circles_of_a_pdf_are_round():
    sheet = lay_out(Board("circles", 3, 3, 0.05), PAGES["a4"])
    first = re.search(r"^([\d.]+) ([\d.]+) m (.*) f$", pdf(sheet).decode("latin-1"), re.M)
    at = np.array(first[3].replace("c", "").split(), float).reshape(-1, 3, 2)
    start, disc, t = np.array([float(first[1]), float(first[2])]), sheet.shapes[0], np.linspace(0, 1, 20)[:, None]
    for a, b, end in at:
        curve = (1 - t) ** 3 * start + 3 * t * (1 - t) ** 2 * a + 3 * t**2 * (1 - t) * b + t**3 * end
        np.testing.assert_allclose(np.linalg.norm(curve - disc[:2], axis=1), disc.radius, rtol=5e-4)
        start = end


def test_a_board_is_turned_sideways_where_it_fits_only_so():
    sheet = lay_out(Board("chess", 9, 6, 0.025), PAGES["a4"])
    assert (sheet.width, sheet.height) == (297, 210)


def test_the_pitch_that_is_proposed_for_a_page_fits_it():
    with pytest.raises(BoardError, match=r"--page, or a --pitch up to ([\d.]+)") as told:
        lay_out(Board("chess", 9, 6, 0.05), PAGES["a4"])
    pitch = float(re.search(r"up to ([\d.]+)", str(told.value))[1])
    lay_out(Board("chess", 9, 6, pitch / 1000), PAGES["a4"])
    with pytest.raises(BoardError):
        lay_out(Board("chess", 9, 6, (pitch + 0.2) / 1000), PAGES["a4"])


def test_pages_are_names_or_mm():
    assert parse_page("A3") == (297, 420)
    assert parse_page("500x700") == (500, 700)
    for text in ("a9", "0x5", "10", "nanx200", "1e9x1e9"):
        with pytest.raises(BoardError, match="page "):
            parse_page(text)


def test_a_sheet_is_written_whole_or_not_at_all(tmp_path):
    sheet = lay_out(BOARDS[0], PAGES["a4"])
    write_sheet(sheet, tmp_path / "board.pdf")
    assert [path.name for path in tmp_path.iterdir()] == ["board.pdf"]
    with pytest.raises(BoardError, match="ends so"):
        write_sheet(sheet, tmp_path / "board.png")
    with pytest.raises(BoardError, match="another -o"):
        write_sheet(sheet, tmp_path / "none" / "board.svg")
