"""What is measured on request: what is counted, by fusers that note what they are given."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.bench.batches import Batch, batched
from pipeline.bench.further import Runner
from pipeline.bench.growth import Length, Pixels, lengths_for, pixels_of
from pipeline.bench.latency import Latency, percentile
from pipeline.bench.plan import Plan
from pipeline.bench.row import Alone, Row
from pipeline.bench.scaling import OnCores, parse_cores, table
from pipeline.frames import InputError
from tests.pipeline.fakes import VisFuser

PLAN = Plan(None, [(32, 24)], frames=4, repeats=2)


class Watched(VisFuser):
    """Notes the shapes it is given, and whether a pair was under way when the next one came."""

    def __init__(self, name="watched", stop=None):
        super().__init__()
        self.name, self.shapes, self.under_way, self.most = name, [], 0, 0
        self.stop = stop

    def fuse(self, ir, vis):
        self.shapes.append(ir.shape)
        if self.stop is not None and len(self.shapes) > 9:
            self.stop.set()
        return super().fuse(ir, vis)

    def start_abreast(self, *, follows):
        raise AssertionError("a live picture is to be there as soon as it can be")

    def start(self, *, follows):
        flight, watched = super().start(follows=follows), self

        class Counted:
            depth = 3

            def put(self, ir, vis):
                watched.under_way += 1
                watched.most = max(watched.most, watched.under_way)
                flight.put(ir, vis)

            def get(self):
                watched.under_way -= 1
                return flight.get()

        return Counted()


def test_latency_has_one_pair_under_way_though_the_fuser_takes_more():
    fuser = Watched()
    (row,) = Runner(PLAN, threading.Event()).latency([fuser])
    assert [len(values) for values in row.ms] == [4, 4]
    assert (row.pairs, row.width, row.height, fuser.most) == (8, 32, 24, 1)
    assert all(ms > 0 for values in row.ms for ms in values)


def test_percentiles_are_values_that_were_measured():
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7
    row = Latency("a", 2, 2, [[1.0, 2.0, 30.0], [3.0, 4.0, 5.0]])
    assert row.to_json()["p50_ms_of_repeats"] == [2, 4]
    assert (row.to_json()["p50_ms"], row.to_json()["p99_ms"]) == (3, 30)


def test_a_stop_keeps_what_has_a_repeat():
    stop = threading.Event()
    fusers = [Watched("first", stop), Watched("second")]
    rows = Runner(PLAN, stop).latency(fusers)  # 7 pairs in the first turn of each, the first stops in its second
    assert [(row.fuser, len(row.ms)) for row in rows] == [("first", 2), ("second", 1)]


def test_a_batch_is_one_call_and_its_time_is_shared_by_its_pairs(monkeypatch):
    from pipeline.bench import batches

    clock = iter([0.0, 0.3, 0.9, 1.2])  # begins; after one call; after two: enough; ends
    monkeypatch.setattr(batches.time, "perf_counter", lambda: next(clock))
    fuser = Watched()
    black = np.zeros((6, 8), np.uint8)
    pictures = SimpleNamespace(aligned=2 * [SimpleNamespace(ir=black, vis=black)])
    assert batched(fuser, pictures, 4, seconds=0.8) == pytest.approx(1e3 * 1.2 / 2 / 4)
    assert fuser.shapes == 3 * [(4, 6, 8)]  # the first one warms up


def test_batches_are_rows_of_their_own():
    plan = Plan(None, [(32, 24)], frames=4, repeats=2, seconds=0.01)
    rows = Runner(plan, threading.Event()).batches([Watched()], [1, 3])
    assert [(row.batch, len(row.ms), row.width) for row in rows] == [(1, 2, 32), (3, 2, 32)]
    assert Batch("a", 4, 2, 8, [1.5]).to_json()["ms_of_repeats"] == [1.5]


@pytest.mark.parametrize("text", ["0", "1,0", "9999", "one", "1,", ",", "-1", "1.5", ""])
def test_numbers_of_cores_that_are_not_there_are_refused(text):
    with pytest.raises(InputError, match=r"give numbers of cores from 1 to \d+"):
        parse_cores(text)


def test_cores_rise_and_come_once():
    assert parse_cores("1,1") == [1]


def test_the_gain_of_cores_is_over_the_fewest():
    rows = [("a", 1, [9.0, 10.0, 11.0]), ("a", 4, [30.0]), ("b", 2, [5.0]), ("b", 4, [8.0])]
    shown = table([OnCores(name, 4, 2, cores, fps) for name, cores, fps in rows])
    cells = [list(column.cells) for column in shown.columns]
    assert cells[5] == ["1.00", "3.00", "1.00", "1.60"]
    assert cells[6] == ["100 %", "75 %", "100 %", "80 %"]


def row(width, height, ms, alone_ms, fuser="a"):
    return Row(fuser, width, height, None, fps_of_repeats=[1e3 / ms], alone={"fuse": Alone([alone_ms], [1.0])})


def test_time_by_pixels_is_read_from_rows_of_several_sizes():
    rows = [row(20, 20, 8.0, 4.0), row(10, 10, 2.0, 2.0), row(10, 10, 9.0, 1.0, "b"), row(10, 10, 9.0, 1.0, "c")]
    (found,) = pixels_of(rows, ["a", "b"])  # b has one size, c was not asked for
    assert found == Pixels("a", "veryfast", (100, 400), (2.0, 8.0), (2.0, 4.0))
    assert (found.to_json()["exponent"], found.to_json()["alone_exponent"]) == (1.0, 0.5)
    assert str(found).startswith("a: a pair's time grows with pixels^1.00")


def test_memory_that_grows_shows_between_the_two_longest():
    length = Length("a", 4, 2, [10, 20, 40], [1.0, 2.0, 4.0], [50.0, 90.0, 91.0])
    assert length.mb_per_1000 == pytest.approx(1000 / 20)
    assert length.to_json()["exponent"] == 1
    assert str(length) == "4x2 a: time grows with length^1.00 (10, 20, 40 pairs), peak memory 50, 90, 91 MiB"


def test_videos_are_as_long_as_eight_seconds_of_the_pipeline():
    assert lengths_for(100.0) == [100, 200, 400, 800]
    assert lengths_for(0.1) == [4, 8, 16, 32]
    assert lengths_for(1e6)[-1] == 10_000
    assert lengths_for(100.0, most=17) == [4, 8, 17]  # inputs that hold no more
