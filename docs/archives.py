"""Simulate an archive of 100,000 hours on 1 to 1,000 workers: prints the tables of archives.md, draws archives.png.

Run: python docs/archives.py [--hours 100000]         about ten minutes
     python docs/archives.py --measure [--frames 500]   the times of single steps on this machine
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).parents[1]))
from pipeline.batch.costs import Costs, Outcome
from pipeline.batch.simulate import archive, simulate

WORKERS = (1, 10, 30, 100, 300, 1000)
FPS = 25
AT_ONCE = 10
"""Chunks of 60 s played as one step."""
COMMON = {
    "spread": 0.023, "plan": 0.0018, "join": 0.0065, "driver": 0.060, "start": 1.0, "starts": 10.0,
    "bytes_in": 0.75e6, "bytes_out": 0.4e6, "link": 125e6, "store": 5e9,
}  # fmt: skip
"""Measured, s of a core: spread, plan, join; driver: two commits on a busy disk. Assumed: a worker starts in 1 s, 10 of
them a second; 4 + 2 Mbit/s in, 3 out; a worker's link of 1 Gbit/s, a store of 40."""
SCENARIOS = {
    "jcae, a CPU core (measured)": Costs(fuse=FPS * 2 / 1.07, each_chunk=30 * 2 / 1.07, **COMMON),
    "blend, a CPU core (measured)": Costs(fuse=FPS * 0.01134, each_chunk=0.27, **COMMON),
    "jcae, a GPU (estimate, never measured)": Costs(fuse=FPS / 1000, each_chunk=0.30, **COMMON),
    "the same, ledger 1 ms a chunk (assumed)": Costs(fuse=FPS / 1000, each_chunk=0.30, **{**COMMON, "driver": 0.001}),
}
"""640x480 at 25 frames/s. A chunk costs 30 pairs of run-up: with the network as much as 30 others, else decoding."""


def main() -> None:
    """Print tables or measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=100_000)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--frames", type=int, default=500)
    given = parser.parse_args()
    if given.measure:
        measure(given.frames)
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


def measure(frames: int) -> None:
    """Print what single steps take on this machine: s of one core, which other work on it does not change."""
    from pipeline.batch.chunk import Spec
    from pipeline.batch.ledger import Ledger
    from pipeline.batch.plan import Chunk, Reach
    from pipeline.batch.task import Task
    from pipeline.batch.work import Work, Worker
    from pipeline.synthetic import Scene, write_pair

    def timed(work: Work) -> tuple[float, dict]:
        began = time.process_time()
        result = worker.do(work)
        return time.process_time() - began, result

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pair = write_pair(folder, Scene(640, 480, frames))
        seconds = frames / float(pair.scene.rate)
        worker = Worker(2)
        task = Task(str(pair.ir), str(pair.vis), str(folder / "blend.mp4"), offset=pair.scene.offset,
                    options={"view": "blend"})  # fmt: skip
        timed(Work.plan(task, 2.0))  # what is imported on first use
        took, plan = timed(Work.plan(task, 2.0))
        print(f"plan: {took / seconds:.5f} s/s")
        chunks = [Chunk(**{**c, "guess": Reach(**c["guess"]), "carry": Reach(**c["carry"])}) for c in plan["chunks"]]
        place = folder / "pieces"
        place.mkdir()
        rates = []
        for chunk in chunks:
            spec = Spec(task, plan["fingerprint"], chunk.index, chunk.begin, chunk.end, chunk.ir_end, chunk.guess,
                        chunk.frames, str(place), threads=2)  # fmt: skip
            spent, result = timed(Work.chunk(spec))
            rates.append(spent / max(result["frames"], 1))
        spread = stdev(rates[1:-1]) / mean(rates[1:-1])
        print(f"blend: {len(chunks)} chunks of {chunks[0].seconds:.1f} s, {rates[0]:.5f} s a frame of the first, "
              f"{mean(rates[1:]):.5f} of the others, with 30 frames of run-up; spread {spread:.3f}")  # fmt: skip
        took, _ = timed(Work.join(task, place, plan["fingerprint"], len(chunks), may_replace=True))
        print(f"join: {took / seconds:.5f} s/s; in {pair.ir.stat().st_size + pair.vis.stat().st_size} bytes, "
              f"out {Path(task.out).stat().st_size} bytes for {seconds:.0f} s")  # fmt: skip
        worker.close()
        with Ledger(folder) as ledger:
            times = []
            for number in range(200):
                began = time.perf_counter()
                ledger.enter_chunk("task", number, state="running", started=time.time())
                ledger.enter_chunk(
                    "task", number, state="done", frames=1500, framehash="0" * 64, host="a:1", seconds=1.0
                )
                times.append(time.perf_counter() - began)
        tenth, middle = sorted(times)[20], sorted(times)[100]
        print(f"ledger: {1000 * tenth:.1f} ms a chunk, with the disk, the best tenth; {1000 * middle:.1f} the middle")
    program = (
        "import time, pipeline.batch.work; from engines.base import open_fuser; "
        "open_fuser('jcae', backend='cpu', threads=2); print(f'start of a worker: {time.process_time():.2f} s')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])


if __name__ == "__main__":
    main()
