"""`--method`: a formula instead of a model, in every command that fuses, and never beside a model or a backend."""

import json
import sys

import cv2
import pytest
from typer.testing import CliRunner

from engines.classical import CLASSICAL, open_classical
from pipeline.chosen import check_chosen, open_chosen
from pipeline.frames import InputError
from pipeline.live.config import LiveConfig, config_text, load_config, with_options
from pipeline.live.session import Session
from run_stream import app
from tests.test_run_stream import crotalus
from tests.training.material import textured


@pytest.fixture
def pair(tmp_path):
    paths = [str(tmp_path / f"{name}.png") for name in ("ir", "vis")]
    for seed, path in enumerate(paths):
        assert cv2.imwrite(path, textured(47, 63, seed))
    return paths


def test_a_method_is_opened_instead_of_a_model():
    assert open_chosen("gtf", "auto", "auto").name == "GTF"
    model = open_chosen(None, "jcae", "cpu", threads=1)
    assert model.name == "jcae on cpu"
    model.close()


def test_a_method_beside_a_model_or_a_backend_is_one_line_and_nothing_is_written(pair, tmp_path):
    done = crotalus("fuse", *pair, "-o", tmp_path / "out.png", "--method", "gff", "--model", "jcae")
    assert done.returncode == 2
    assert done.stderr == "error: --method gff --model jcae: a method has no model and no backend; give one of them\n"
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(InputError, match=r"^--method gff --backend cpu: a method has no model and no backend"):
        check_chosen("gff", "auto", "cpu")


def test_a_method_beside_a_model_is_refused_for_views_that_need_neither(pair, tmp_path):
    given = ["fuse", *pair, "-o", str(tmp_path / "out.png"), "--view", "ir", "--method", "gff", "--model", "jcae"]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2


def test_an_unknown_method_is_named_beside_those_there_are(pair, tmp_path):
    done = CliRunner().invoke(app, ["fuse", *pair, "-o", str(tmp_path / "out.png"), "--method", "fft"])
    assert done.exit_code == 2
    assert all(f"'{name}'" in done.output for name in CLASSICAL)


def test_fuse_writes_what_the_formula_makes_and_says_its_name(pair, tmp_path):
    out, stats = tmp_path / "out.png", tmp_path / "stats.json"
    given = ["fuse", *pair, "-o", str(out), "--method", "gff", "--gray", "--stats", str(stats)]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert "GFF: ir.png 63x47 + vis.png 63x47" in done.output
    ir, vis = (cv2.imread(path, cv2.IMREAD_GRAYSCALE) for path in pair)
    found = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert (found.reshape(47, 63, -1)[..., 0] == open_classical("gff").fuse(ir, vis)).all()
    told = json.loads(stats.read_text())
    assert (told["fuser"], told["model"], told["frames"]) == ("GFF", None, 1)


def test_demo_and_bench_take_a_method(tmp_path):
    """Bench has a row of each rival once, though it is the method that was asked for."""
    done = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "demo"), "--method", "max"])
    assert done.exit_code == 0, done.output
    assert "plain max: ir.mp4" in done.output
    pair = [str(tmp_path / "demo" / name) for name in ("ir.mp4", "vis.mp4")]
    options = ["--frames", "2", "--rival", "none", "--repeats", "1", "--json", str(tmp_path / "bench.json")]
    done = CliRunner().invoke(app, ["bench", *pair, "--method", "laplacian", *options])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["fuser"] for row in rows] == ["plain mean", "Laplacian pyramid"]


def test_a_live_run_takes_a_method_and_its_file_comes_back_as_it_was(tmp_path):
    wanted = with_options(LiveConfig(), {"network.method": "laplacian", "ir": "file:a.mp4", "vis": "file:b.mp4"})
    assert Session(wanted)._open_fuser().name == "Laplacian pyramid"
    path = tmp_path / "live.yaml"
    path.write_text(config_text(wanted))
    assert load_config(path).network == wanted.network.model_copy(update={"model": "auto", "backend": "auto"})
    Session(load_config(path))


def test_a_live_run_refuses_a_method_beside_a_model_and_one_that_is_none():
    sides = {"ir": "file:a.mp4", "vis": "file:b.mp4"}
    with pytest.raises(InputError, match="--method gff --model jcae: a method has no model"):
        Session(with_options(LiveConfig(), {**sides, "network.method": "gff", "network.model": "jcae"}))
    with pytest.raises(InputError, match=r"--method 'fft': use mean, max, .* or csr"):
        with_options(LiveConfig(), {"network.method": "fft"})


def test_auto_is_no_choice():
    check_chosen("gff", "auto", "auto")
    check_chosen(None, "jcae", "cpu")


def test_doctor_lists_the_methods_and_what_the_others_lack(monkeypatch):
    from pipeline import doctor

    found = {(section, name): finding for section, name, finding in doctor.report()}
    assert found["methods", "without a model"].startswith("mean max laplacian lpsr gff gtf ")
    for name in ("sporco", "sporco.admm", "sporco.admm.cbpdn"):
        monkeypatch.setitem(sys.modules, name, None)
    assert doctor._method("csr").startswith("(no method csr: ")
    assert "pip install" in doctor._method("csr")
