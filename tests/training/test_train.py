"""The command line of training, as a user meets it: exit codes, one line for what is wrong, a bar or plain lines."""

import csv
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import torch

from tests.training.material import textured, write_pair, write_pairs
from training.checkpoint import load_checkpoint
from training.interrupt import Interrupt
from training.run import Run
from training.train import main

ROOT = Path(__file__).parents[2]
SMALL = "--steps", "3", "--batch", "2", "--crop", "16", "--device", "cpu", "--validation", "0.25"


def command(*options):
    return [sys.executable, "-m", "training.train", *map(str, options)]


def failure(capfd, *options):
    """Exit code and the one line of stderr of a call that fails in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(option) for option in options])
    error = capfd.readouterr().err
    assert error.startswith("python -m training.train: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1, error
    return caught.value.code, error.removeprefix("python -m training.train: ").rstrip()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Four pairs, and a file that is none, with brackets in its name."""
    folder = write_pairs(tmp_path_factory.mktemp("pairs"), 4)
    (folder / "ir" / "[bold]notes.txt").write_text("")
    return folder


def test_a_run_is_trained_and_the_same_command_then_does_nothing_more(pairs, tmp_path, capfd):
    run = tmp_path / "run"
    done = subprocess.run(
        command("--pairs", pairs, "-o", run, *SMALL), cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == f"skipped {pairs}/ir/[bold]notes.txt: not an image file"
    assert lines[1] == "3 pairs to train on, 1 held back; step 0 on cpu"
    assert re.fullmatch(r"step 3 loss \d+\.\d{3} ssim -?\d\.\d{4} -?\d\.\d{4} \d+ s", lines[2])
    assert re.fullmatch(r"held-back SSIM of the reconstruction: ir -?0\.\d{4}, vis -?0\.\d{4}", lines[3])
    assert lines[4].startswith(f"checkpoint: {run}/checkpoint.pt; now `python -m training.export")
    assert len(lines) == 5
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint.pt", "loss.csv", "loss.png"]
    with (run / "loss.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3"]

    before = (run / "checkpoint.pt").read_bytes()
    main([str(option) for option in ("--pairs", pairs, "-o", run, *SMALL)])
    assert "step 3 on cpu" in capfd.readouterr().out
    assert (run / "checkpoint.pt").read_bytes() == before


def test_two_folders_make_one_run_from_vgg(pairs, tmp_path, capfd, real_data):
    vgg = real_data / "vgg19_first3.safetensors"
    if not vgg.exists():
        pytest.skip(f"no {vgg}")
    more = write_pairs(tmp_path / "more", 2)
    main([str(x) for x in ("--pairs", pairs, more, "-o", tmp_path / "run", "--vgg", vgg, *SMALL)])
    assert "4 pairs to train on, 2 held back" in capfd.readouterr().out
    step = load_checkpoint(tmp_path / "run/checkpoint.pt")["network"]["common.block1_conv2.weight"]
    from training.vgg import load_vgg

    start = torch.from_numpy(load_vgg(vgg)["block1_conv2.weight"])
    assert 0 < (step - start).abs().max() < 3 * 2 * 3e-4  # three steps of Adam from there


@pytest.fixture
def terminal():
    """A terminal of 100 columns: the end we hold, and the end for the process."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    yield ours, theirs
    os.close(ours)


def read_until(ours, pattern, seconds=60):
    """What the terminal shows up to the pattern; up to its end for None. No longer than so many seconds."""
    text, end = "", time.monotonic() + seconds
    while (
        not (pattern and re.search(pattern, text)) and select.select([ours], [], [], max(0, end - time.monotonic()))[0]
    ):
        try:
            text += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # EIO: the process is gone
            break
    return text


def test_ctrl_c_in_a_terminal_keeps_the_step_and_the_bar_shows_when_it_ends(pairs, tmp_path, terminal):
    ours, theirs = terminal
    options = "--steps", "100000", "--batch", "1", "--crop", "12", "--device", "cpu", "--every", "1000000"
    environment = {**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        command("--pairs", pairs, "-o", tmp_path, *options), cwd=ROOT, env=environment,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C comes from the terminal
    )  # fmt: skip
    os.close(theirs)
    try:
        text = read_until(ours, r"[1-9]\d*/100000.*loss \d+\.\d\d.*\d:\d\d:\d\d.*\d:\d\d:\d\d")
        os.write(ours, b"\x03")
        text += read_until(ours, None)
        assert process.wait(60) == 130, text
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in text
    step = int(re.search(r"stopped after step (\d+), kept in", text)[1])
    assert re.search(r"loss \d+\.\d\d\S*\s+\S*\d:\d\d:\d\d\S*\s+\S*\d+:\d\d:\d\d", text), "no time passed and time left"
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state["step"] == step >= 1
    assert [point.step for point in state["curve"]] == list(range(1, step + 1))


def test_a_stop_signal_during_a_step_ends_after_it_with_its_code(pairs, tmp_path, capfd, monkeypatch):
    taken = []
    step = Run.take_step

    def interrupted(self, *pictures):
        taken.append(1)
        if len(taken) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *pictures)

    monkeypatch.setattr(Run, "take_step", interrupted)
    with pytest.raises(SystemExit) as caught:
        main([str(x) for x in ("--pairs", pairs, "-o", tmp_path, *SMALL)])
    assert caught.value.code == 143
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 2
    assert f"stopped after step 2, kept in {tmp_path}/checkpoint.pt" in capfd.readouterr().out
    monkeypatch.undo()
    main([str(x) for x in ("--pairs", pairs, "-o", tmp_path, *SMALL)])
    assert "step 2 on cpu" in capfd.readouterr().out
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 3


def test_ctrl_c_before_the_first_step_is_130_without_a_traceback(pairs, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("training.train.find_pairs", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path / "run", *SMALL)
    assert code == 130
    assert line.startswith("interrupted")
    assert not (tmp_path / "run").exists()


def test_the_first_signals_of_a_second_are_one_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupt() as interrupt:
        assert not interrupt.came()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # torchrun passes on what the terminal has sent already
        assert interrupt.came()
        assert interrupt.exit_code == 130
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_later_signal_ends_the_process_at_once():
    script = (
        "import signal, training.interrupt as i\n"
        "i.ECHO = 0\n"
        "with i.Interrupt():\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (143, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop", "33"], "crop 33: must be even, above the 11 px of the SSIM window"),
        (["--steps", "0"], "steps 0: must be 1 or more"),
        (["--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["--every", "0"], "every 0: must be 1 or more"),
        (["--device", "banana"], "device banana: not known; give auto, cpu, cuda or cuda:N"),
        (["--validation", "0.9"], "all 4 pairs are held back; lower --validation or give more pairs"),
        (["--vgg", "none.h5"], "none.h5: no such file; give VGG19 weights as .h5, .pth or .safetensors"),
        (["--surprise"], "unrecognized arguments: --surprise"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(pairs, tmp_path, capfd, options, message):
    assert failure(capfd, "--pairs", pairs, "-o", tmp_path / "run", *SMALL, *options) == (2, message)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_one_line(pairs, tmp_path, capfd):
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path, *SMALL, "--device", "cuda")
    assert (code, line) == (2, "device cuda:0: torch sees 0 CUDA devices; use fewer, or give --device cpu")


def test_missing_options_are_one_line(capfd):
    assert failure(capfd) == (2, "the following arguments are required: --pairs, -o/--output")


def test_a_folder_without_pairs_is_one_line_and_nothing_is_made(tmp_path, capfd):
    code, line = failure(capfd, "--pairs", tmp_path, "-o", tmp_path / "run", *SMALL)
    assert (code, line) == (2, f"{tmp_path}/ir: no such folder; a folder of pairs holds ir/ and vis/")
    assert not (tmp_path / "run").exists()


def test_pictures_smaller_than_the_crop_and_its_margin_are_told(tmp_path, capfd):
    write_pair(tmp_path, "a", textured(40, 31), textured(40, 31))
    code, line = failure(capfd, "--pairs", tmp_path, "-o", tmp_path / "run", *SMALL)
    assert code == 2
    assert "a.png: 31x40, a side below the 32 px needed" in line


def test_a_file_for_a_folder_is_one_line(pairs, tmp_path, capfd):
    (tmp_path / "run").write_text("")
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path / "run", *SMALL)
    assert code == 2
    assert "File exists" in line


def test_a_damaged_checkpoint_is_one_line_and_is_left_alone(pairs, tmp_path, capfd):
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path, *SMALL)
    assert code == 2
    assert line == f"{tmp_path}/checkpoint.pt: damaged, or no checkpoint of this trainer; delete it to start anew"
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"half"


def test_a_disk_that_is_full_is_one_line_and_exit_code_1(pairs, tmp_path, capfd):
    (tmp_path / "checkpoint.part").symlink_to("/dev/full")
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path, *SMALL)
    assert code == 1
    assert "checkpoint.pt: not written (No space left on device)" in line


def test_a_loss_that_is_no_number_is_one_line_and_exit_code_1(pairs, tmp_path, capfd):
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path, *SMALL, "--rate", "1e30")
    assert code == 1
    assert re.fullmatch(r"step 2: the loss is (nan|inf); the last checkpoint stays, lower --rate", line)


def test_pictures_that_vanish_while_training_are_one_line(tmp_path, capfd, monkeypatch):
    folder = write_pairs(tmp_path / "pairs", 2)
    make = Run.__init__

    def then_delete(self, *args):
        make(self, *args)
        for path in folder.rglob("*.png"):
            path.unlink()

    monkeypatch.setattr(Run, "__init__", then_delete)
    code, line = failure(capfd, "--pairs", folder, "-o", tmp_path / "run", *SMALL)
    assert code == 2
    assert line.endswith("png: No such file or directory")


def test_memory_that_runs_out_on_a_gpu_is_one_line(pairs, tmp_path, capfd, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(Run, "train", full)
    code, line = failure(capfd, "--pairs", pairs, "-o", tmp_path, *SMALL)
    assert code == 1
    assert line.startswith("CUDA out of memory. Tried to allocate 9 GiB.; the last checkpoint stays")


def test_plain_lines_come_every_25_steps_and_at_the_end(pairs, tmp_path, capfd):
    main([str(x) for x in ("--pairs", pairs, "-o", tmp_path, *SMALL, "--steps", "27", "--batch", "1", "--crop", "12")])
    out = capfd.readouterr().out
    assert re.findall(r"^step (\d+) loss", out, re.MULTILINE) == ["25", "27"]
    assert "\x1b" not in out
