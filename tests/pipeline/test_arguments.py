"""Text from the command line: exact values, and one clear line for what cannot be used."""

from fractions import Fraction

import pytest

from pipeline.arguments import parse_rate, parse_shift, parse_size
from pipeline.frames import InputError


def test_values_are_exact():
    assert parse_size("640x480") == (640, 480)
    assert parse_size("1X16384") == (1, 16384)
    assert parse_shift("-6,4.5") == (-6.0, 4.5)
    assert parse_rate("29.97") == Fraction(2997, 100)
    assert parse_rate("30000/1001") == Fraction(30000, 1001)


@pytest.mark.parametrize("text", ["0x10", "10x0", "16385x1", "1x99999", "640", "-1x5", "a", ""])
def test_a_size_outside_1_to_16384_is_refused(text):
    with pytest.raises(InputError, match=f"--size {text}: "):
        parse_size(text)


@pytest.mark.parametrize("text", ["nan,1", "1,nan", "inf,1", "1e9,1", "1", "1,2,3", "a,b", ""])
def test_a_shift_is_two_finite_numbers(text):
    with pytest.raises(InputError, match=f"--shift {text}: give two numbers of px"):
        parse_shift(text)


@pytest.mark.parametrize("text", ["0", "-5", "1e400", "1e999999999", "1/0", "nan", "inf", "1000001", "1/99999999999"])
def test_a_rate_is_above_0_and_fits_a_file(text):
    with pytest.raises(InputError, match=f"--rate {text}: give frames per second"):
        parse_rate(text)
