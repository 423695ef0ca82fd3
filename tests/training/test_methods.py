"""What is measured: formulas by hand, names, and which result belongs to which pair."""

import shutil
import sys

import cv2
import numpy as np
import pytest

from engines.base import BackendError, open_fuser
from engines.classical import CLASSICAL, open_classical
from engines.model import ModelError
from tests.training.material import noise, textured, write_pairs
from training.data import DataError, find_pairs, read_luma
from training.methods import FORMULAS, Job, Method, fingerprint, fused, open_methods, plan


@pytest.fixture
def pairs(tmp_path):
    return find_pairs([write_pairs(tmp_path / "pairs", 3)]).pairs


def results(folder, **pictures):
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        assert cv2.imwrite(str(folder / f"{name.strip('_')}.png"), picture)
    return folder


def test_formulas_by_hand():
    ir, vis = np.uint8([[0, 255, 10]]), np.uint8([[255, 254, 11]])
    found = {name: FORMULAS[name](ir, vis).tolist() for name in FORMULAS if "pyramid" not in name}
    assert found == {
        "plain mean": [[128, 255, 11]],
        "plain max": [[255, 255, 11]],
        "copy ir": [[0, 255, 10]],
        "copy vis": [[255, 254, 11]],
    }


def test_a_pyramid_has_the_detail_of_both():
    ir, vis = np.full((64, 96), 100, np.uint8), np.full((64, 96), 100, np.uint8)
    ir[:, :48], vis[:, 48:] = textured(64, 48), textured(64, 48, 1)
    found = FORMULAS["laplacian pyramid"](ir, vis).astype(float)
    for side, source in ((np.s_[8:-8, 8:40], ir), (np.s_[8:-8, 56:-8], vis)):
        detail = [p - cv2.GaussianBlur(p, (0, 0), 2) for p in (found, source.astype(float))]
        assert np.corrcoef(detail[0][side].ravel(), detail[1][side].ravel())[0, 1] > 0.98


def test_formulas_come_first_then_models_and_results_by_their_names(exported, tmp_path):
    folder = results(tmp_path / "IFCNN", a=noise(4, 4))
    found = open_methods([exported, folder, f"mine={exported}", f"theirs={folder}"])
    assert [method.name for method in found[: len(FORMULAS)]] == list(FORMULAS)
    assert found[len(FORMULAS) :] == [
        Method("small", "model", exported),
        Method("IFCNN", "results", folder),
        Method("mine", "model", exported),
        Method("theirs", "results", folder),
    ]
    assert [method.name for method in open_methods([])] == list(FORMULAS)


def test_classical_methods_go_by_their_names_or_by_others():
    found = open_methods([*(name for name in CLASSICAL if name != "csr"), "guided=gff"])[len(FORMULAS) :]
    assert [(method.name, method.formula, method.kind) for method in found] == [
        *((name, name, "formula") for name in CLASSICAL if name != "csr"),
        ("guided", "gff", "formula"),
    ]


def test_a_classical_method_fuses_as_in_the_pipeline_whatever_it_is_called(pairs):
    ir, vis = read_luma(pairs[0].ir), read_luma(pairs[0].vis)
    jobs = [Job(method, pairs[0]) for method in open_methods(["gtf", "copy=gtf", "gff"])[len(FORMULAS) :]]
    assert (fused(jobs[0]) == open_classical("gtf").fuse(ir, vis)).all()
    assert (fused(jobs[1]) == fused(jobs[0])).all()
    prints = [fingerprint(job) for job in jobs]
    assert prints[0] == prints[1] != prints[2]


def test_a_folder_named_as_a_method_is_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results(tmp_path / "gff", a=noise(4, 4))
    assert open_methods(["gff"])[-1].kind == "results"


def test_a_method_whose_library_is_missing_is_an_error_before_anything_is_measured(monkeypatch):
    for name in ("sporco", "sporco.admm", "sporco.admm.cbpdn"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendError, match=r"method csr: .*pip install"):
        open_methods(["csr"])


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path):
    folder = results(tmp_path / "lambda=10", a=noise(4, 4))
    assert open_methods([folder])[-1] == Method("lambda=10", "results", folder)
    assert open_methods([f"x={folder}"])[-1] == Method("x", "results", folder)


