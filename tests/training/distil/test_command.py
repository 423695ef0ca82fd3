"""`python -m training.distil`: from pairs to a model that fuses, again from where it was, and one line for errors."""

import pytest
import torch
from safetensors.torch import load_file

from engines.base import open_fuser
from engines.model import load_model
from tests.training.material import textured, write_pairs
from training.distil.__main__ import main

SMALL = "--steps", "2", "--batch", "1", "--crop", "48", "--width", "16", "--depth", "0", "--versions", "2"
SMALL += (
    "--block",
    "2",
    "--maps",
    "8",
    "--stem",
    "6",
    "--validation",
    "0.5",
    "--every",
    "1",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--teacher",
    "densefuse",
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), 2, 64, 72)


def failure(capfd, *options):
    """Exit code and the one line of stderr."""
    with pytest.raises(SystemExit) as caught:
        main([str(option) for option in options])
    error = capfd.readouterr().err
    assert error.startswith("python -m training.distil: ")
    assert error.count("\n") == 1, error
    return caught.value.code, error.removeprefix("python -m training.distil: ").rstrip()


def test_pairs_become_a_light_model_that_fuses_and_the_command_can_be_repeated(pairs, tmp_path, capfd):
    model = tmp_path / "mine"
    command = ["--pairs", str(pairs), "-o", str(model), "--data", "two", *SMALL]
    main(command)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "2 pictures to train on, 1 held back; step 0 on cpu"
    assert [line.split(" loss ")[0] for line in lines[1:3]] == ["step 1", "step 2"]
    assert lines[3].startswith(f"{model}: 6 files, 0.02 MB, all agree with torch and the rules")
    assert sorted(path.name for path in (tmp_path / "mine.run").iterdir()) == ["checkpoint.pt", "teacher"]
    info = load_model(model)
    assert (info.kind, info.maps, info.name) == ("jcae", 8, "mine")
    kept = {name: info.training[name] for name in ("teacher_name", "data", "pictures", "taken_steps", "width")}
    assert kept == {"teacher_name": "densefuse", "data": "two", "pictures": 2, "taken_steps": 2, "width": 16}
    fuser = open_fuser(model, backend="cpu", threads=1)
    assert fuser.fuse(textured(21, 30), textured(21, 30, 1)).shape == (21, 30)
    fuser.close()
    main(command)  # all is done: no step is taken, the same model is written
    assert capfd.readouterr().out.startswith("2 pictures to train on, 1 held back; step 2 on cpu\n" + str(model))
    assert load_model(model).files == info.files


def test_maps_are_borrowed_from_a_teacher_that_has_them(pairs, tmp_path, capfd):
    command = ["--pairs", str(pairs), "-o", str(tmp_path / "mine"), *SMALL, "--teacher", "jcae-lite"]
    main([*command, "--steps", "1"])
    assert "step 1" in capfd.readouterr().out
    borrowed = load_file(tmp_path / "mine.run" / "borrowed.safetensors")["weight"]
    found = load_file(tmp_path / "mine" / "weights.safetensors")["common.stem.weight"][:, 0]
    assert len(borrowed) <= 4
    assert torch.equal(found[: len(borrowed)], borrowed)
    assert load_model(tmp_path / "mine").training["borrow"] == 4
    code, line = failure(capfd, *command, "--borrow", "9")
    assert (code, line) == (2, "borrow 9: must be 0 to the maps of a branch")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--crop", "46"), "crop 46: must be 48 or more"),
        (("--maps", "12"), "maps 12: must be one of 8, 16, 32, 64, 128, 256"),
        (("--stem", "4"), "stem 4: must be 2, 6, 10 or so on"),
        (("--block", "3"), "block 3: must be 2 or 4"),
        (("--block", "4"), "stem 6: must be 4, 12, 20 or so on"),
        (("--versions", "0"), "versions 0: must be 1 or more"),
        (("--steps", "0"), "steps 0: must be 1 or more"),
        (("--teacher", "nobody"), "nobody: no such model; give "),
        (("--validation", "0.9"), "all 2 pairs are held back; lower --validation or give more pairs"),
        (("--crop", "64"), "no pair has sides of 76 px; lower --crop, or give larger pictures"),
    ],
)
def test_what_cannot_be_is_one_line(pairs, tmp_path, capfd, options, said):
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path / "mine", *SMALL, *options)
    assert code == 2
    assert line.startswith(said)
    assert not (tmp_path / "mine").exists()


def test_a_folder_of_something_else_is_refused_before_anything_is_drawn(pairs, tmp_path, capfd):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path / "mine", *SMALL)
    assert (code, "holds letter.txt" in line) == (2, True)
    assert not (tmp_path / "mine.run").exists()
