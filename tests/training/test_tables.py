"""Tables of an evaluation: numbers by hand, and each file read again."""

import csv
import json

import pytest

from training.rows import COLUMNS
from training.significance import compare
from training.tables import FILES, Evaluation, write_tables


def row(value, **others):
    return {**dict.fromkeys(COLUMNS, value), **others}


@pytest.fixture
def found():
    return Evaluation(
        pairs=("a", "b", "c"),
        rows={
            "plain mean": (row(1.0), row(2.0), row(3.0)),
            "ours": (row(2.0), row(4.0, VIF=None), row(9.0, VIF=None)),
            "a|b": (row(0.5), None, row(2.5, lost=None)),
        },
        ours="ours",
        left_out=("theirs: no result for b",),
    )


def test_statistics_by_hand(found):
    s = found.statistics("ours", "SSIM")
    assert (s.defined, s.mean, s.deviation) == (3, 5.0, pytest.approx(13**0.5))  # 9 + 1 + 16 over two
    assert s.against_ours is None
    assert found.statistics("plain mean", "SSIM").against_ours == compare([2, 4, 9], [1, 2, 3])


def test_undefined_values_and_missing_results_are_in_no_mean(found):
    assert found.measured("a|b") == 2
    s = found.statistics("ours", "VIF")
    assert (s.defined, s.mean, s.deviation) == (1, 2.0, None)
    assert found.statistics("plain mean", "VIF").against_ours.pairs == 1
    s = found.statistics("a|b", "SSIM")
    assert (s.defined, s.mean) == (2, 1.5)
    assert s.against_ours == compare([2, 9], [0.5, 2.5])
    nothing = Evaluation(("a",), {"x": (row(None),)}, None).statistics("x", "SSIM")
    assert (nothing.defined, nothing.mean, nothing.against_ours) == (0, None, None)


def test_every_row_is_in_the_table_of_pairs(found, tmp_path):
    write_tables(found, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(FILES)
    lines = list(csv.DictReader((tmp_path / "new" / "pairs.csv").open()))
    assert [(line["method"], line["pair"], line["SSIM"], line["VIF"]) for line in lines] == [
        ("plain mean", "a", "1.0", "1.0"),
        ("plain mean", "b", "2.0", "2.0"),
        ("plain mean", "c", "3.0", "3.0"),
        ("ours", "a", "2.0", "2.0"),
        ("ours", "b", "4.0", ""),
        ("ours", "c", "9.0", ""),
        ("a|b", "a", "0.5", "0.5"),
        ("a|b", "c", "2.5", "2.5"),
    ]


def test_the_summaries_agree(found, tmp_path):
    write_tables(found, tmp_path)
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["ours"] == "ours"
    assert content["methods"]["a|b"]["pairs"] == 2
    assert content["left_out"] == ["theirs: no result for b"]
    lines = list(csv.DictReader((tmp_path / "summary.csv").open()))
    assert len(lines) == 3 * len(COLUMNS)
    for line in lines:
        s = content["methods"][line["method"]]["metrics"][line["metric"]]
        assert line["mean"] == str(s["mean"])
        assert int(line["pairs"]) == s["defined"]
        if s["against_ours"]:
            assert line["wilcoxon_p"] == str(s["against_ours"]["wilcoxon"] or "")
    assert content["methods"]["ours"]["metrics"]["VIF"]["deviation"] is None


def test_the_markdown_tells_means_tests_and_what_is_missing(found, tmp_path):
    write_tables(found, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    tables = [line.split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in tables} == {len(COLUMNS) + 2, len(COLUMNS) + 1}
    assert "| method | pairs | SSIM ↑ | SCD ↑ | MS-SSIM ↑ | Qcv ↓ |" in text
    assert "| **ours** | 3 | 5.000 ± 3.606 |" in text
    assert "| a\\|b | 2 | 1.500 ± 1.414 |" in text
    assert "| plain mean | +3, 0.188 / 0.250 |" in text
    assert "- ours, VIF: undefined on 2 of 3 pairs" in text
    assert "- a|b, lost: undefined on 1 of 2 pairs" in text
    assert "## Left out: 1\n\n- theirs: no result for b" in text
    assert "nan" not in text.lower()


def test_without_ours_and_without_anything_missing_there_is_one_table(tmp_path):
    write_tables(Evaluation(("a",), {"plain mean": (row(12.5, Qcv=437.7),)}, None), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "##" not in text
    assert "| plain mean | 1 | 12.50 | 12.50 | 12.50 | 438 |" in text
