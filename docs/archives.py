"""Simulate an archive of 100,000 hours on 1 to 1,000 workers: prints the tables of archives.md, draws archives.png.

Run: python docs/archives.py [--hours 100000]         some minutes
     python docs/archives.py --measure [--frames 500]   the times of single steps on this machine
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import mean, median, stdev

sys.path.insert(0, str(Path(__file__).parents[1]))
from pipeline.batch.costs import Costs, Outcome
from pipeline.batch.simulate import archive, simulate

WORKERS = (1, 10, 30, 100, 300, 1000)
FPS = 25
AT_ONCE = 10
"""Chunks of 60 s played as one step."""
COMMON = {
    "spread": 0.023, "plan": 0.001, "join": 0.0018, "driver": 0.001, "start": 1.0, "starts": 10.0,
    "bytes_in": 0.75e6, "bytes_out": 0.4e6, "link": 125e6, "store": 5e9,
}  # fmt: skip
"""Measured, s of a core: spread, plan, join; driver: with 1,000 files under way, and a commit a second. Assumed: a
worker starts in 1 s, 10 of them a second; 4 + 2 Mbit/s in, 3 out; a worker's link of 1 Gbit/s, a store of 40."""
SCENARIOS = {
    "jcae, a CPU core (measured)": Costs(fuse=FPS * 2 / 1.07, each_chunk=30 * 2 / 1.07, **COMMON),
    "blend, a CPU core (measured)": Costs(fuse=FPS * 0.01134, each_chunk=0.27, **COMMON),
    "jcae, a GPU (estimate, never measured)": Costs(fuse=FPS / 1000, each_chunk=0.30, **COMMON),
}
"""640x480 at 25 frames/s. A chunk costs 30 pairs of run-up: with the network as much as 30 others, else decoding."""


def main() -> None:
    """Print tables or measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=100_000)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--chunk", type=float, default=2.0, help="s")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="as of batch")
    given = parser.parse_args()
    if given.measure:
        options = dict(text.split("=", 1) for text in given.option) or {"view": "blend"}
        measure(given.frames, given.chunk, options)
        return
    found = {}
    for name, costs in SCENARIOS.items():
        print(f"\n{name}\n\n| workers | time | fusing | largest losses |\n|---|---|---|---|", flush=True)
        found[name] = [played(workers, given.hours, costs) for workers in WORKERS]
    draw(found, given.hours)


def played(workers: int, hours: float, costs: Costs) -> Outcome:
    """One outcome, told as a row of the table.

    Fewer workers get an archive smaller by as much: a worker's share is the same, so what stops them is, too. Its time
    is scaled up; the losses at both ends weigh more than they would, so it is rather too long.
    """
    share = workers / max(WORKERS)
    began = time.monotonic()
    outcome = simulate(archive(hours * share), workers, costs, at_once=AT_ONCE)
    losses = [f"{name} {share:.1%}" for name, share in outcome.losses().items() if share >= 0.001][:3]
    print(
        f"| {workers} | {told(outcome.makespan / share)} | {outcome.efficiency:.1%} | {', '.join(losses)} |", flush=True
    )
    print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)
    return outcome


def told(seconds: float) -> str:
    """A length of time to three digits."""
    for unit, size in (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds / 60:.1f} min"


def draw(found: dict[str, list[Outcome]], hours: float) -> None:
    """Efficiency over workers, and where the time goes at the largest number."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.2), constrained_layout=True)
    for name, outcomes in found.items():
        left.plot(WORKERS, [100 * outcome.efficiency for outcome in outcomes], marker="o", label=name)
    left.set(xscale="log", xlabel="workers", ylabel="share of the workers' time spent fusing, %", ylim=(0, 102))
    left.set_title(f"{hours:,.0f} hours, 640x480 at {FPS} frames/s, chunks of 60 s")
    left.grid(alpha=0.3)
    left.legend(loc="lower left", fontsize=8)
    causes = list(next(iter(found.values()))[-1].losses())
    start = [0.0] * len(found)
    for cause in sorted(causes):
        shares = [100 * outcomes[-1].losses()[cause] for outcomes in found.values()]
        right.barh(range(len(found)), shares, left=start, label=cause)
        start = [a + b for a, b in zip(start, shares, strict=True)]
    right.set_yticks(
        range(len(found)), [name.replace(", ", ",\n", 1).replace(" (", "\n(") for name in found], fontsize=8
    )
    right.invert_yaxis()
    right.set(xlabel=f"lost at {WORKERS[-1]:,} workers, % of their time")
    right.legend(fontsize=8)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)


