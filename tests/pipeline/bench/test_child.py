"""A measurement in another process: on its cores, answered or failed in one line, ended when nobody wants it."""

import json
import os
import threading
from dataclasses import asdict

import pytest

from pipeline.bench import child
from pipeline.bench.child import Answer, ChildError, Request, ask, main, parsed, peak_mb
from pipeline.bench.spec import Spec, specs
from pipeline.synthetic import Scene, write_pair


@pytest.fixture(scope="module")
def request_of_mean(tmp_path_factory):
    made = write_pair(tmp_path_factory.mktemp("pair"), Scene(width=32, height=24, frames=8, offset=0.0))
    inputs = (str(made.ir), str(made.vis))
    return Request(Spec("mean"), inputs, (16, 12), "ultrafast", 4, 60.0, 1, "fp16", "off", False, None, None)


def test_another_process_measures_and_tells_its_memory(request_of_mean):
    found = ask(request_of_mean, threading.Event())
    assert (found.fuser, found.width, found.height, found.pairs) == ("plain mean", 16, 12, 4)
    assert found.seconds > 0
    assert found.peak_mb is None or 20 < found.peak_mb < 2000


def test_a_stop_ends_the_other_process(request_of_mean):
    stop = threading.Event()
    stop.set()
    assert ask(request_of_mean, stop) is None


def test_what_fails_there_is_one_line_here(request_of_mean, monkeypatch):
    monkeypatch.setattr(child.sys, "executable", "/bin/sh")  # takes -P for an option that it does not know
    with pytest.raises(ChildError, match=r"a measurement in a process of its own failed: .*-P"):
        ask(request_of_mean, threading.Event())


def test_cores_are_chosen_before_anything_is_measured(request_of_mean, monkeypatch, capfd):
    from dataclasses import replace

    told = []
    monkeypatch.setattr(child.signal, "signal", lambda *given: None)
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: told.append(("cores", process, cores)))
    monkeypatch.setattr(child, "answer", lambda wanted: told.append(wanted) or Answer("a", 4, 2, 9, 3.0, 50.0))
    wanted = replace(request_of_mean, cores=[1, 3])
    monkeypatch.setattr(child.sys, "argv", ["child", json.dumps(asdict(wanted))])
    outputs = os.dup(1)
    try:
        assert main() == 0
    finally:
        os.dup2(outputs, 1)
        os.close(outputs)
    assert told == [("cores", 0, [1, 3]), wanted]
    assert Answer(**json.loads(capfd.readouterr().out)).fps == 3


def test_a_request_comes_through_as_it_was(request_of_mean):
    assert parsed(json.dumps(asdict(request_of_mean))) == request_of_mean


def test_the_peak_is_read_from_the_systems_page(tmp_path):
    page = tmp_path / "status"
    page.write_text("Name:\tpython\nVmPeak:\t  9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n")
    assert peak_mb(page) == 2
    assert peak_mb(tmp_path / "nothing") is None


def test_every_model_meets_every_backend_and_a_method_alone_brings_none():
    assert list(specs([], [], [])) == [Spec(None)]
    assert list(specs(["mean", "mean"], [], [])) == [Spec("mean")]
    assert list(specs(["mean"], ["a", "b"], ["cpu", "torch"])) == [
        Spec("mean"), *(Spec(None, model, backend) for model in "ab" for backend in ("cpu", "torch"))
    ]  # fmt: skip
