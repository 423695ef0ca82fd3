"""What a user types on the command line, as exact and checked values."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from pipeline.align import Size
from pipeline.frames import MAX_SIDE, InputError

MAX_RATE = 1_000_000
"""Frames per second: finer times than microseconds fit into no file type."""
MAX_DURATION = 100 * 365 * 86400
"""s: longer is a typing error."""


def parse_size(text: str) -> Size:
    """`640x480` as (640, 480). Raises InputError."""
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
    if not match:
        raise InputError(f"--size {text}: give width and height in px, like 640x480")
    width, height = int(match[1]), int(match[2])
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InputError(f"--size {text}: a side is 1 to {MAX_SIDE} px; give another size")
    return width, height


def parse_shift(text: str) -> tuple[float, float]:
    """`-6,4` as (-6.0, 4.0). Raises InputError."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= MAX_SIDE and abs(y) <= MAX_SIDE):  # nan is not, either
        raise InputError(f"--shift {text}: give two numbers of px, at most {MAX_SIDE} either way, like -6,4")
    return x, y


def parse_rate(text: str) -> Fraction:
    """`30`, `29.97` or `30000/1001` as an exact rate. Raises InputError."""
    # No exponents: of 1e999999999 Fraction would make a number that fills the memory. FFmpeg's fractions hold 32 bits.
    is_number = re.fullmatch(r"\d{1,9}/0*[1-9]\d{0,8}|\d{1,7}(\.\d{1,9})?|\.\d{1,9}", text, re.ASCII)
    rate = Fraction(text) if is_number else Fraction(0)
    if not 0 < rate <= MAX_RATE or rate.numerator >= 2**31:
        advice = f"give frames per second, above 0 and up to {MAX_RATE}, like 25 or 30000/1001"
        raise InputError(f"--rate {text}: {advice}")
    return rate


def parse_duration(text: str) -> float:
    """`90`, `90s`, `10m`, `1h30m` or `7d` as s, above 0. Raises InputError."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    parts = match.groups("0") if match else ()
    seconds = sum(float(part) * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=False))
    if not (0 < seconds <= MAX_DURATION):
        raise InputError(f"time {text!r}: give s, or numbers with units, like 90s, 10m, 1h30m or 7d")
    return seconds


def parse_bytes(text: str) -> int:
    """`500M`, `20G`, `2TB` (of 1000) or `4Gi` (of 1024) as bytes. Raises InputError."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,6})?) ?(?:([kKMGT])(i?))?B?", text)
    base = 1024 if match and match[3] else 1000
    count = int(float(match[1]) * base ** " KMGT".index((match[2] or " ").upper())) if match else 0
    if not 0 < count < 2**63:
        raise InputError(f"bytes {text!r}: give a number above 0 with a unit, like 500M, 20G or 4Gi")
    return count
