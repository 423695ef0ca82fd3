"""What is measured of methods: each row by its parts, and the commands that print and keep it."""

import json
import re

import cv2
import numpy as np
import pytest

from engines.base import open_fuser
from engines.model import ModelError
from tests.training.material import noise, textured, write_pair
from training.bench import BenchError
from training.data import DataError, read_luma
from training.evaluate import KEPT, REPORT, evaluate, main, means
from training.export import read_metrics
from training.measure import main as measure_main
from training.measure import measure
from training.methods import FORMULAS, open_methods
from training.metrics.correlation import scd
from training.rows import COLUMNS, averages, fusion_row
from training.tables import FILES


def warm(height, width):
    """IR with one warm target."""
    picture = textured(height, width, 3) // 4 + 20
    picture[30:40, 20:30] = 230
    return picture


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two pairs of odd sizes, one with a target, and a small one that is skipped."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pair(folder, "a", warm(65, 71), textured(65, 71, 1))
    write_pair(folder, "b", textured(40, 33, 4) // 4, textured(40, 33, 5))
    write_pair(folder, "tiny", noise(31, 40), noise(31, 40))
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Results of another: one fits, one has another size, one belongs to no pair."""
    folder = tmp_path_factory.mktemp("results") / "theirs"
    folder.mkdir()
    for name, size in (("a", (65, 71)), ("b", (40, 32)), ("c", (40, 33))):
        assert cv2.imwrite(str(folder / f"{name}.png"), noise(*size))
    return folder


def test_rows_are_those_of_the_formulas_of_the_model_and_of_results(exported, pairs, theirs):
    found = evaluate(open_methods([exported, theirs]), [pairs], ours="small")
    assert list(found.rows) == [*FORMULAS, "small", "theirs"]
    assert found.pairs == ("a", "b")
    read = [[read_luma(pairs / kind / f"{name}.png") for kind in ("ir", "vis")] for name in "ab"]
    half = [((ir.astype(int) + vis + 1) // 2).astype(np.uint8) for ir, vis in read]
    assert found.rows["plain mean"] == tuple(fusion_row(*pair, f) for pair, f in zip(read, half, strict=True))
    assert found.rows["copy ir"][0]["retention"] == 1
    fuser = open_fuser(exported, backend="cpu")
    assert [row["SCD"] for row in found.rows["small"]] == [scd(*pair, fuser.fuse(*pair)) for pair in read]
    fuser.close()
    assert found.rows["theirs"] == (fusion_row(*read[0], read_luma(theirs / "a.png")), None)
    assert found.left_out == (
        f"{pairs}/ir/tiny.png: 40x31, a side below the 32 px needed",
        f"{theirs}/c.png: no pair of that name",
        f"{theirs}/b.png: 32x40, its pair is 33x40",
    )
    assert means(found)["theirs"] == averages([found.rows["theirs"][0]])


def test_every_nth_pair_and_a_folder_given_twice_counts_once(pairs):
    assert evaluate(open_methods([]), [pairs, pairs]).pairs == ("a", "b")
    assert evaluate(open_methods([]), [pairs], every=2).pairs == ("a",)


def test_the_command_prints_a_line_a_row_and_writes_what_export_reads(exported, pairs, tmp_path, capsys):
    main([str(exported), "--pairs", str(pairs), "--workers", "1", "--json", str(tmp_path / "numbers.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"skipped {pairs}/ir/tiny.png: 40x31, a side below the 32 px needed"
    assert lines[1] == "1 files or results skipped, 2 pairs measured"
    assert [line.split(":")[0] for line in lines[2:]] == ["reconstruction", *FORMULAS, "small"]
    number = r"(-?\d+\.\d{4}|undefined)"
    assert re.fullmatch(f"reconstruction: ir {number}  vis {number}", lines[2])
    assert re.fullmatch("small: " + "  ".join(f"{name} {number}" for name in COLUMNS), lines[-1])
    written = json.loads((tmp_path / "numbers.json").read_text())
    assert {name: written[name] for name in FORMULAS} == means(evaluate(open_methods([]), [pairs]))
    assert f"SSIM {written['small']['SSIM']:.4f}" in lines[-1]
    kept = read_metrics(tmp_path / "numbers.json")
    assert kept["small SSIM"] == written["small"]["SSIM"]
    assert len(kept) == 2 + 6 * len(COLUMNS)


def test_an_output_folder_has_the_tables_and_goes_on_where_it_was(pairs, theirs, tmp_path, capsys, monkeypatch):
    command = [str(theirs), "--pairs", str(pairs), "--workers", "1", "-o", str(tmp_path / "out")]
    main(command)
    first = capsys.readouterr().out
    assert "theirs (1 of 2 pairs): SSIM" in first
    assert "3 files or results skipped" in first
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*FILES, KEPT, REPORT])
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["ours"] == "theirs"
    texts = [(tmp_path / "out" / name).read_text() for name in FILES]
    monkeypatch.setattr("training.bench._row", lambda job: pytest.fail("measured again"))
    main(command)
    assert capsys.readouterr().out == first
    assert [(tmp_path / "out" / name).read_text() for name in FILES] == texts


def test_one_row_of_a_model_or_of_results(exported, pairs, theirs, capsys):
    row, count = measure(exported, [pairs])
    assert (row, count) == (means(evaluate(open_methods([exported]), [pairs]))["small"], 2)
    measure_main([str(theirs), "--pairs", str(pairs), "--every", "2"])
    wanted = means(evaluate(open_methods([theirs]), [pairs]))["theirs"]
    assert capsys.readouterr().out.startswith(f"{theirs}, 1 pairs: SSIM {wanted['SSIM']:.4f}  SCD {wanted['SCD']:.4f}")
    with pytest.raises(DataError, match=r"1 of 2 pairs without a result; the first: .*c\.png: no pair of that name"):
        measure(theirs, [pairs])


def test_what_cannot_be_measured_is_one_line_and_exit_code_2(exported, pairs, theirs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for command, options, message in (
        (main, ["none", "--pairs", pairs], "none: no such model"),
        (main, [exported, "--pairs", tmp_path], "ir: no such folder; a folder of pairs holds ir/ and vis/"),
        (main, ["--pairs", pairs, "--json", tmp_path / "none" / "x.json", "--workers", 1], "No such file or directory"),
        (main, ["--pairs", pairs, "-o", tmp_path / "file", "--workers", 1], "file"),
        (main, [exported], "one of the arguments --pairs --videos is required"),
        (main, [theirs, theirs, "--pairs", pairs], "two methods named theirs; call one otherwise: NAME="),
        (main, ["--pairs", pairs, "--every", 0], "--every 0 --workers 0: give 1 or more"),
        (measure_main, ["none", "--pairs", pairs], "none: no such model"),
        (measure_main, [theirs, "--pairs", pairs], "1 of 2 pairs without a result"),
        (measure_main, [theirs, "--pairs", pairs, "--every", -1], "--every -1: not a step; give 1 or more"),
    ):
        with pytest.raises(SystemExit) as caught:
            command([str(option) for option in options])
        error = capsys.readouterr().err
        assert caught.value.code == 2
        assert error.startswith("python -m training.")
        assert message in error
        assert error.count("\n") == 1, error


@pytest.mark.parametrize("command", [main, measure_main])
@pytest.mark.parametrize(("error", "code"), [(BenchError("a process was killed"), 1), (KeyboardInterrupt(), 130)])
def test_an_interrupted_command_ends_with_one_line(theirs, pairs, monkeypatch, capsys, command, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("training.evaluate.measure_all", fail)
    monkeypatch.setattr("training.measure.measure", fail)
    with pytest.raises(SystemExit) as caught:
        command([str(theirs), "--pairs", str(pairs), "--every", "2"])
    assert caught.value.code == code
    assert re.fullmatch(r"python -m training\.\w+: (a process was killed|interrupted.*)\n", capsys.readouterr().err)


def test_errors_reach_the_caller(exported, tmp_path):
    with pytest.raises(ModelError):
        open_methods([tmp_path / "none"])
    with pytest.raises(DataError):
        evaluate(open_methods([exported]), [tmp_path])
