"""Pairs are found by names that differ in the side only; nothing is paired by guess, nothing left out in silence."""

import pytest

from pipeline.batch.pairs import find_pairs
from pipeline.frames import InputError


def found(names, **options):
    """(ir, vis, out) of the tasks, and the notes."""
    result = find_pairs("/d/", names, **options)
    return [(task.ir, task.vis, task.out) for task in result.tasks], result.notes


@pytest.mark.parametrize(
    ("names", "out", "pattern"),
    [
        (["ir/a.mp4", "vis/a.mkv"], "a.mp4", "{side}/{name}.*"),
        (["site/IR/2024/a.mp4", "site/VIS/2024/a.mp4"], "site/2024/a.mp4", "{side}/{name}.*"),
        (["a_ir.mp4", "a_vis.mp4"], "a.mp4", "{name}_{side}.*"),
        (["x/a-ir.mov", "x/a-vis.ts"], "x/a.mp4", "{name}-{side}.*"),
        (["walk/ir.mp4", "walk/vis.mp4"], "walk.mp4", "{name}/{side}.*"),
    ],
)
def test_common_layouts_are_found_without_a_pattern(names, out, pattern):
    assert found(names) == ([(f"/d/{names[0]}", f"/d/{names[1]}", out)], [f"/d: pairs found by {pattern}"])


def test_a_pattern_and_other_words_for_the_sides():
    names = ["cam1.thermal.2024.mp4", "cam1.rgb.2024.mp4", "cam1.audio.mp4"]
    tasks, notes = found(
        names,
        pattern="{name}.{side}.20??.mp4",
        sides=("thermal", "rgb"),
    )
    assert tasks == [("/d/cam1.thermal.2024.mp4", "/d/cam1.rgb.2024.mp4", "cam1.mp4")]
    assert notes == ["/d/cam1.audio.mp4: no partner"]


def test_files_left_over_are_told_and_other_kinds_of_files_are_not():
    names = ["ir/a.mp4", "vis/a.mp4", "ir/b.mp4", "notes.txt", *(f"vis/c{number:02}.mp4" for number in range(12))]
    tasks, notes = found(names, pattern="{side}/{name}.mp4")
    assert [out for _, _, out in tasks] == ["a.mp4"]
    assert len(notes) == 11
    assert notes[0] == "/d/ir/b.mp4: no partner"
    assert notes[-1] == "/d: and 3 more files without a partner"


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        (["ir/a.mp4", "ir/a.mkv", "vis/a.mp4"], {}, "ir/a.mp4 and ir/a.mkv are both the ir of one pair"),
        (["a.mp4", "b.mp4"], {}, "no pair by {side}/{name}.* or {name}_{side}.* or .* in 2 videos; give --pattern"),
        (["a.txt"], {}, "no video among 1 files"),
        (["a_ir.mp4"], {"pattern": "{name}.mp4"}, "give {name} and {side} once each"),
        (["a_ir.mp4"], {"sides": ("ir", "IR")}, "give two different words"),
    ],
)
def test_what_cannot_be_paired_is_told(names, options, told):
    with pytest.raises(InputError) as caught:
        found(names, **options)
    assert all(part in str(caught.value) for part in told.split(".* or .*"))
