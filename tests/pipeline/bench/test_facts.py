"""What is said of the machine, and of a run whose repeats disagree."""

import os

import engines.cores
from pipeline.bench import facts, whole
from pipeline.bench.facts import machine, versions
from pipeline.bench.row import Row

CPUINFO = "processor : 0\nmodel name\t: Z80 Plus\nflags\t\t: fpu sse2 avx2 fma avx512_vnni\nbogus: avx\n"


def test_a_machine_is_named_with_the_instructions_that_networks_use(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    monkeypatch.setattr(facts, "Path", lambda name: path)
    found = machine()
    assert (found["processor"], found["instructions"]) == ("Z80 Plus", "avx2 fma avx512_vnni")
    assert found["memory"].endswith(" GiB")


def test_a_system_that_does_not_tell_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(facts, "Path", lambda name: tmp_path / "nothing")
    assert machine()["instructions"] == "not told"


def test_only_cores_that_may_be_used_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 3, 5}, raising=False)
    assert machine()["cores"] == "3"


def test_threads_are_those_that_the_parts_of_a_run_take(monkeypatch):
    monkeypatch.setattr(engines.cores, "cores", lambda: 8)
    assert facts.threads() == "network 8 (4 pairs abreast if it is light), each decoder 4, encoder its own"
    assert facts.threads(1) == "network 1, each decoder 1, encoder 1"


def test_versions_are_those_installed():
    import numpy as np

    assert versions()["numpy"] == np.__version__
    assert int(versions()["libavcodec"].split(".")[0]) >= 58


def row(name, *fps):
    return Row(name, 64, 48, None, fps_of_repeats=list(fps))


def test_the_row_whose_repeats_lie_farthest_apart_is_named():
    rows = [row("steady", 99, 100, 101), row("worst", 80, 100, 130), row("bad", 85, 100, 115), row("once", 100)]
    assert whole._apart(rows) == ["repeats lie up to ±25 % apart, those of 64x48 worst"]
    assert whole._apart(rows[::3]) == []
    assert whole._apart([]) == []
