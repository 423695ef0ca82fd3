"""Several processes take the step that one would take; a device or a batch that cannot be is one clear line."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.material import write_pairs
from training.checkpoint import load_checkpoint
from training.data import find_pairs, split
from training.processes import ProcessError, Processes, choose_device, joined
from training.run import Run, Settings

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def torchrun(count, *options):
    """`training.train` started in so many processes that know no network but the loopback."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(count), "--master_addr", "127.0.0.1",
        "--master_port", str(free_port()), "-m", "training.train", *map(str, options),
    ]  # fmt: skip
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def finish(process):
    """Exit code, stdout and stderr of a process, which does not outlive the test."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def test_two_processes_take_the_step_of_one(tmp_path):
    folder = write_pairs(tmp_path / "pairs", 5)
    settings = Settings(steps=1, batch=4, crop=16, validation=0.2)
    options = "--steps", 1, "--batch", 4, "--crop", 16, "--validation", 0.2
    code, out, err = finish(torchrun(2, "--pairs", folder, "-o", tmp_path / "two", "--device", "auto", *options))
    assert code == 0, err
    assert out.count("4 pairs to train on, 1 held back") == 1  # one of them speaks
    assert "Traceback" not in err

    (tmp_path / "one").mkdir()
    run = Run(tmp_path / "one", settings, Processes(torch.device("cpu")), None)
    run.train(split(find_pairs([folder]).pairs, share=0.2, seed=0)[0], every=1)
    one, two = load_checkpoint(tmp_path / "one/checkpoint.pt"), load_checkpoint(tmp_path / "two/checkpoint.pt")
    for number, state in one["optimizer"]["state"].items():
        # After one step Adam's first moment is a tenth of the gradient.
        wanted, found = state["exp_avg"], two["optimizer"]["state"][number]["exp_avg"]
        # float32 sums over the batch in another order: 1e-6 of the largest seen
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())
    moved = 0
    for key, wanted in one["network"].items():
        # Adam's first step is the rate times the gradient's sign, so a gradient that is only rounding may turn round
        off = (two["network"][key] - wanted).abs()
        assert off.max() <= 2.001 * settings.rate
        moved += (off > 1e-5 * wanted.abs().max()).sum().item()
    assert moved < 1e-3 * 449_025
    assert two["curve"][0].loss == pytest.approx(one["curve"][0].loss, rel=1e-5)  # of the whole batch, not of a share


def test_a_batch_that_cannot_be_shared_is_told_once_without_a_traceback_of_ours(tmp_path):
    options = "--pairs", tmp_path, "-o", tmp_path / "run", "--batch", 3, "--device", "cpu"
    code, _, err = finish(torchrun(2, *options))
    assert code == 1  # torchrun's, with its own report behind it
    line = "python -m training.train: a batch of 3 over 2 processes; give --batch as a multiple of 2\n"
    assert err.count(line) == 1
    assert "training/train.py" not in err


@pytest.mark.parametrize("first", [0, 1])
def test_whichever_process_fails_first_tells_and_no_other(tmp_path, first):
    """torchrun ends all others as soon as one has failed, so nobody can wait for the first of them to speak."""
    told = {}
    for rank in (first, 1 - first):
        (tmp_path / str(rank)).mkdir()
        environment = {**os.environ, "RANK": str(rank), "TORCHELASTIC_ERROR_FILE": str(tmp_path / f"{rank}/error.json")}
        code = "from training.command import Parser; Parser(prog='train').fail(2, 'no such\\nbatch')"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 2
        told[rank] = done.stderr
    assert told == {first: "train: no such batch\n", 1 - first: ""}


def test_processes_that_fail_at_once_tell_once(tmp_path):
    """Each holds the mark's lock until its line is out: here for 0.2 s, so that all others come while it is held."""
    code = (
        "import sys, time\n"
        "class Slow:\n"
        "    def write(self, text): time.sleep(0.2); sys.__stderr__.write(text)\n"
        "    def flush(self): pass\n"
        "sys.stderr = Slow()\n"
        "from training.command import Parser\n"
        "Parser(prog='train').fail(1, 'no such batch')\n"
    )
    started = []
    for rank in range(4):
        (tmp_path / str(rank)).mkdir()
        environment = {**os.environ, "RANK": str(rank), "TORCHELASTIC_ERROR_FILE": str(tmp_path / f"{rank}/error.json")}
        started.append(
            subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        )
    assert "".join(process.communicate()[1] for process in started) == "train: no such batch\n"