def test_unknown_methods_and_names_used_twice_are_errors(exported, tmp_path):
    with pytest.raises(ModelError, match="none: no such model"):
        open_methods(["none"])
    with pytest.raises(DataError, match="two methods named small; call one otherwise: NAME="):
        open_methods([exported, exported])
    with pytest.raises(DataError, match="two methods named copy ir"):
        open_methods([f"copy ir={results(tmp_path / 'x', a=noise(4, 4))}"])


def test_results_are_matched_by_name_and_size_and_all_others_are_listed(pairs, tmp_path):
    folder = results(tmp_path / "theirs", _00=noise(48, 56), _01=noise(48, 55), other=noise(48, 56))
    shutil.copy(folder / "00.png", folder / "00.webp")
    (folder / "notes.txt").write_text("no picture")
    jobs, left_out = plan([Method("theirs", "results", folder), Method("plain max", "formula")], pairs)
    assert [(job.method.name, job.pair.ir.stem, job.result) for job in jobs] == [
        ("theirs", "00", folder / "00.png"),
        *(("plain max", name, None) for name in ("00", "01", "02")),
    ]
    assert left_out == [
        f"{folder}/00.webp: 00.png has the same name and is used",
        f"{folder}/other.png: no pair of that name",
        f"{folder}/01.png: 55x48, its pair is 56x48",
        f"{folder}: no result for 02",
    ]
    assert (fused(jobs[0]) == read_luma(folder / "00.png")).all()


def test_results_of_pairs_that_are_not_measured_are_no_strangers(pairs, tmp_path):
    folder = results(tmp_path / "theirs", _00=noise(48, 56), _01=noise(48, 56), other=noise(48, 56))
    jobs, left_out = plan([Method("theirs", "results", folder)], pairs[:1], beside=pairs)
    assert [job.pair for job in jobs] == [pairs[0]]
    assert left_out == [f"{folder}/other.png: no pair of that name"]


def test_a_result_that_cannot_be_read_is_listed(pairs, tmp_path):
    folder = results(tmp_path / "theirs", _00=noise(48, 56), _02=noise(48, 56))
    (folder / "01.png").write_bytes(b"no picture")
    jobs, left_out = plan([Method("theirs", "results", folder)], pairs)
    assert [job.pair.ir.stem for job in jobs] == ["00", "02"]
    assert left_out == [f"{folder}/01.png: not a readable image"]


def test_a_folder_without_a_fitting_result_is_an_error(pairs, tmp_path):
    with pytest.raises(DataError, match="theirs: no result fits a pair; give pictures of the pairs' names and sizes"):
        plan([Method("theirs", "results", results(tmp_path / "theirs", x=noise(48, 56)))], pairs)


def test_pairs_of_one_name_leave_open_whose_a_result_is(pairs, tmp_path):
    twice = [*pairs, *find_pairs([write_pairs(tmp_path / "more", 1)]).pairs]
    folder = results(tmp_path / "theirs", _00=noise(48, 56))
    with pytest.raises(DataError, match="two pairs named 00"):
        plan([Method("theirs", "results", folder)], twice)
    assert len(plan([Method("plain max", "formula")], twice)[0]) == 4


def test_models_and_formulas_fuse_the_pair(exported, pairs):
    ir, vis = read_luma(pairs[0].ir), read_luma(pairs[0].vis)
    opened = open_fuser(exported, backend="cpu")
    wanted = opened.fuse(ir, vis)
    opened.close()
    assert (fused(Job(Method("small", "model", exported), pairs[0])) == wanted).all()
    assert (fused(Job(Method("copy vis", "formula"), pairs[0])) == vis).all()


def test_a_fingerprint_follows_the_content(exported, pairs, tmp_path):
    folder = results(tmp_path / "theirs", _00=noise(48, 56), _01=noise(48, 56), _02=noise(48, 56, 1))
    a, b, c = (Job(Method("t", "results", folder), pairs[0], folder / f"0{k}.png") for k in range(3))
    assert fingerprint(a) == fingerprint(b) != fingerprint(c)
    copied = tmp_path / "copied"
    shutil.copytree(exported, copied)
    one, two = (Job(Method("m", "model", place), pairs[0]) for place in (exported, copied))
    assert fingerprint(one) == fingerprint(two)
    text = (copied / "model.json").read_text()
    (copied / "model.json").write_text(text.replace('"small"', '"other"'))
    assert fingerprint(one) != fingerprint(two)
