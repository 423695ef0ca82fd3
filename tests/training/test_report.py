"""The page of an evaluation: which pairs it shows, what is on it, and that it needs nothing else."""

import base64
import re

import cv2
import numpy as np
import pytest

from tests.training.material import textured, write_pair, write_pairs
from training.data import find_pairs
from training.evaluate import evaluate
from training.methods import open_methods
from training.report import best_first, zoomed
from training.rows import COLUMNS
from training.tables import Evaluation


def row(value, **others):
    return {**dict.fromkeys(COLUMNS, value), **others}


def test_pairs_are_ordered_by_how_many_methods_ours_is_ahead_of():
    rows = {
        "ours": (row(1.0), row(3.0), row(2.0), None),
        "a": (row(2.0),) * 4,
        "b": (row(2.0), None, row(1.0), row(1.0)),
    }
    # behind both; ahead of the only one; level with one, ahead of the other
    found = Evaluation(("w", "x", "y", "z"), rows, "ours")
    # Qcv counts the other way round, all else is higher
    assert best_first(found) == [1, 2, 0]
    assert best_first(Evaluation(("w", "x"), {"a": (row(1.0), None)}, None)) == [0, 1]


def test_a_lower_distance_is_ahead():
    rows = {"ours": (row(1.0, Qcv=900.0), row(1.0, Qcv=100.0)), "a": (row(1.0, Qcv=500.0),) * 2}
    assert best_first(Evaluation(("x", "y"), rows, "ours")) == [1, 0]


def test_the_crop_is_around_the_largest_target_and_inside_the_picture():
    ir = np.full((120, 160), 60, np.uint8)
    assert zoomed(ir) == (slice(45, 75), slice(65, 95))
    ir[20:30, 20:30] = 200
    ir[60:76, 140:156] = 200
    rows, columns = zoomed(ir)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (30, 30)
    assert columns == slice(130, 160)
    assert rows.start <= 60 < 76 <= rows.stop
    assert zoomed(ir[:1, :1]) == (slice(0, 1), slice(0, 1))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of three pairs with a method of others whose name is no HTML."""
    folder = tmp_path_factory.mktemp("report")
    write_pairs(folder / "pairs", 2)
    write_pair(folder / "pairs", "a&b", textured(50, 450, 8), textured(50, 450, 9))
    theirs = folder / "<i>&co"
    theirs.mkdir()
    for pair in find_pairs([folder / "pairs"]).pairs[:2]:
        cv2.imwrite(str(theirs / pair.ir.name), textured(pair.height, pair.width, 3))
    evaluate(open_methods([theirs]), [folder / "pairs"], ours="<i>&co", report=folder / "new" / "report.html")
    return (folder / "new" / "report.html").read_text()


def test_the_page_has_means_plots_best_and_worst_pairs_and_what_was_left_out(page):
    assert page.count("<svg") == len(COLUMNS)
    assert page.count("<tr") == 1 + 6
    assert "<h2>Best pairs of &lt;i&gt;&amp;co</h2>" in page
    assert "<h2>Worst pairs of &lt;i&gt;&amp;co</h2>" in page
    assert page.count("<h3>") == 2
    assert page.count("<figure>") == 2 * (2 + 6)
    assert "<h2>Left out: 1</h2>" in page
    assert "<i>" not in page


def test_the_page_needs_no_other_file(page):
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    pictures = [base64.b64decode(text) for text in re.findall(r'base64,([^"]+)"', page)]
    shapes = {cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape for data in pictures}
    assert len(pictures) == 2 * 2 * (2 + 6)
    assert all(width == 400 for _, width, _ in shapes)