def test_ctrl_c_stops_all_after_the_same_step_and_keeps_it(tmp_path):
    """Each notices the signal in a step of its own; if they did not agree, one would wait for the other for ever."""
    folder = write_pairs(tmp_path / "pairs", 2)
    options = "--steps", 100_000, "--batch", 2, "--crop", 12, "--every", 100_000, "--device", "cpu"
    process = torchrun(2, "--pairs", folder, "-o", tmp_path / "run", *options)
    lines = []
    while not lines or (lines[-1] and not lines[-1].startswith("step 25 ")):
        lines.append(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    _, out, err = finish(process)
    assert f"kept in {tmp_path}/run/checkpoint.pt" in out, err
    state = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert f"stopped after step {state['step']}, " in out
    assert state["step"] >= 25
    assert "training/train.py" not in err


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_shares_are_equal_and_make_up_the_batch(world):
    shares = [list(range(6))[Processes(torch.device("cpu"), rank, world).share(6)] for rank in range(world)]
    assert [item for share in shares for item in share] == list(range(6))
    assert {len(share) for share in shares} == {6 // world}


def test_one_process_is_its_own_mean_and_speaks():
    alone = Processes(torch.device("cpu"))
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(alone.mean(values), values)
    assert alone.is_first
    assert not Processes(torch.device("cpu"), 1, 2).is_first


def test_without_torchrun_one_process_is_alone():
    with joined("cpu", 3) as processes:
        assert processes == Processes(torch.device("cpu"), 0, 1)


def test_a_world_without_others_is_a_process_error(monkeypatch):
    """WORLD_SIZE left in the environment, as clusters do, but no torchrun."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ProcessError, match=r"WORLD_SIZE is 2: .*start the processes with torchrun"), joined("cpu", 2):
        pass


def fake_gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_auto_is_the_cpu_without_a_gpu(monkeypatch):
    fake_gpus(monkeypatch, 0)
    assert choose_device("auto", world=2, local=1) == torch.device("cpu")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_process_takes_the_gpu_of_its_own_number(monkeypatch, device):
    fake_gpus(monkeypatch, 2)
    assert [choose_device(device, world=2, local=k) for k in (0, 1)] == [torch.device("cuda:0"), torch.device("cuda:1")]
    assert choose_device(device, world=1, local=0) == torch.device("cuda:0")
    assert choose_device("cuda:1", world=1, local=0) == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("device", "world", "local", "count", "message"),
    [
        ("cuda", 1, 0, 0, r"device cuda:0: torch sees 0 CUDA devices; use fewer, or give --device cpu"),
        ("cuda:3", 1, 0, 2, r"device cuda:3: torch sees 2 CUDA devices"),
        ("auto", 3, 2, 2, r"device cuda:2: torch sees 2 CUDA devices"),
        ("cuda:0", 2, 0, 2, r"device cuda:0 over 2 processes; give cuda, and each takes its own"),
        ("banana", 1, 0, 0, r"device banana: not known; give auto, cpu, cuda or cuda:N"),
        ("meta", 1, 0, 0, r"device meta: not for training"),
    ],
)
def test_a_device_that_is_not_there_is_a_process_error(monkeypatch, device, world, local, count, message):
    fake_gpus(monkeypatch, count)
    with pytest.raises(ProcessError, match=message) as caught:
        choose_device(device, world=world, local=local)
    assert "\n" not in str(caught.value)
