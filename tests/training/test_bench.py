"""Rows of many pictures: the same on one core and on two, kept, and measured again only if something changed."""

import json
import os
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import pytest

from tests.training.material import noise, write_pairs
from training import bench
from training.bench import BenchError, cores, measure_all, read_kept
from training.data import DataError, find_pairs, read_luma
from training.methods import Method, open_methods, plan
from training.rows import fusion_row


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return find_pairs([write_pairs(tmp_path_factory.mktemp("pairs"), 2)]).pairs


@pytest.fixture
def jobs(pairs):
    return plan([Method("plain max", "formula"), Method("copy ir", "formula")], pairs)[0]


@pytest.fixture
def measured(monkeypatch):
    """The jobs that are measured, not taken from what was kept."""
    real, seen = bench._row, []
    monkeypatch.setattr(bench, "_row", lambda job: (seen.append((job.method.name, job.pair.ir.stem)), real(job))[1])
    return seen


def test_rows_come_in_the_order_of_the_jobs(jobs, pairs):
    found = measure_all(jobs)
    read = [(read_luma(pair.ir), read_luma(pair.vis)) for pair in pairs]
    assert found[:2] == [fusion_row(ir, vis, np.maximum(ir, vis)) for ir, vis in read]
    assert found[2:] == [fusion_row(ir, vis, ir) for ir, vis in read]


def test_processes_find_what_one_finds(exported, pairs, tmp_path):
    jobs, _ = plan(open_methods([exported]), pairs)
    before = dict(os.environ)
    found = measure_all(jobs, workers=2, kept=tmp_path / "new" / "rows.jsonl")
    assert found == measure_all(jobs)
    assert found == measure_all(jobs, kept=tmp_path / "new" / "rows.jsonl")
    assert dict(os.environ) == before


def test_an_error_in_a_process_reaches_the_caller_and_what_was_measured_is_kept(pairs, tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("00", "01"):
        cv2.imwrite(str(folder / f"{name}.png"), noise(48, 56))
    jobs, _ = plan([Method("plain max", "formula"), Method("theirs", "results", folder)], pairs)
    kept = tmp_path / "rows.jsonl"
    measure_all(jobs[:1], kept=kept)
    (folder / "01.png").write_bytes(b"gone bad meanwhile")
    for workers in (1, 2):
        with pytest.raises(DataError, match="not a readable image"):
            measure_all(jobs, kept=kept, workers=workers)
    assert len(read_kept(kept)) >= 1


def test_a_process_that_is_killed_is_told(jobs, monkeypatch):
    """As the kernel does when memory runs out: the job that its process was given brings it down."""

    class Dying(ProcessPoolExecutor):
        def submit(self, function, *arguments):
            return super().submit(os._exit, 9)

    monkeypatch.setattr(bench, "ProcessPoolExecutor", Dying)
    with pytest.raises(BenchError, match="a process was killed, as when memory runs out; use fewer --workers"):
        measure_all(jobs, workers=2)


def test_what_was_measured_is_not_measured_again(jobs, tmp_path, measured):
    kept = tmp_path / "rows.jsonl"
    first = measure_all(jobs[:3], kept=kept)
    assert len(measured) == 3
    assert measure_all(jobs, kept=kept)[:3] == first
    assert measured[3:] == [("copy ir", "01")]
    assert len(kept.read_text().splitlines()) == 4
    entry = json.loads(kept.read_text().splitlines()[0])
    assert (entry["method"], entry["pair"]) == ("plain max", str(jobs[0].pair.ir))
    assert entry["row"] == first[0]


def test_each_row_is_in_the_file_before_the_next_is_measured(jobs, tmp_path, monkeypatch):
    """So that a run that is killed loses no more than one picture."""
    kept, real, lines = tmp_path / "rows.jsonl", bench._row, []
    monkeypatch.setattr(bench, "_row", lambda job: (lines.append(kept.read_text().count("\n")), real(job))[1])
    measure_all(jobs, kept=kept)
    assert lines == [0, 1, 2, 3]


def test_a_line_torn_by_a_kill_is_measured_again(jobs, tmp_path, measured):
    kept = tmp_path / "rows.jsonl"
    whole = measure_all(jobs, kept=kept)
    text = kept.read_text()
    kept.write_text('{"key": 1}\n[]\nnull\n' + text[:-40])
    assert measure_all(jobs, kept=kept) == whole
    assert len(measured) == 4 + 1
    assert measure_all(jobs, kept=kept) == whole
    assert len(measured) == 5


@pytest.mark.parametrize("changed", ["ir", "vis"])
def test_a_changed_source_is_measured_again(tmp_path, measured, changed):
    pair = find_pairs([write_pairs(tmp_path / "own", 1)]).pairs[0]
    jobs, _ = plan([Method("plain max", "formula")], [pair])
    first = measure_all(jobs, kept=tmp_path / "rows.jsonl")
    cv2.imwrite(str(getattr(pair, changed)), noise(48, 56, 9))
    assert measure_all(jobs, kept=tmp_path / "rows.jsonl") != first
    assert len(measured) == 2


def test_changed_code_makes_all_stale(jobs, tmp_path, measured, monkeypatch):
    measure_all(jobs, kept=tmp_path / "rows.jsonl")
    monkeypatch.setattr(bench, "code_version", lambda: "another")
    measure_all(jobs, kept=tmp_path / "rows.jsonl")
    assert len(measured) == 8


def test_the_code_version_sees_every_metric(tmp_path, monkeypatch):
    names = [path.name for pattern in bench.SOURCES for path in bench.Path(bench.__file__).parent.glob(pattern)]
    assert {"rows.py", "methods.py", "qcv.py", "ms_ssim.py", "target_retention.py", "onnx_cpu.py"} <= set(names)


def test_the_same_picture_is_measured_once(jobs, measured):
    rows = measure_all([jobs[0], jobs[0]])
    assert rows[0] == rows[1]
    assert len(measured) == 1


def test_there_is_a_core():
    assert 1 <= cores() <= (os.cpu_count() or 1)
