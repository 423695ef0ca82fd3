"""Launches: how the work is shared out, what is passed, and what is refused."""

import struct

import numpy as np
import pytest

from engines import launches
from engines.launches import COUNT_BLOCKS, FUSE_BLOCKS, FeatureShape, Launch, Plane
from engines.onnx_cpu import reflected

VGA = FeatureShape(1, 244, 324, 128)
"""Features of a 640x480 picture with its margin."""


def test_padded_length_is_that_of_the_reflection():
    for length in range(1, 40):
        for multiple in (1, 2, 4):
            assert launches.padded_length(length, 8, multiple) == len(reflected(length, 8, multiple))


def test_a_block_holds_sixteen_positions_of_128_maps():
    launch = launches.fuse_features((0, 16, 32), (48, 64, 80), 96, FeatureShape(2, 3, 11, 128))
    assert launch.grid == (3, 2, 1)  # 33 positions
    assert launch.block == (256, 1, 1)
    assert launch.arguments == (0, 16, 48, 64, 96, 32, 80, 33)


def test_counting_takes_both_stacks_and_four_positions_at_a_time():
    launch = launches.count_maps(16, 32, 48, FeatureShape(2, 5, 13, 128))
    assert launch.grid == (2, 2, 2)  # 65 positions, 64 to a block
    assert launch.arguments == (16, 32, 48, 65)


def test_large_pictures_do_not_take_more_blocks():
    assert launches.count_maps(0, 0, 0, VGA).grid[0] == COUNT_BLOCKS
    large = FeatureShape(1, 548, 968, 128)
    assert launches.fuse_features((0, 0, 0), (0, 0, 0), 0, large).grid[0] == FUSE_BLOCKS


def test_decision_takes_the_reference_thresholds():
    launch = launches.decide_rules(4, None, 8, VGA)
    assert launch.arguments[:4] == (4, 0, 8, 244 * 324)
    np.testing.assert_array_equal(np.float32(launch.arguments[4:]), np.float32([0.6, 0.57, 0.63]))
    assert (launch.grid, launch.block) == ((1, 1, 1), (128, 1, 1))


def test_tiles_cover_the_padded_picture():
    launch = launches.to_unit(Plane(7, 700, 480, 640, 2, 336000), 9, margin=8, multiple=2)
    assert launch.grid == (21, 62, 2)  # 656 x 496 in tiles of 32 x 8
    assert launch.arguments == (7, 336000, 700, 480, 640, 0, 0, 9, 480, 640, 8, 496, 656)


def test_a_warped_picture_has_its_own_size():
    launch = launches.to_unit(Plane(7, 320, 240, 320), 9, margin=8, multiple=2, warp=11, size=(480, 640))
    assert launch.arguments == (7, 0, 320, 240, 320, 11, 0, 9, 480, 640, 8, 496, 656)


def test_a_table_of_levels_is_passed_both_ways():
    plane = Plane(7, 320, 240, 320)
    assert launches.to_unit(plane, 9, margin=8, multiple=2, table=5).arguments[5:8] == (0, 5, 9)
    assert launches.to_bytes(9, (256, 336), plane, table=5).arguments == (9, 256, 336, 7, 0, 320, 240, 320, 5)
    assert launches.to_bytes(9, (256, 336), plane).arguments[-1] == 0


def test_arguments_are_packed_as_a_kernel_reads_them():
    packed = Launch("crotalus_decide", (1, 1, 1), (8, 1, 1), (1, 2, 3, 4, 0.5, 0.25, 1.0)).packed()
    assert packed == struct.pack("<QQQIfff", 1, 2, 3, 4, 0.5, 0.25, 1.0)


@pytest.mark.parametrize("shape", [(0, 1, 1, 128), (1, 0, 1, 128), (65536, 1, 1, 128), (1, 2**15, 2**15, 8)])
def test_sizes_that_no_kernel_takes_are_refused(shape):
    with pytest.raises(ValueError, match=r"take 1 to 65535 pictures.*; use --backend cpu"):
        FeatureShape(*shape)


@pytest.mark.parametrize("maps", [0, 4, 12, 24, 512])
def test_maps_that_do_not_share_a_warp_are_refused(maps):
    with pytest.raises(ValueError, match="maps; use"):
        FeatureShape(1, 1, 1, maps)


def test_addresses_that_cannot_be_read_at_once_are_refused():
    with pytest.raises(ValueError, match="0x8: not a multiple of 16"):
        launches.count_maps(8, 0, 0, VGA)
    with pytest.raises(ValueError, match="0x4: not a multiple of 8"):
        launches.fuse_features((0, 0, 0), (0, 0, 0), 4, VGA)


def test_a_warp_without_its_size_is_refused():
    with pytest.raises(ValueError, match="give both or none"):
        launches.to_unit(Plane(0, 1, 1, 1), 0, margin=8, multiple=2, warp=16)


def test_a_plane_is_copied_into_one_of_its_size_only():
    launch = launches.copy_plane(Plane(7, 1024, 240, 640), Plane(9, 768, 240, 640))
    assert (launch.grid, launch.arguments) == ((20, 30, 1), (7, 1024, 9, 768, 240, 640))
    with pytest.raises(ValueError, match="give two planes of"):
        launches.copy_plane(Plane(7, 640, 240, 640), Plane(9, 640, 241, 640))


@pytest.mark.parametrize("plane", [(0, 9, 4, 10), (0, 10, 4, 10, 2), (0, 10, 0, 10)])
def test_planes_that_overlap_are_refused(plane):
    with pytest.raises(ValueError, match="overlap; give a pitch"):
        Plane(*plane)


def test_a_plane_larger_than_the_luma_is_refused():
    with pytest.raises(ValueError, match="give a smaller plane"):
        launches.to_bytes(0, (4, 4), Plane(0, 5, 4, 5))
