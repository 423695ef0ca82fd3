"""The command on clips: tables, a page, rows that are kept, and one line for what cannot be used."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.training.moving import clip, write_clip
from training import bench, clip_evaluation
from training.clip_evaluation import evaluate_clips
from training.clip_rows import COLUMNS
from training.clip_series import read_series
from training.clips import find_clips, open_clip_methods
from training.data import DataError
from training.evaluate import KEPT, REPORT, main
from training.line_plot import line_plot
from training.methods import FORMULAS, plain_mean


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips; the first has a gain step of IR in frame 2."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "step", *clip(4, 40, 64, gain=[0, 0, 20, 20]))
    write_clip(folder / "walk", *clip(4, 40, 64))
    return folder


@pytest.fixture(scope="module")
def output(exported, clips, tmp_path_factory):
    """Of the command, with one model in both modes."""
    folder = tmp_path_factory.mktemp("out")
    main([str(exported), f"{exported}@frames", "--videos", str(clips), "-o", str(folder), "--workers", "1"])
    return folder


def test_tables_hold_a_row_a_clip_and_method(output):
    rows = list(csv.DictReader((output / "clips.csv").open()))
    names = [*FORMULAS, "small", "small@frames"]
    assert [(row["method"], row["clip"]) for row in rows] == [(n, c) for n in names for c in ("step", "walk")]
    found = {(row["method"], row["clip"]): row for row in rows}
    assert float(found["copy ir", "step"]["jump"]) == pytest.approx(20, abs=0.5)
    assert float(found["plain mean", "step"]["jump/IR"]) == pytest.approx(0.5, abs=0.02)
    assert found["small", "walk"]["changes"] != "" == found["plain mean", "walk"]["changes"]
    content = json.loads((output / "summary.json").read_text())
    assert (content["clips"], content["ours"]) == (["step", "walk"], "small")
    assert set(content["methods"]["small"]["metrics"]) == set(COLUMNS)
    text = (output / "summary.md").read_text()
    assert text.startswith("# 2 clips")
    assert "| method | clips | flicker ↓ | flicker/mean ↓ | warping ↓ |" in text
    assert "retention ↑" in text
    assert "nan" not in text.lower()


def test_the_page_needs_nothing_else_and_shows_the_step(output):
    text = (output / REPORT).read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "Fusion of 2 clips" in text
    assert text.count("<polyline") == 2 * (len(FORMULAS) + 2)
    assert [text.count(f"small, frame {place}") for place in (1, 2)] == [1, 2]  # the other clip jumps elsewhere
    kept = read_series(output / "series" / "step plain mean.npz")
    assert kept.places == (1, 2, 3)
    ir, vis = clip(4, 40, 64, gain=[0, 0, 20, 20])
    np.testing.assert_array_equal(kept.frames[1], plain_mean(ir[2], vis[2]))
    assert kept.brightness == pytest.approx([plain_mean(a, b).mean() for a, b in zip(ir, vis, strict=True)])


def test_rows_are_kept_and_pictures_that_are_gone_are_told(output, exported, clips, monkeypatch, capsys):
    command = [str(exported), f"{exported}@frames", "--videos", str(clips), "-o", str(output)]
    before = (output / "clips.csv").read_text()
    (output / "series" / "step plain mean.npz").write_bytes(b"gone bad")
    monkeypatch.setattr(bench, "_row", lambda job: pytest.fail("measured again"))
    main(command)
    assert (output / "clips.csv").read_text() == before
    assert len((output / KEPT).read_text().splitlines()) == 2 * (len(FORMULAS) + 2)
    assert "Not kept: plain mean; measured before, without pictures." in (output / REPORT).read_text()
    assert re.search(r"^small: flicker \d+\.\d{4}", capsys.readouterr().out, re.MULTILINE)


def test_fewer_frames_are_another_measurement(tmp_path):
    write_clip(tmp_path / "late", *clip(4, 40, 64, gain=[0, 0, 0, 20]))
    rows = [
        evaluate_clips(open_clip_methods([]), find_clips([tmp_path], frames=n)[0], kept=tmp_path / KEPT).rows
        for n in (0, 3)
    ]
    assert rows[0]["copy ir"][0]["jump"] > 15 > rows[1]["copy ir"][0]["jump"]


def test_a_clip_that_the_memory_cannot_hold_is_told(clips, monkeypatch):
    monkeypatch.setattr(clip_evaluation, "available_memory", lambda: 100_000)
    found, _ = find_clips([clips])
    with pytest.raises(DataError, match=r"step: 4 frames of 64x40 need about .* give --frames or fewer --workers"):
        evaluate_clips(open_clip_methods([]), found)


def test_what_cannot_be_used_is_one_line_and_exit_code_2(exported, clips, tmp_path, capsys):
    for options, message in (
        ([exported], "one of the arguments --pairs --videos is required"),
        (["--videos", clips, "--pairs", clips], "not allowed with argument"),
        (["--videos", tmp_path], "no usable clip"),
        (["--videos", clips, "--frames", 2], "--frames 2: give 3 or more, and with --videos only"),
        (["--pairs", clips, "--frames", 4], "--frames 4: give 3 or more, and with --videos only"),
        (["none@frames", "--videos", clips], "none: no such model"),
        ([f"x={tmp_path}", "--videos", clips], "no fused video fits a clip"),
    ):
        with pytest.raises(SystemExit) as caught:
            main([str(option) for option in options])
        error = capsys.readouterr().err
        assert (caught.value.code, error.count("\n")) == (2, 1), error
        assert message in error


def test_lines_span_the_plot():
    text = line_plot("t", {"a<b": np.array([1.0, 3.0]), "none": np.array([])}, "a<b")
    assert 'points="50.0,224.0 690.0,24.0"' in text
    assert "a&lt;b" in text
    assert ">none<" not in text
    assert "<polyline" not in line_plot("t", {})


def test_real_clips_of_a_gain_step(real_data):
    """IR of this clip jumps; plain mean shows half of it, a copy of VIS nothing."""
    found, _ = find_clips([Path(real_data) / "video" / "m3svd_0114_1611"], frames=15)
    rows = evaluate_clips(open_clip_methods([]), found).rows
    assert rows["copy ir"][0]["jump"] > 20 > rows["plain mean"][0]["jump"] > 10
    assert rows["copy vis"][0]["jump"] < 1
    assert rows["plain mean"][0]["flicker/mean"] == 1
