"""The simulation agrees with what can be told by hand, and stops being linear where its parts say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch.costs import Costs
from pipeline.batch.simulate import archive, simulate

LENGTHS = st.lists(st.floats(1, 2000), min_size=1, max_size=12)
COSTS = st.builds(
    Costs,
    fuse=st.floats(0.01, 20),
    spread=st.sampled_from([0.0, 0.2]),
    each_chunk=st.floats(0, 5),
    plan=st.floats(0, 0.01),
    join=st.floats(0, 0.01),
    driver=st.floats(0, 0.5),
    start=st.floats(0, 30),
    starts=st.sampled_from([0.5, 10.0]),
    bytes_in=st.floats(0, 1e6),
    bytes_out=st.floats(0, 1e6),
    link=st.floats(1e6, 1e8),
    store=st.floats(1e6, 1e9),
    reads=st.sampled_from(["file", "part"]),
)


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, workers=st.integers(1, 40), costs=COSTS)
def test_every_second_of_every_worker_is_accounted_for(lengths, workers, costs):
    outcome = simulate(lengths, workers, costs)
    assert outcome.efficiency + sum(outcome.losses().values()) == pytest.approx(1, abs=1e-6)
    assert min(outcome.losses().values()) >= -1e-9


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS)
def test_one_worker_takes_the_sum(lengths):
    costs = Costs(fuse=2.0, each_chunk=3.0, plan=0.1, join=0.2, driver=0.5, start=7.0)
    chunks = sum(max(1, int(length // 60)) for length in lengths)
    expected = 7.0 + 2.3 * sum(lengths) + 3.0 * chunks + 0.5 * (chunks + 2 * len(lengths))
    assert simulate(lengths, 1, costs).makespan == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS)
def test_workers_without_number_take_the_longest_chain(lengths):
    costs = Costs(fuse=2.0, each_chunk=3.0, plan=0.1, join=0.2, start=7.0)
    chains = [0.3 * length + 2.0 * length / max(1, int(length // 60)) for length in lengths]
    assert simulate(lengths, 500, costs).makespan == pytest.approx(7.0 + 3.0 + max(chains))


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS, workers=st.integers(1, 20))
def test_no_cluster_beats_its_bounds(lengths, workers):
    outcome = simulate(lengths, workers, Costs(fuse=2.0))
    longest = max(length / max(1, int(length // 60)) for length in lengths)
    assert outcome.makespan >= max(2.0 * sum(lengths) / workers, 2.0 * longest) - 1e-6
    # Graham: list scheduling of independent work is at most (2 - 1/m) times the best.
    assert outcome.makespan <= 2.0 * sum(lengths) / workers + 2.0 * longest * (1 - 1 / workers) + 1e-6


def test_a_driver_bounds_the_rate_of_chunks():
    lengths = [60.0] * 1000
    outcome = simulate(lengths, 500, Costs(fuse=0.1, driver=0.05))
    assert outcome.makespan == pytest.approx(0.05 * 3 * 1000, rel=0.05)  # a plan, a chunk, a join each
    assert next(iter(outcome.losses())) == "driver"


def test_a_store_bounds_the_rate_of_bytes():
    lengths = [60.0] * 1000
    outcome = simulate(lengths, 500, Costs(fuse=0.1, bytes_out=1e6, link=1e8, store=1e8))
    assert outcome.makespan == pytest.approx(1000 * 60e6 * 3 / 1e8, rel=0.05)  # written, then joined: read and written
    assert next(iter(outcome.losses())) == "store"


def test_one_long_file_is_copied_by_every_worker_unless_the_disk_is_shared():
    costs = {"fuse": 1.0, "bytes_in": 1e6, "link": 1e8}
    copied = simulate([36_000.0], 60, Costs(**costs))
    shared = simulate([36_000.0], 60, Costs(**costs, reads="part"))
    assert copied.spent.copying == pytest.approx(60 * 360)  # the planner's own copy serves its chunks
    assert shared.spent.copying == pytest.approx(2 * 360)  # to plan, and for all chunks together
    assert copied.spent.fusing == pytest.approx(36_000)


def test_an_archive_has_the_hours_asked_for_and_no_file_beyond_the_longest():
    lengths = archive(500, longest=2.0)
    assert sum(lengths) == pytest.approx(500 * 3600)
    assert 0 < max(lengths) <= 2 * 3600
    assert lengths == archive(500, longest=2.0)


def test_steps_of_many_chunks_cost_what_their_chunks_do():
    lengths, costs = [3600.0] * 50, Costs(fuse=0.1, each_chunk=1.0, driver=0.01, bytes_in=1e6, link=1e9, store=1e10)
    fine, coarse = (simulate(lengths, 10, costs, at_once=number) for number in (1, 10))
    assert coarse.spent.chunks == fine.spent.chunks == 3000
    assert coarse.makespan == pytest.approx(fine.makespan, rel=0.1)
    bound = simulate(lengths, 500, Costs(fuse=0.1, driver=0.05), at_once=10)
    assert bound.makespan == pytest.approx(0.05 * 62 * 50, rel=0.1)
    slack = Costs(fuse=0.1, driver=0.001, bytes_in=1e6, bytes_out=1e6, link=1e7)
    assert simulate(lengths, 10, slack, at_once=10).losses()["driver"] < 0.01