def measure(frames: int, chunk: float, options: dict[str, str]) -> None:
    """Print what single steps take on this machine: s of one core, which other work on it changes little."""
    from pipeline.batch.pieces import Pieces
    from pipeline.batch.plan import Chunk
    from pipeline.batch.task import Task
    from pipeline.batch.work import Work, Worker
    from pipeline.synthetic import Scene, write_pair

    def timed(work: Work) -> tuple[float, dict]:
        began = time.process_time()
        result = worker.do(work)
        return time.process_time() - began, result

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pair = write_pair(folder, Scene(640, 480, frames, rate=Fraction(FPS), ir_rate=Fraction(FPS)))
        seconds = frames / FPS
        worker = Worker(1)
        task = Task(str(pair.ir), str(pair.vis), str(folder / "fused.mp4"), offset=pair.scene.offset, options=options)
        timed(Work.plan(task, chunk))  # what is imported on first use
        planning, plan = timed(Work.plan(task, chunk))
        print(f"plan: {1000 * planning / seconds:.2f} ms/s")
        place = folder / "pieces"
        place.mkdir()
        pieces = Pieces(task, place, plan["fingerprint"], [Chunk.from_json(values) for values in plan["chunks"]])
        spent, rates = [], []
        for number, piece in enumerate(pieces.all):
            took, result = timed(Work.chunk(pieces.spec(number)))
            pieces.fused(number, result)
            spent.append(took)
            rates.append(took / max(result["frames"], 1))
            print(f"chunk {number}: {piece.chunk.seconds:.1f} s, {took:.2f} s, {rates[-1]:.5f} s a frame", flush=True)
        joining, _ = timed(Work.join(task, place, plan["fingerprint"], len(pieces.all), may_replace=True))
        size_in, size_out = pair.ir.stat().st_size + pair.vis.stat().st_size, Path(task.out).stat().st_size
        print(
            f"join: {1000 * joining / seconds:.2f} ms/s; in {size_in} bytes, out {size_out} bytes for {seconds:.0f} s"
        )
        if len(rates) > 2:
            print(f"spread of chunks: {stdev(rates[1:]) / mean(rates[1:]):.3f}")
        worker.close()
        entering, commit = ledger_times(folder)
        print(f"ledger: {1000 * entering:.2f} ms a chunk, {1000 * commit:.1f} ms a commit, the middle ones")
        ledger = len(spent) * (entering + 2 * commit)
        print(f"planning, ledger with two commits a chunk, joining: {planning:.2f}, {ledger:.2f}, {joining:.2f} s, "
              f"{(planning + ledger + joining) / sum(spent):.2%} of {sum(spent):.1f} s of fusing")  # fmt: skip


def ledger_times(folder: Path) -> tuple[float, float]:
    """s with the disk: to enter a chunk as begun and as done, and to commit; the middle ones of 50."""
    from pipeline.batch.ledger import Ledger

    entering, commits = [], []
    with Ledger(folder) as ledger:
        for number in range(50):
            began = time.perf_counter()
            ledger.enter_chunk("task", number, state="running", started=time.time())
            ledger.enter_chunk("task", number, state="done", frames=1500, framehash="0" * 64, host="a:1", seconds=1.0)
            entering.append(time.perf_counter() - began)
            ledger.settle(at_once=True)
            commits.append(time.perf_counter() - began - entering[-1])
    return median(entering), median(commits)


if __name__ == "__main__":
    main()
