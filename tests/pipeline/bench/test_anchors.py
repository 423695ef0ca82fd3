"""What a machine does without this program, by the clock."""

from pipeline.bench import anchors
from pipeline.bench.anchors import copying, multiplying


def test_rates_of_memory_and_arithmetic_are_those_of_the_clock(monkeypatch):
    monkeypatch.setattr(anchors, "_seconds", lambda work, times: 0.25 * times)
    assert copying() == 2 * (32 << 20) / 0.25 / 1e9  # read once, written once
    assert multiplying(100) == 2 * 100**3 / 0.25 / 1e9
