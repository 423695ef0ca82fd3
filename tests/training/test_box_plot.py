"""Boxes by hand, and where they are drawn."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from training.box_plot import Box, box, box_plot


def test_a_box_by_hand():
    # quartiles of 1..9 are 3 5 7; whiskers reach to -3 and 13
    assert box([9, 1, 8, 2, 7, 3, 6, 4, 5]) == Box(1, 3, 5, 7, 9, ())
    assert box([1, 2, 3, 4, 5, 6, 7, 8, 9, 40]).beyond == (40,)
    assert box([1, 2, 3, 4, 5, 6, 7, 8, 9, 40]).high == 9
    assert box([4]) == Box(4, 4, 4, 4, 4, ())


def test_every_method_with_values_has_its_box_on_one_scale():
    root = ElementTree.fromstring(box_plot("VIF <b>", {"a & b": [0, 10, 20], "ours": [20.0], "none": []}, "ours"))
    groups = root.findall("g")
    assert [group.get("class") for group in groups] == ["other", "ours"]
    assert [group.find("text").text for group in groups] == ["a & b", "ours"]
    assert root.get("aria-label") == "VIF <b>"
    whisker, median = groups[0].findall("line")
    assert float(median.get("x1")) == pytest.approx((float(whisker.get("x1")) + float(whisker.get("x2"))) / 2)
    assert groups[1].findall("line")[1].get("x1") == whisker.get("x2")
    assert [text.text for text in root.findall("text")] == ["VIF <b>", "0", "20"]


def test_without_values_or_without_spread_it_is_still_a_plot():
    for values in ({}, {"a": []}, {"a": [3.0, 3.0]}):
        assert not re.search("nan|inf", box_plot("x", values))
        ElementTree.fromstring(box_plot("x", values))
