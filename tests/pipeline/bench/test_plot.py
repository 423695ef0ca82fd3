"""The picture of a result: bars as long as their speeds, and a file that is there whole or not at all."""

import cv2
import numpy as np
import pytest

from pipeline.bench.growth import Pixels
from pipeline.bench.plot import PALETTE, check_plot_path, drawn, write_plot
from pipeline.bench.result import Result
from pipeline.bench.row import Row
from pipeline.frames import InputError, OutputError


@pytest.fixture
def result():
    rows = [
        Row(name, 64, 48, None, fps_of_repeats=[fps]) for name, fps in (("tenth", 1.0), ("half", 10.0), ("é", 90.0))
    ]
    return Result({"processor": "Z80", "cores": "1"}, {}, {}, rows, noise=["others worked"])


def length_of(picture, colour):
    """px from the first to the last column that a colour is in."""
    columns = np.flatnonzero((picture == colour).all(axis=2).any(axis=0))
    return columns[-1] - columns[0] if len(columns) else 0


def test_bars_are_as_long_as_the_powers_of_ten_between(result):
    picture = drawn(result)
    lengths = [length_of(picture, colour) for colour in PALETTE[:3]]
    assert lengths[0] <= 2  # at the axis
    assert lengths[1] * 1.954 == pytest.approx(lengths[2], rel=0.01)  # log 90 = 1.954 log 10
    assert picture.shape[1:] == (1000, 3)


def test_growth_adds_a_panel_with_a_line(result):
    height = drawn(result).shape[0]
    result.pixels = [Pixels("a", "veryfast", (100, 400), (1.0, 4.0), ())]
    picture = drawn(result)
    assert picture.shape[0] > height
    assert length_of(picture[height:], PALETTE[0]) > 500


def test_the_file_is_a_png_and_nothing_lies_beside_it(result, tmp_path):
    write_plot(tmp_path / "a.png", result)
    assert (cv2.imread(str(tmp_path / "a.png")) == drawn(result)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_disk_that_fails_leaves_the_old_file(result, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.bench.plot.os.replace", full)
    with pytest.raises(OutputError, match="No space left on device; everything else is done"):
        write_plot(tmp_path / "a.png", result)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"old")]


def test_places_for_it_are_checked_beforehand(tmp_path):
    check_plot_path(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"ends in .png"):
        check_plot_path(tmp_path / "a.svg")
    with pytest.raises(InputError, match="is not a folder"):
        check_plot_path(tmp_path / "no" / "a.png")
