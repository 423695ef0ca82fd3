"""What the teacher draws: whole pictures, once, mixed, and found again."""

import os

import cv2
import numpy as np
import pytest

from engines.base import open_fuser
from engines.model import load_model
from tests.training.material import textured, write_pair, write_pairs
from training.data import DataError, find_pairs, read_luma
from training.distil import teacher
from training.distil.teacher import read_triple, small_size, teacher_pictures


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return find_pairs([write_pairs(tmp_path_factory.mktemp("pairs"), 3, 40, 46)]).pairs


@pytest.fixture(scope="module")
def densefuse():
    return load_model("densefuse")


def draw(model, pairs, folder, **options):
    return teacher_pictures(model, pairs, folder, **{"versions": 1, "seed": 0, "threads": 1, **options})


def test_a_picture_holds_both_sources_and_what_the_teacher_makes_of_them(pairs, densefuse, tmp_path):
    drawn = draw(densefuse, pairs, tmp_path)
    assert len(drawn) == 3
    fuser = open_fuser("densefuse", backend="cpu", threads=1)
    triples = {read_triple(picture.ir).tobytes() for picture in drawn}
    for pair in pairs:
        ir, vis = read_luma(pair.ir), read_luma(pair.vis)
        assert np.stack([ir, vis, fuser.fuse(ir, vis)]).tobytes() in triples
    fuser.close()
    assert {(picture.height, picture.width) for picture in drawn} == {(40, 46)}


def test_a_large_picture_is_halved_until_it_is_none(densefuse, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "LARGEST", 24)
    write_pair(tmp_path, "a", textured(60, 50), textured(60, 50, 1))
    [picture] = draw(densefuse, find_pairs([tmp_path]).pairs, tmp_path / "drawn")
    ir, _, _ = read_triple(picture.ir)
    assert ir.shape == (15, 12) == small_size(60, 50)
    wanted = cv2.resize(textured(60, 50), (12, 15), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(ir, wanted)


def test_what_is_there_is_not_drawn_again(pairs, densefuse, tmp_path):
    first = draw(densefuse, pairs, tmp_path, versions=2)
    marks = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(marks) == 6
    os.unlink(first[2].ir)
    again = draw(densefuse, pairs, tmp_path, versions=2)
    assert again == first
    changed = [path for path in tmp_path.iterdir() if path.stat().st_mtime_ns != marks[path]]
    assert changed == [first[2].ir]


def test_another_teacher_draws_its_own_of_the_same_sources(pairs, densefuse, tmp_path):
    first = draw(densefuse, pairs, tmp_path, versions=2)
    other = draw(load_model("deepfuse"), pairs, tmp_path, versions=2)
    assert not {picture.ir for picture in first} & {picture.ir for picture in other}
    for a, b in zip(first, other, strict=True):  # disturbed alike
        np.testing.assert_array_equal(read_triple(a.ir)[:2], read_triple(b.ir)[:2])
        assert (read_triple(a.ir)[2] != read_triple(b.ir)[2]).any()


def test_the_first_of_them_are_as_mixed_as_all(pairs, densefuse, tmp_path):
    whole = draw(densefuse, pairs, tmp_path, versions=2)
    assert draw(densefuse, pairs, tmp_path, versions=2, most=4) == whole[:4]
    assert draw(densefuse, pairs, tmp_path, versions=2, seed=1) != whole


def test_a_stop_between_two_pictures_keeps_those_that_are_done(pairs, densefuse, tmp_path):
    asked = iter([False, False, True])
    assert len(draw(densefuse, pairs, tmp_path, stop=lambda: next(asked))) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_of_something_else_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), textured(40, 40))
    with pytest.raises(DataError, match="40 rows, not three pictures; delete it"):
        read_triple(tmp_path / "x.png")
