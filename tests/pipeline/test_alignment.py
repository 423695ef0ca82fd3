"""What a run that was told nothing of its cameras says of its first pairs."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.align import Aligned, Geometry, align
from pipeline.alignment import APART, LOOKS, Glance, is_told
from pipeline.frames import Frame, Pair
from pipeline.rigging import Rigging
from pipeline.thermal import Agc
from tests.calibration.test_check import moved, scene
from tests.pipeline.media import planar, write_video

ROOT = Path(__file__).parents[2]


def aligned(ir, vis):
    pair = Pair(Frame(ir, None, 0, 0.0, 0), Frame(vis, None, 0, 0.0, 0), 0.0)
    return align(pair, Geometry(), Agc(), Agc())


def looked(*pairs: Aligned, **options):
    said: list[str] = []
    glance = Glance(said.append, apart=1, **options)
    for pair in pairs:
        glance.look(pair)
    return said, glance


def test_a_shifted_pair_is_told_once_with_what_was_measured():
    ir, vis = scene()
    said, glance = looked(*[aligned(moved(ir, 32, 0), vis)] * 4)
    assert said == [
        "the pair looks unaligned: infrared fits moved by 10 % of the width left and 0 % of the width up; as it is, "
        "things are 10 % of the width apart; make a rig with `calibrate scene` and pass --rig, or move infrared with "
        "--shift"
    ]
    assert glance.is_over


def test_an_aligned_pair_is_looked_at_once_and_nothing_said():
    said, glance = looked(aligned(*scene()))
    assert said == []
    assert glance.is_over


def test_what_nobody_can_tell_is_looked_at_a_few_times_and_left():
    pair = aligned(scene(1)[0], scene(21)[1])
    assert not looked(*[pair] * (LOOKS - 1))[1].is_over
    said, glance = looked(*[pair] * LOOKS)
    assert said == []
    assert glance.is_over


def test_pairs_between_the_looks_are_passed_over():
    glance = Glance(lambda line: None)
    pair = aligned(scene(1)[0], scene(21)[1])
    for _ in range(APART * (LOOKS - 1)):
        glance.look(pair)
    assert not glance.is_over
    glance.look(pair)
    assert glance.is_over


def test_another_aspect_ratio_is_told_where_the_edges_tell_nothing():
    said, _ = looked(aligned(scene(1, 256, 320)[0], scene(21)[1]))
    assert len(said) == 1
    assert "ir is 320x256 and vis 320x240, another aspect ratio" in said[0]


def test_samples_that_are_no_squares_make_no_other_aspect_ratio():
    said, _ = looked(aligned(scene(1, 256, 320)[0], scene(21)[1]), samples=(Fraction(16, 15), Fraction(1)))
    assert said == []


def test_who_gave_a_shift_or_a_rig_has_told():
    assert not is_told(Geometry())
    assert is_told(Geometry(shift=(0.0, 1.0)))
    assert is_told(Geometry(rigging=Rigging.__new__(Rigging)))


@pytest.mark.parametrize(("options", "is_said"), [([], True), (["--shift", "-32,0"], False)])
def test_fuse_says_it_and_goes_on(tmp_path, options, is_said):
    ir, vis = scene()
    for name, picture in (("ir", moved(ir, 32, 0)), ("vis", vis)):
        write_video(tmp_path / f"{name}.mkv", [planar(picture)] * 3, codec="ffv1")
    command = [
        sys.executable,
        str(ROOT / "run_stream.py"),
        "fuse",
        "ir.mkv",
        "vis.mkv",
        "-o",
        "out.mkv",
        "--view",
        "blend",
    ]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mkv").stat().st_size > 0
    assert done.stderr.count("note: the pair looks unaligned: infrared fits moved by 10 %") == int(is_said), done.stderr
