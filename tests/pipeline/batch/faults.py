"""Kill workers and drivers at random moments, and hold what comes out against one run in one piece.

Not a test that is collected: `python -m tests.pipeline.batch.faults [KILLS] [FOLDER]` takes some minutes. It ends with
exit code 1 at the first difference.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from pipeline.batch.ledger import FOLDER, read_ledger
from pipeline.frames import InputError
from tests.pipeline.batch.archive import in_one_piece, task_of, write_pair
from tests.pipeline.batch.test_batch_command import children, command, is_alive
from tests.pipeline.media import read

NAMES = ("a", "b", "c")
OPTIONS = {"codec": "ffv1", "view": "edges"}


def main() -> None:
    """So many runs; in each, one process is killed at a random moment, and the command is given again."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    for number, name in enumerate(NAMES):
        write_pair(folder / "in", name, 100 + 50 * number, suffix=".mkv")
    tasks = {name: task_of(folder / "in", folder / f"{name}.mkv", name, suffix=".mkv", **OPTIONS) for name in NAMES}
    truth = {name: in_one_piece(task, None, folder) for name, task in tasks.items()}
    pictures = [frame.luma for frame in read(folder / "one.mkv")]
    manifest = folder / "list.csv"
    rows = [f"{task.ir},{task.vis},{name}.mkv" for name, task in tasks.items()]
    manifest.write_text("\n".join(["ir,vis,out", *rows]))
    length = run(manifest, folder / "undisturbed")
    print(f"undisturbed: {length:.1f} s", flush=True)
    whats: Counter[str] = Counter()
    seed = -1
    while whats.total() < kills:
        seed += 1
        what = "driver" if seed % 4 == 3 else "worker"
        out = folder / f"run{seed}"
        hit = run(manifest, out, chance=random.Random(seed), what=what, length=length)
        whats[what] += bool(hit)
        found = {Path(row.out).stem: (row.framehash, row.frames) for row in read_ledger(out)[0]}
        last = [frame.luma for frame in read(out / "c.mkv")]
        is_same = len(last) == len(pictures) and all(map(np.array_equal, last, pictures))
        left = [str(path) for path in (out / FOLDER).glob("*/*")] + [str(path) for path in out.glob(".*part*")]
        if found != truth or left or not is_same:
            print(f"seed {seed}: {found} is not {truth}, or {left} was left behind", flush=True)
            raise SystemExit(1)
        print(f"seed {seed}: {what if hit else 'nobody'} killed, all frames as in one piece", flush=True)
    print(f"{seed + 1} runs, killed: {dict(whats)}")


def run(manifest: Path, out: Path, *, chance: random.Random | None = None, what: str = "", length: float = 0) -> float:
    """Run the batch to its end; s. Kills a process at a random moment if there is a chance; 0 if none was there."""
    options = [part for name, text in OPTIONS.items() for part in ("--option", f"{name}={text}")]
    args = command("batch", manifest, "-o", out, "--workers", 2, "--chunk", "1s", *options)
    began = time.monotonic()
    driver = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    killed = 1.0 if chance is None else 0.0
    if chance is not None:
        while not is_begun(out):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, length / 2))  # begun, so part of its time is over
        workers = children(driver.pid)
        victim = driver.pid if what == "driver" else chance.choice(workers) if workers else 0
        if victim and driver.poll() is None:
            os.kill(victim, signal.SIGKILL)
            killed = 1.0
        if what == "driver":
            driver.wait()
            while any(is_alive(pid) for pid in workers):
                time.sleep(0.01)
            driver = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    if driver.wait(600):
        raise SystemExit(f"exit code {driver.returncode} in {out}")
    return killed * (time.monotonic() - began)


def is_begun(out: Path) -> bool:
    """Whether chunks are under way."""
    try:
        return any(row.state != "waiting" for row in read_ledger(out)[1])
    except InputError:
        return False


if __name__ == "__main__":
    main()
