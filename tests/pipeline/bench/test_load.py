"""When a run is called noisy."""

import pytest

from pipeline.bench import load
from pipeline.bench.load import Load, Watch

QUIET = Load(10.0, 1.9, 0.05, 0.01, 0.2, 1.8, (2300.0, 2300.0), cores=2)


def test_a_quiet_machine_has_nothing_to_be_told():
    assert QUIET.reasons() == []
    assert Load(10.0, 1.9, None, None, None, None, None, cores=2).reasons() == []  # a system that tells nothing


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"other_cores": 0.5}, "other programs used 0.50 of 2 cores meanwhile"),
        ({"steal_cores": 0.1}, "the host of this virtual machine withheld 0.10 of 2 cores"),
        ({"mhz": (1200.0, 3000.0)}, "the cores' clock went between 1200 and 3000 MHz"),
    ],
)
def test_each_disturbance_is_named(values, line):
    from dataclasses import replace

    noisy = replace(QUIET, **values)
    assert noisy.reasons() == [line]
    assert noisy.to_json()["reasons"] == [line]


def test_time_that_is_not_ours_is_that_of_others(monkeypatch):
    """10 s in which the cores worked 18 s, 12 of them for us, and 0.5 s were stolen."""
    now, own, busy = iter([100.0, 110.0]), iter([7.0, 19.0]), iter([(1000.0, 3.0), (1018.0, 3.5)])
    monkeypatch.setattr(load, "_own_seconds", lambda: next(own))
    monkeypatch.setattr(load, "_busy_seconds", lambda: next(busy))
    found = Watch(lambda: next(now)).load()
    assert (found.seconds, found.own_cores, found.other_cores, found.steal_cores) == pytest.approx((10, 1.2, 0.6, 0.05))


def test_the_systems_counts_are_read_and_idle_time_is_no_work(tmp_path, monkeypatch):
    monkeypatch.setattr(load.os, "sysconf", lambda name: 100)
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 200 300 99999 88888 10 20 50 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n")
    assert load._busy_seconds(stat) == (6.3, 0.5)
    assert load._busy_seconds(tmp_path / "nothing") is None


def test_the_slowest_and_fastest_clock_are_kept(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\ncpu MHz\t\t: 1800.5\nprocessor : 1\ncpu MHz\t\t: 2300.0\n")
    assert load._clocks_mhz(info) == [1800.5, 2300.0]
    seen = iter([[2000.0], [1500.0, 2500.0]])
    monkeypatch.setattr(load, "_clocks_mhz", lambda: next(seen))
    watch = Watch()
    watch.look()
    watch.look()
    assert watch.load().mhz == (1500.0, 2500.0)
