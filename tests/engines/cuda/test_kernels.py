"""rules.cu run on the CPU, thread by thread, by the launches that a GPU gets, against engines.rules.

Counts, decisions, maxima and both conversions are exact; a weighted average may differ by one rounding of fp16, as
the kernel takes the channel sums in another order.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engines import launches
from engines.launches import FeatureShape
from pipeline.luma import TO_FULL, TO_LIMITED
from tests.engines.cuda import checks
from tests.engines.cuda.checks import RuleCase, UnitCase
from tests.engines.cuda.harness import CpuDevice

MAPS = (8, 16, 32, 64, 128, 256)
SEEDS = st.integers(0, 2**32 - 1)
SIDE = st.integers(1, 12)
BYTES = st.floats(width=16, allow_nan=True, allow_infinity=True) | st.floats(0, 1, width=16)


@pytest.mark.parametrize("maps", MAPS)
@pytest.mark.parametrize("order", [0, 1, 2], ids=["forwards", "backwards", "shuffled"])
def test_every_fixed_case(kernel_library, maps, order):
    checks.check_all(CpuDevice(kernel_library(maps), maps, order))


@settings(max_examples=60, deadline=None)
@given(
    case=st.builds(
        RuleCase,
        kind=st.sampled_from(["usual", *checks.KINDS]),
        pictures=st.integers(1, 3),
        height=SIDE,
        width=SIDE,
        seed=SEEDS,
        has_state=st.booleans(),
        in_place=st.booleans(),
        blocks=st.none() | st.integers(1, 3),
    ),
    maps=st.sampled_from(MAPS),
    order=st.integers(0, 1000),
)
def test_rules_of_any_size(kernel_library, case, maps, order):
    checks.check_rules(CpuDevice(kernel_library(maps), maps, order), case)


@settings(max_examples=60, deadline=None)
@given(
    case=st.builds(
        UnitCase,
        height=SIDE,
        width=SIDE,
        pictures=st.integers(1, 3),
        margin=st.integers(0, 9),
        multiple=st.sampled_from([1, 2, 4]),
        slack=st.integers(0, 3),
        warped_from=st.none() | st.tuples(SIDE, SIDE),
        has_table=st.booleans(),
        seed=SEEDS,
    )
)
def test_luma_of_any_size_to_unit(kernel_library, case):
    checks.check_unit(CpuDevice(kernel_library(16), 16), case)


@settings(max_examples=60, deadline=None)
@given(
    unit=arrays(np.float16, st.tuples(st.integers(1, 2), SIDE, SIDE), elements=BYTES),
    is_wide=st.booleans(),
    slack=st.integers(0, 3),
    table=st.sampled_from([None, checks.TABLE]),
)
def test_any_unit_values_to_bytes(kernel_library, unit, is_wide, slack, table):
    crop = (unit.shape[1] > 1, unit.shape[2] > 1)
    unit = unit.astype(np.float32) if is_wide else unit
    checks.check_bytes(CpuDevice(kernel_library(16), 16), unit, crop=crop, slack=slack, table=table)


def test_every_level_survives_the_way_there_and_back(kernel_library):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    device = CpuDevice(kernel_library(16), 16)
    with device:
        plane = launches.Plane(device.upload(levels), 16, 16, 16)
        unit, out = device.empty((16, 16), np.float16), device.empty((16, 16), np.uint8)
        device.run(launches.to_unit(plane, unit, margin=0, multiple=2))
        device.run(launches.to_bytes(unit, (16, 16), launches.Plane(out, 16, 16, 16)))
        np.testing.assert_array_equal(device.download(out, (16, 16), np.uint8), levels)


def test_limited_range_is_read_and_written_as_on_the_host(kernel_library):
    """Both tables of pipeline/luma.py: what is stored is full range for the network, and limited again behind it."""
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    device = CpuDevice(kernel_library(16), 16)
    with device:
        plane = launches.Plane(device.upload(stored), 16, 16, 16)
        unit, out = device.empty((16, 16), np.float16), device.empty((16, 16), np.uint8)
        device.run(launches.to_unit(plane, unit, margin=0, multiple=2, table=device.upload(TO_FULL)))
        read = device.download(unit, (16, 16), np.float16)
        there = launches.Plane(out, 16, 16, 16)
        device.run(launches.to_bytes(unit, (16, 16), there, table=device.upload(TO_LIMITED)))
        written = device.download(out, (16, 16), np.uint8)
    np.testing.assert_array_equal(read, (TO_FULL[stored].astype(np.float32) / np.float32(255)).astype(np.float16))
    np.testing.assert_array_equal(written, np.clip(stored, 16, 235))


def test_a_map_in_the_band_keeps_its_rule_from_pair_to_pair(kernel_library):
    """The story of test_rules.py, on the device: state kept in place, counts cleared by each decision."""
    shape, device, seen = FeatureShape(1, 10, 10, 8), CpuDevice(kernel_library(8), 8), []
    with device:
        counts = device.upload(np.zeros((1, 2, 8), np.uint32))
        state = device.upload(np.full((1, 8), launches.UNKNOWN, np.uint8))
        for active in (61, 59, 58, 60, 56, 59, 62, 64):
            features = np.zeros((100, 8), np.float16)
            features[:active] = 1
            address = device.upload(features)
            device.run(launches.count_maps(address, address, counts, shape))
            device.run(launches.decide_rules(counts, state, state, shape))
            seen.append(bool(device.download(state, (8,), np.uint8)[0]))
    assert seen == [True, True, True, True, False, False, False, True]


def test_writing_beside_a_buffer_is_noticed(kernel_library):
    device = CpuDevice(kernel_library(8), 8)
    plane = launches.Plane(device.upload(np.zeros(4, np.uint8)) - 1, 4, 1, 4)
    device.run(launches.to_bytes(device.upload(np.ones((1, 4), np.float16)), (1, 4), plane))
    with pytest.raises(AssertionError, match="before the start"), device:
        pass
