"""The command itself: what it writes, what it refuses before it measures, and Ctrl-C."""

import json
import os
import signal

import pytest
from typer.testing import CliRunner

from engines.base import CrotalusError
from pipeline.bench import run, whole
from pipeline.synthetic import Scene, write_pair
from run_stream import app


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = write_pair(tmp_path_factory.mktemp("pair"), Scene(width=32, height=24, frames=8, offset=0.0))
    return [str(made.ir), str(made.vis)]


@pytest.fixture(autouse=True)
def still_machine(monkeypatch):
    """No time is spent on the speed of memory and arithmetic."""
    monkeypatch.setattr(whole, "ANCHORS", {"copying memory, GB": lambda: 10.0})


QUICK = ["--method", "mean", "--rival", "none", "--frames", "2"]


def test_a_result_holds_all_that_was_asked_for(pair, tmp_path):
    out, plot = tmp_path / "a.json", tmp_path / "a.png"
    given = [*pair, *QUICK, "--repeats", "2", "--size", "32x24", "--size", "16x12", "--preset", "ultrafast",
             "--latency", "--batch", "2", "--seconds", "0.05", "--json", str(out), "--plot", str(plot)]  # fmt: skip
    done = CliRunner().invoke(app, ["bench", *given])
    assert done.exit_code == 0, done.output
    told = json.loads(out.read_text())
    assert (told["format"], told["version"], told["is_interrupted"]) == ("crotalus-bench", 1, False)
    assert [(row["fuser"], row["width"], row["preset"], len(row["fps_of_repeats"])) for row in told["rows"]] == [
        (name, width, "ultrafast", 2) for width in (32, 16) for name in ("Laplacian pyramid", "plain mean")
    ]
    assert [row["width"] for row in told["latency"]] == [32, 32, 16, 16]
    assert [row["batch"] for row in told["batches"]] == [2, 2]
    assert told["anchors"] == {"copying memory, GB": [10, 10, 10, 10]}  # before and after, by repeat
    assert told["settings"]["inputs"][0].startswith("ir.mp4 (")
    assert told["machine"]["instructions"]
    assert told["versions"]["numpy"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    for word in ("32x24 ultrafast plain mean: limited by", "latency, ms", "pairs at once", "of mean",
                 "a luma plane copied by one core: 32x24 0.000 ms, 16x12 0.000 ms"):  # fmt: skip
        assert word in done.output
    compared = CliRunner().invoke(app, ["bench", "--compare", str(out), str(out)])
    assert compared.exit_code == 0
    assert "no difference larger than noise" in compared.output


def test_growth_on_inputs_has_lengths_in_processes_of_their_own(pair, monkeypatch):
    from pipeline.bench import further
    from pipeline.bench.child import Answer

    asked = []

    def ask(request, stop):
        asked.append(request)
        return Answer("plain mean", 32, 24, request.frames, request.frames / 10, 60.0)

    monkeypatch.setattr(further, "ask", ask)
    done = CliRunner().invoke(app, ["bench", *pair, *QUICK, "--repeats", "1", "--growth", "--cores", "1"])
    assert done.exit_code == 0, done.output
    assert [request.frames for request in asked] == [2, 4, 5]  # on a core, then 8 frames less the warm-up, and less
    assert (len(asked[0].cores), asked[1].cores) == (1, None)
    assert "time grows with length^1.00 (4, 5 pairs), peak memory 60, 60 MiB" in done.output


def test_a_part_that_fails_costs_its_own_result_only(pair, tmp_path, monkeypatch):
    from pipeline.bench import further
    from pipeline.bench.child import ChildError

    def ask(request, stop):
        raise ChildError("no process to be had")

    monkeypatch.setattr(further, "ask", ask)
    out = tmp_path / "a.json"
    done = CliRunner().invoke(app, ["bench", *pair, *QUICK, "--repeats", "1", "--cores", "1", "--json", str(out)])
    assert done.exit_code == 1
    assert "error: no process to be had" in done.output
    told = json.loads(out.read_text())
    assert (len(told["rows"]), told["cores"], told["failed"]) == (2, [], ["no process to be had"])


def test_ctrl_c_leaves_what_is_finished(pair, tmp_path, monkeypatch):
    turns, real = [], run.timed

    def timed(job, fuser, *, stop, **options):
        turns.append(fuser.name)
        if len(turns) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.wait(30)
        return real(job, fuser, stop=stop, **options)

    monkeypatch.setattr(run, "timed", timed)
    out = tmp_path / "a.json"
    done = CliRunner().invoke(app, ["bench", *pair, *QUICK, "--growth", "--latency", "--json", str(out)])
    assert done.exit_code == 130
    told = json.loads(out.read_text())
    assert told["lengths"] == []
    assert ([row["fuser"] for row in told["rows"]], told["is_interrupted"]) == (["Laplacian pyramid"], True)
    assert "Laplacian pyramid" in done.output


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["a.mp4"], "one input given"),
        (["--size", "3"], "--size 3: give width and height"),
        (["--preset", "quick"], "preset 'quick': libx264 takes one of"),
        (["--cores", "0"], "--cores 0: give numbers of cores"),
        (["--rival", "opencv"], "--rival opencv: not known; use ffmpeg, torch, none"),
        (["--plot", "a.jpg"], "a.jpg: not a name for a plot"),
        (["--json", "a.txt"], "a.txt: not a name for a JSON file"),
        (["--seconds", "0"], "--seconds 0.0: give the time of a turn, above 0"),
        (["--method", "fft"], "method 'fft': not known"),
        (["--backend", "abacus"], "backend 'abacus': not known"),
        (["--work-height", "3"], "--work-height 3"),
        (["a.mp4", "b.mp4", "--compare", "a.json", "b.json"], "it measures nothing, leave them out"),
        (["--compare", "no.json", "b.json"], "no.json: No such file or directory"),
    ],
)
def test_wrong_use_is_told_before_anything_is_measured(monkeypatch, given, reason):
    monkeypatch.setattr(whole, "measure", lambda *_, **__: pytest.fail("measured"))
    done = CliRunner().invoke(app, ["bench", *given])
    assert isinstance(done.exception, CrotalusError)
    assert done.exception.exit_code == 2
    assert reason in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_fuser_that_auto_is_already_is_named(monkeypatch):
    from engines.classical import open_classical
    from pipeline import chosen

    monkeypatch.setattr(chosen, "open_fuser", lambda *_, **__: open_classical("mean"))
    done = CliRunner().invoke(app, ["bench", "--method", "mean", "--model", "auto"])
    assert "plain mean was given twice" in str(done.exception)
