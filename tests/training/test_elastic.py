"""A process of several that dies takes nothing with it: torchrun starts all again, from the last checkpoint."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.material import write_pairs
from tests.training.test_processes import ROOT, finish
from training.checkpoint import load_checkpoint

STEPS, EVERY = 14, 3


def elastic(pairs, run):
    """Training over two processes of one machine, which may be started again twice."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--max_restarts", "2",
        "--monitor_interval", "0.1", "-m", "training.train", "--pairs", pairs, "-o", run, "--steps", STEPS,
        "--every", EVERY, "--batch", 2, "--crop", 12, "--validation", 0, "--device", "cpu",
    ]  # fmt: skip
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def process_of(parent, rank):
    """The pid of a process among those that torchrun has started."""
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in path.read_text().split():
            if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return int(pid)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.skipif(
    os.environ.get("REQUIRE_ELASTIC") != "1",
    reason="gloo gives up connecting on a busy machine; REQUIRE_ELASTIC=1 runs it",
)
@pytest.mark.parametrize("rank", [1])
def test_a_killed_process_changes_no_weight_of_the_end(tmp_path, rank):
    pairs = write_pairs(tmp_path / "pairs", 3)
    code, _, err = finish(elastic(pairs, tmp_path / "whole"))
    assert code == 0, err

    broken, kept = elastic(pairs, tmp_path / "broken"), tmp_path / "broken" / "checkpoint.pt"
    while not kept.exists():
        assert broken.poll() is None, broken.communicate()[1]
        time.sleep(0.005)
    os.kill(process_of(broken.pid, rank), signal.SIGKILL)
    code, out, err = finish(broken)
    assert code == 0, err
    starts = [int(step) for step in re.findall(r"held back; step (\d+) on cpu", out)]
    assert len(starts) == 2  # else nobody was killed in time
    assert starts[0] == 0
    assert 0 < starts[1] < STEPS
    assert starts[1] % EVERY == 0
    whole, again = load_checkpoint(tmp_path / "whole" / "checkpoint.pt"), load_checkpoint(kept)
    assert again["step"] == whole["step"] == STEPS
    assert [point.loss for point in again["curve"]] == [point.loss for point in whole["curve"]]
    for name, wanted in whole["network"].items():
        assert torch.equal(again["network"][name], wanted), name
