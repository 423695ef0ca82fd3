"""The paper's experiments on tiny pairs: what runs, what is kept, and that the page is never half of one."""

import json

import cv2
import numpy as np
import pytest
import torch

from engines.base import open_fuser
from tests.training.material import textured, write_pair, write_pairs
from training.data import find_pairs
from training.experiments import __main__ as command
from training.experiments import features as feature_module
from training.experiments import stages
from training.experiments.__main__ import main
from training.experiments.plots import smoothed
from training.experiments.scene import scene
from training.experiments.section import Picture, Section, Table, keep, kept
from training.experiments.short_runs import Plan, Trainer, told
from training.experiments.stages import PRINTED, STAGES
from training.experiments.variants import PAPER, Variant, features, fused_by, rebuilt_by
from training.metrics.target_retention import warm_targets
from training.network import MARGIN
from training.run import Settings


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """TNO and pairs to train on, both made up."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pair(folder / "tno", "a", textured(40, 48, 7), textured(40, 48, 8))
    return folder / "tno", write_pairs(folder / "train", 2, 40, 40)


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def output(exported, folders, tmp_path_factory, patch):
    """Of all that a tiny run can make, without VGG19."""
    folder = tmp_path_factory.mktemp("docs")
    small = tuple(picture[75:107, 30:78] for picture in scene())
    for module in (stages, feature_module):
        patch.setattr(module, "scene", lambda: small)
    main(options(exported, folders, folder, "--pictures", folder / "real"))
    return folder


def options(exported, folders, folder, *more):
    tno, train = folders
    sizes = ["--steps", 2, "--crop", 16, "--batch", 1, "--every", 1, "--workers", 1]
    given = ["--tno", tno, "--train", train, "--model", exported, *sizes, "--cache", folder / "cache", "-o", folder]
    return [str(option) for option in [*given, *more]]


def test_the_page_has_every_experiment_and_its_pictures(output):
    text = (output / "paper-results.md").read_text()
    for title, _ in STAGES.values():
        assert f"## {title}\n" in text
    assert "| the paper's JCAE, 48 pairs | 2.7308 | 0.6887 | 678.19 | 1.5237 | 0.7205 |" in text
    assert f"| | {' | '.join(PRINTED)} |".replace("| |", "|  |") in text
    assert text.count("Not run yet") == 1
    assert "it needs `--vgg`" in text  # the start from VGG19
    shown = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(shown) == len(set(shown)) == 9
    for name in shown:
        picture = cv2.imread(str(output / name))
        assert picture is not None
        assert picture.std() > 1
    assert sorted(path.name for path in (output / "paper").iterdir()) == sorted(name.split("/")[1] for name in shown)
    for start in (
        "| Eq. 9 replaced by sum | ",
        "| trained with private | ",
        "| RMSE alone | ",
        "| RMSE + 1000 (1 - SSIM) | ",
    ):
        assert start in text
    assert "2 steps of 1 crops of 16 px from 2 pairs" in text
    assert "nan" not in text.lower()


def test_pictures_of_real_pairs_are_beside_the_page_only(output):
    real = {path.name for path in (output / "real").iterdir()}
    assert {"a-rules.png", "a-fig3.png", "a-fig6.png", "a-fig4-fused.png"} <= real
    assert not any(path.name.startswith("a-") for path in (output / "paper").iterdir())


def test_what_has_run_is_kept_until_something_changes(exported, folders, output, monkeypatch, capsys):
    page = (output / "paper-results.md").read_text()
    for name, (title, _) in list(STAGES.items())[1:]:
        monkeypatch.setitem(STAGES, name, (title, lambda setup, folder: pytest.fail("run again")))
    more = ["--pictures", output / "real"]
    main(options(exported, folders, output, *more))
    assert (output / "paper-results.md").read_text() == page
    assert "fig5: kept from before" in capsys.readouterr().out
    with pytest.raises(pytest.fail.Exception, match="run again"):
        main(options(exported, folders, output, *more, "--only", "fig4", "--steps", "3"))
    assert (output / "paper-results.md").read_text() == page


def test_an_experiment_that_fails_leaves_the_others_on_a_whole_page(exported, folders, tmp_path, monkeypatch, capsys):
    def done(setup, folder):
        (folder / "x.png").write_bytes(b"picture")
        return Section("Was run.", [Table(["a|b"], [["1"]])], [Picture("x.png", "x")], ["A note."])

    def interrupted(setup, folder):
        raise KeyboardInterrupt

    monkeypatch.setitem(STAGES, "rules", ("Rules", done))
    monkeypatch.setitem(STAGES, "features", ("Features", interrupted))
    with pytest.raises(SystemExit) as caught:
        main(options(exported, folders, tmp_path, "--only", "rules,features"))
    assert caught.value.code == 130
    assert capsys.readouterr().err.endswith("interrupted; the same command goes on where it was\n")
    text = (tmp_path / "paper-results.md").read_text()
    assert "## Rules\n\nWas run.\n\n| a\\|b |\n| --- |\n| 1 |\n\n![x](paper/x.png)\n\nx\n\nA note.\n" in text
    assert "## Features\n\nNot run yet: `python -m training.experiments --only features`" in text
    assert (tmp_path / "paper" / "x.png").read_bytes() == b"picture"
    assert not list(tmp_path.rglob("*.part"))


def test_a_section_without_its_pictures_has_not_run(tmp_path):
    section = Section("how", [], [Picture("x.png", "x")])
    keep(tmp_path, "key", section)
    assert kept(tmp_path) is None
    (tmp_path / "x.png").write_bytes(b"x")
    assert kept(tmp_path) == ("key", section)
    (tmp_path / "section.json").write_text(json.dumps({"key": "key"}))
    assert kept(tmp_path) is None


def test_what_cannot_be_used_is_one_line_and_exit_code_2(exported, folders, tmp_path, capsys):
    base = ["--tno", folders[0], "--model", exported, "-o", tmp_path, "--cache", tmp_path / "cache"]
    for more, message in (
        (["--only", "fig9"], "--only fig9: no such experiment; give some of table1,"),
        (["--only", "fig4"], "--only fig4: needs --train; give it, or leave fig4 out"),
        (["--only", "vgg", "--train", folders[1]], "--only vgg: needs --vgg"),
        (["--every", 0], "--every 0 --workers 0: give 1 or more"),
        (["--tno", tmp_path], "no such folder; a folder of pairs holds ir/ and vis/"),
        (["--train", folders[1], "--crop", 15], "crop 15: must be even"),
        (["--model", "none"], "none: no such model"),
    ):
        with pytest.raises(SystemExit) as caught:
            main([str(option) for option in [*base, *more]])
        error = capsys.readouterr().err
        assert (caught.value.code, error.count("\n")) == (2, 1), error
        assert message in error
    assert not (tmp_path / "paper-results.md").exists()


def test_the_papers_variant_is_what_the_shipped_graph_computes(network, exported):
    ir, vis = textured(41, 50, 1), textured(41, 50, 2)
    fuser = open_fuser(exported, backend="cpu")
    away = np.abs(fused_by(network, ir, vis, [PAPER])[0].astype(int) - fuser.fuse(ir, vis))
    fuser.close()
    assert away.max() <= 1
    assert (away > 0).mean() < 0.01


def test_other_rules_and_single_branches_are_what_they_say(network):
    ir, vis = textured(40, 48, 1), textured(40, 48, 2)
    names = ("max", "mean", "sum")
    of_one, both = [Variant(n, n, n, "common") for n in names], [Variant(n, n, n) for n in names]
    alone = fused_by(network, ir, ir, of_one)
    np.testing.assert_array_equal(alone[0], alone[1])  # of one picture twice
    common = features(network, ir, vis)[2:]
    with torch.no_grad():
        wanted = 255 * network.decoder(torch.from_numpy(common[0] + common[1])[None])[0, 0, :40, :48].numpy()
    found = fused_by(network, ir, vis, of_one)[2]
    np.testing.assert_allclose(found, wanted.clip(0, 255), atol=0.51)
    pictures = fused_by(network, ir, vis, both)
    assert not any(np.array_equal(pictures[0], other) for other in pictures[1:])


@pytest.mark.parametrize("branches", ["both", "common", "private"])
def test_a_short_run_learns_and_is_kept(folders, tmp_path, branches):
    steps = []
    pairs = find_pairs([folders[1]], at_least=16 + 2 * MARGIN).pairs
    trainer = Trainer(pairs, Settings(steps=4, crop=16, batch=1), None, tmp_path, lambda text, step: steps.append(step))
    plan = Plan(weight=10, vgg=False, branches=branches)
    first = trainer.run(plan)
    assert steps == [0, 1, 2, 3]
    assert first.curve["loss"][-1] < first.curve["loss"][0]
    for loss, error, unlike in zip(*first.curve.values(), strict=True):
        assert loss == pytest.approx(2 * (error + 10 * unlike), rel=1e-5)
    again = trainer.run(plan)
    assert len(steps) == 4
    assert again.curve == first.curve
    ir, vis = textured(20, 24, 1), textured(20, 24, 2)
    for a, b in zip(
        rebuilt_by(first.network, ir, vis, branches), rebuilt_by(again.network, ir, vis, branches), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert trainer.key(plan) != trainer.key(Plan(weight=11, vgg=False, branches=branches))


def test_plans_are_told_in_words():
    assert told(Plan(weight=0)) == "RMSE alone"
    assert told(Plan(vgg=False)) == "RMSE + 100 (1 - SSIM), random start"
    assert told(Plan(branches="common")) == "RMSE + 100 (1 - SSIM), common branch alone"


def test_curves_are_means_of_the_last_steps():
    np.testing.assert_allclose(smoothed([1.0, 2, 3]), [1, 2, 3])
    assert smoothed(range(40))[-1] == 38.5  # the last two of 40
    assert smoothed([5.0] * 100) == pytest.approx(5)


def test_the_made_up_pair_has_a_warm_figure_that_vis_hardly_sees():
    ir, vis = scene()
    assert warm_targets(ir)
    figure = (slice(85, 105), slice(45, 55))
    assert ir[figure].mean() > 200
    assert vis[figure].mean() < 90
    np.testing.assert_array_equal(scene()[0], ir)


def test_every_experiment_is_in_the_key(exported, folders, tmp_path):
    given = command._options().parse_args(options(exported, folders, tmp_path))
    setup = command._setup(given, command.Console(quiet=True))
    assert len({command._key(setup, name) for name in STAGES}) == len(STAGES)
