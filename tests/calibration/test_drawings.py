"""The plots of a report, read back from their SVG."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from calibration.drawings import WIDTH, bar_plot, coverage_plot, curve_plot, magnification, vector_plot
from calibration.findings import SideOfView, TargetView

SIZE = 640, 480


def side(rms=0.2, held_out=None, offsets=((0.5, 0.0), (0.0, -0.5))):
    points = [(100.0 * (k + 1), 120.0) for k in range(len(offsets))]
    return SideOfView(
        points=points, residuals=list(offsets), rms_px=rms, held_out_px=held_out, blur_px=1.0, is_inverted=False
    )


def view(name, state="kept", rms=0.2, held_out=0.3):
    return TargetView(name=name, time=0.0, state=state, ir=side(rms, held_out), vis=side(2 * rms, held_out))


def elements(svg, tag):
    return list(ET.fromstring(svg).iter(tag))


@pytest.mark.parametrize(("length", "times"), [(0.2, 100), (0.5, 50), (2.0, 10), (100.0, 1), (0.0, 1)])
def test_residuals_are_drawn_1_2_or_5_times_a_power_of_ten_longer(length, times):
    assert magnification(np.full(20, length), 640) == times  # 4 % of 640 px is 25.6


def test_an_arrow_runs_from_the_point_as_far_as_it_is_said_to():
    svg, times = vector_plot([side()], SIZE, "residuals")
    assert times == 50
    arrows = next(e for e in elements(svg, "path") if e.get("class") == "arrow").get("d")
    scale = WIDTH / 640
    found = [[float(v) for v in re.split("[Ml ]", one)[1:]] for one in re.findall("M[^M]+", arrows)]
    np.testing.assert_allclose(
        found, [[100 * scale, 120 * scale, 25 * scale, 0], [200 * scale, 120 * scale, 0, -25 * scale]], atol=0.051
    )
    bar = next(e for e in elements(svg, "path") if e.get("class") == "bar").get("d")
    assert float(bar.split("h")[1]) == pytest.approx(50 * scale, abs=0.06)
    assert "1 px, drawn 50 times as long" in svg


def test_cells_are_as_dark_as_they_are_full_and_empty_ones_are_empty():
    svg = coverage_plot([[0, 5], [10, 0]], SIZE, "coverage")
    cells = elements(svg, "rect")
    assert [cell.get("fill-opacity") for cell in cells] == [None, "0.47", "0.80", None]
    assert [text.text for text in elements(svg, "text")] == ["0", "5", "10", "0"]


def test_bars_are_as_long_as_the_error_and_an_outlier_is_hollow_and_named():
    views = [view("a", rms=0.5, held_out=1.0), view("b", rms=1.0, held_out=1.0), view("c", "outlier", 9.0, None)]
    svg = bar_plot(views)
    bars = [(bar.get("class"), float(bar.get("width"))) for bar in elements(svg, "rect")]
    kinds, lengths = zip(*bars, strict=True)
    assert kinds == ("kept",) * 4 + ("outlier",) * 2
    assert lengths[2] == pytest.approx(2 * lengths[0], abs=0.11)
    assert lengths[3] == pytest.approx(210 / 1.05, abs=0.1)  # 2 px is the longest of those that are kept
    assert lengths[4] == lengths[5] == 210.0  # an outlier presses no other bar
    assert len([e for e in elements(svg, "path") if e.get("class") == "tick"]) == 4
    assert "c outlier" in [text.text for text in elements(svg, "text")]


def test_the_numbers_behind_a_bar_end_before_the_next_one():
    svg = bar_plot([view("a", rms=0.019234, held_out=0.020987)])
    numbers = [(float(text.get("x")), text.text) for text in elements(svg, "text") if " | " in text.text]
    bars = [float(bar.get("x")) for bar in elements(svg, "rect")]
    width = float(ET.fromstring(svg).get("width"))
    assert [text for _, text in numbers] == ["0.019 | 0.021", "0.038 | 0.021"]
    for (x, text), end in zip(numbers, (bars[1], width), strict=True):
        assert x + 7 * len(text) < end  # a digit of 12 px is 7 px wide


def test_a_name_cannot_leave_its_place():
    assert "<script" not in bar_plot([view("<script>x</script>")])
    assert [t.text for t in elements(bar_plot([view("a<b>&c")]), "text")][2] == "a<b>&c"


def test_a_curve_passes_its_values_and_ends_where_it_leaves_the_plot():
    distances = np.array([1.0, 10.0, 100.0])
    svg = curve_plot(distances, [("far", np.array([np.nan, 5.0, 0.0])), ("near", np.array([0.0, 20.0, 10.0]))], 10.0)
    curves = [e.get("d") for e in elements(svg, "path") if "curve" in e.get("class")]
    assert curves[0] == "M326.0 138.0 L606.0 268.0"  # 5 of 10 px in the middle, 0 at the right end
    assert curves[2] == "M46.0 268.0 L606.0 8.0"  # 20 px is beyond
