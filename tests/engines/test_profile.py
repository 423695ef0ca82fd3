"""Sizes that an engine takes, as text and as shapes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.model import ModelInfo
from engines.profile import Profile, ProfileError, padded, parse_profile

sizes = st.tuples(st.integers(1, 4096), st.integers(1, 4096))


def info(multiple, margin):
    return ModelInfo(name="m", multiple=multiple, margin=margin, maps=1, activity_ratio=0.6, files={})


@given(sizes, sizes, sizes)
def test_a_profile_is_read_from_its_text(one, two, three):
    low, middle, high = zip(*(sorted(side) for side in zip(one, two, three, strict=True)), strict=True)
    profile = Profile(low, middle, high)
    text = "/".join(f"{width}x{height}" for width, height in (low, middle, high))
    assert parse_profile(text) == profile
    assert str(profile) == (text.split("/")[0] if low == high else text.replace("/", "-"))
    assert parse_profile(f"{one[0]}x{one[1]}") == Profile.fixed(*one)


@pytest.mark.parametrize("text", ["", "640", "640x", "x480", "640x480x3", "1x1/2x2", "-1x5", "640 x480", "9999999x1"])
def test_a_mistyped_size_is_an_error_with_examples(text):
    with pytest.raises(ProfileError, match=r"--size .*640x480.*320x240/640x480/1920x1080"):
        parse_profile(text)


@pytest.mark.parametrize("text", ["0x480", "640x480/320x240/1920x1080", "1x1/2x2/1x9", "40000x40000"])
def test_sizes_out_of_order_or_range_are_an_error(text):
    with pytest.raises(ProfileError, match="from smallest to typical to largest, from 1 to 32768"):
        parse_profile(text)


def test_padding_is_the_fusers():
    from engines.onnx_cpu import reflected

    for multiple, margin in ((2, 8), (4, 10), (1, 0)):
        for side in range(1, 40):
            wanted = len(reflected(side, margin, multiple))
            assert padded((side, 7), info(multiple, margin))[0] == wanted
