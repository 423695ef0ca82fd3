"""Results written, read again, refused, and compared."""

import json
from dataclasses import replace

import pytest

from pipeline.bench.compare import comparison, remarks
from pipeline.bench.latency import Latency
from pipeline.bench.load import Load
from pipeline.bench.result import Result, read
from pipeline.bench.row import Alone, Row
from pipeline.bench.scaling import OnCores
from pipeline.frames import InputError


def result(fps=(100.0, 110.0, 121.0), **changes):
    """A result of one row, and what was measured beside it."""
    rows = [
        Row("a", 64, 48, None, fps_of_repeats=list(fps), pairs=9, weights="aaa", cpu_ms_of_repeats=[20.0, 20.0],
            alone={stage: Alone([2.0, 2.0], [1.0, 1.0]) for stage in ("decode", "fuse", "encode")}),
        Row("ffmpeg blend", 64, 48, None, fps_of_repeats=[200.0, 200.0], pairs=9),
    ]  # fmt: skip
    made = Result(
        {"processor": "Z80", "cores": "2"}, {"numpy": "2.0"}, {"threads": 0, "frames": 200}, rows,
        {"copying memory, GB": [10.0, 10.0]}, [Latency("a", 64, 48, [[4.0, 4.0], [4.0]])],
        cores=[OnCores("a", 64, 48, 2, [80.0])],
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture
def kept(tmp_path):
    def write(name, made):
        path = tmp_path / name
        path.write_text(json.dumps(made.to_json()))
        return read(path)

    return write


def test_what_was_measured_comes_back(kept):
    told = kept("a.json", result())
    assert told.rates == {
        "64x48 veryfast a": [100, 110, 121],
        "64x48 veryfast a: CPU": [50, 50],
        "64x48 decode alone": [500, 500],
        "64x48 veryfast a: fuse alone": [500, 500],
        "64x48 veryfast a: encode alone": [500, 500],
        "64x48 veryfast ffmpeg blend": [200, 200],
        "64x48 a: latency": [250, 250],
        "64x48 a: cores 2": [80],
    }
    assert told.weights == {"a": "aaa", "ffmpeg blend": None}


def test_a_real_change_stands_beside_what_did_not_change(kept):
    table = comparison(kept("a.json", result()), kept("b.json", result((150.0, 165.0, 181.5))))
    cells = dict(zip(*(list(table.columns[k].cells) for k in (0, 3)), strict=True))
    assert cells["64x48 veryfast a"] == "faster by 50 % (21..86)"
    assert cells["64x48 a: latency"] == "no difference larger than noise (±1 %)"
    assert not any(name.endswith(" alone") for name in cells)  # stages that did not change explain nothing
    assert dict(zip(*(list(table.columns[k].cells) for k in (0, 1)), strict=True))["64x48 a: latency"] == "4.00 ms"


def test_the_stage_that_changed_is_named(kept):
    quicker = result()
    quicker.rows[0].alone["encode"] = Alone([1.0, 1.0], [1.0, 1.0])
    table = comparison(kept("a.json", result()), kept("b.json", quicker))
    cells = dict(zip(*(list(table.columns[k].cells) for k in (0, 3)), strict=True))
    assert cells["64x48 veryfast a: encode alone"] == "faster by 100 % (98..102)"
    assert "64x48 veryfast a: fuse alone" not in cells


def test_the_same_run_twice_differs_in_nothing(kept):
    a = kept("a.json", result())
    assert list(remarks(a, a)) == []
    assert all(cell.startswith("no diff") or "noise not known" in cell for cell in comparison(a, a).columns[3].cells)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"machine": {"processor": "6502", "cores": "2"}}, "different machines: processor Z80 in A, 6502 in B"),
        ({"versions": {"numpy": "3.0"}}, "different versions: numpy 2.0 in A, 3.0 in B"),
        ({"settings": {"threads": 1, "frames": 50}}, "different settings: threads 0 in A, 1 in B"),
        ({"noise": ["repeats lie apart"]}, "B is noisy: repeats lie apart"),
        ({"anchors": {"copying memory, GB": [5.0, 5.0]}},
         "the machine itself, or its load, changed: copying memory, GB slower by 50.0 % (49.5..50.5)"),
    ],
)  # fmt: skip
def test_whatever_else_differs_is_named(kept, changes, line):
    assert list(remarks(kept("a.json", result()), kept("b.json", result(**changes)))) == [line]


def test_other_weights_and_another_speed_of_ffmpeg_are_named(kept):
    other = result()
    other.rows[0].weights = "bbb"
    other.rows[1].fps_of_repeats = [100.0, 100.0]
    assert list(remarks(kept("a.json", result()), kept("b.json", other))) == [
        "a: other weights, aaa in A, bbb in B",
        "the machine itself, or its load, changed: 64x48 veryfast ffmpeg blend slower by 50.0 % (49.5..50.5)",
    ]


def test_nothing_in_common_is_refused(kept):
    other = result(rows=[Row("b", 64, 48, None, fps_of_repeats=[1.0])], latency=[], cores=[])
    with pytest.raises(InputError, match=r"a.json and .*b.json: measured nothing in common"):
        comparison(kept("a.json", result()), kept("b.json", other))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a result of bench"),
        ('{"a": 1}', "not a result of bench"),
        ('{"machine": {}, "rows": []}', "of an older bench, which kept no repeats; measure again"),
        ('{"format": "crotalus-bench", "version": 99}', "version 99, this bench reads 1"),
        ('{"format": "crotalus-bench", "version": 1}', "damaged, KeyError 'machine'"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, reason):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "nothing.json")


@pytest.mark.parametrize("speeds", [[0.0], [-1], ["fast"], [None], 3, [float("nan")]])
def test_speeds_that_are_none_are_refused(tmp_path, speeds):
    content = result().to_json()
    content["rows"][0]["fps_of_repeats"] = speeds
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"damaged, .*; measure again"):
        read(path)


def test_a_run_without_repeats_or_a_quiet_load_is_still_a_result(kept):
    load = Load(10.0, 1.9, None, None, None, None, None, cores=2)
    assert kept("a.json", result((3.0,), load=load)).rates["64x48 veryfast a"] == [3.0]
