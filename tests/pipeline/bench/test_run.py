"""What a measurement says, and refuses to say."""

import threading
from pathlib import Path
from statistics import median

import pytest
from rich.console import Console

from pipeline.bench import Ears, Plan, bench, measure, run, tables
from pipeline.bench.ffmpeg import Blend
from pipeline.bench.row import STAGES, Alone, Row, Turn
from pipeline.bench.show import summary
from pipeline.frames import InputError
from pipeline.source import open_source
from pipeline.stats import Stats
from pipeline.synthetic import Scene, write_pair
from tests.pipeline.fakes import VisFuser


@pytest.fixture
def pair(tmp_path):
    made = write_pair(tmp_path, Scene(width=32, height=24, frames=8, shift=(0, 0), offset=0.0))
    return str(made.ir), str(made.vis)


def test_fewer_pairs_than_asked_for_are_told(pair):
    rows = bench(pair, [None], VisFuser(), frames=20)
    assert [row.timed for row in rows] == [5, 5, 5]  # 8 less 3 to warm up
    assert str(rows[0]).endswith("frames/s over 5 pairs")


def test_too_few_pairs_to_time_are_refused(tmp_path):
    made = write_pair(tmp_path, Scene(width=32, height=24, frames=3, shift=(0, 0), offset=0.0))
    with pytest.raises(InputError, match="give 3 pairs; at least 4 are needed"):
        bench((str(made.ir), str(made.vis)), [None], VisFuser(), frames=20)


def test_a_stop_returns_what_is_complete(pair):
    stop = threading.Event()
    rows = bench(pair, [None, (16, 12)], VisFuser(), frames=3, stop=stop, on_row=lambda row: stop.set())
    assert [(row.fuser, row.width) for row in rows] == [
        (name, 32) for name in ("plain mean", "Laplacian pyramid", "identity")
    ]


def test_the_tables_fit_a_terminal_of_80_columns(pair):
    console = Console(width=80, record=True)
    for table in tables(bench(pair, [None, (16, 12)], VisFuser(), frames=3)):
        console.print(table)
    text = console.export_text()
    for word in (
        "32x24",
        "16x12",
        "plain mean",
        "Laplacian pyramid",
        "identity",
        "frames/s",
        "decode vis",
        "ms a pair",
    ):
        assert word in text
    assert "…" not in text


def test_the_summary_fits_a_terminal_of_80_columns_at_its_widest():
    wall = {"decode": 1.0, "fuse": 2.0, "encode": 3.0}
    rows = [
        Row(name, 1280, 720, None, fps_of_repeats=[fps, 1.3 * fps], cores=2,
            alone={stage: Alone([ms], [9.0]) for stage, ms in wall.items()})
        for name, fps in (("plain mean", 1234.5), ("Laplacian pyramid", 100.0), ("jcae-lite on cpu", 0.5))
    ]  # fmt: skip
    console = Console(width=80, record=True)
    console.print(summary(rows))
    lines = console.export_text().splitlines()
    assert list(summary(rows).columns[4].cells) == ["1.00", "0.081", "0.0004"]
    assert len(lines) == 1 + 3 + 3 + 1  # title, head, a line each, foot
    assert "│1280x720 │plain mean        │  1419.7 │13 % │   1.00 │all 2 cores │ 1917 % │" in "".join(lines)


class Named(VisFuser):
    """The identity by another name."""

    def __init__(self, name):
        super().__init__()
        self.name = name


def test_everything_has_a_turn_in_every_repeat(pair):
    """So that a machine that slows down does so for all."""
    steps = []
    plan = Plan(pair, [None], 3, repeats=2, is_alone=True)
    rows = measure(plan, [Named("a"), Named("b")], ears=Ears(on_step=steps.append))
    once = ["a, {}", "b, {}", "decoding alone, {}", "a alone, {}", "b alone, {}"]
    assert steps == [step.format(f"{turn} of 2") for turn in (1, 2) for step in once]
    assert [(row.fuser, len(row.fps_of_repeats), row.timed) for row in rows] == [("a", 2, 3), ("b", 2, 3)]


def test_stages_alone_are_measured_in_every_repeat_and_set_the_limit(pair):
    (row,) = measure(Plan(pair, [None], 3, repeats=2, is_alone=True), [VisFuser()])
    assert {stage: len(alone.wall_ms) for stage, alone in row.alone.items()} == dict.fromkeys(STAGES, 2)
    slowest = max(median(row.alone[stage].wall_ms) for stage in STAGES)
    assert row.limit.slowest_ms == slowest
    assert row.limit.took_ms == 1e3 / median(row.fps_of_repeats)
    assert len(row.at_once.wall_ms) == 2
    assert row.limit.at_once_ms == median(row.at_once.wall_ms) > 0
    told = row.to_json()
    assert told["limit"]["least_ms"] >= round(slowest, 4) > 0
    assert len(told["alone"]["encode"]["ms"]) == len(told["fps_of_repeats"]) == 2


def test_what_is_encoded_alone_is_what_the_pipeline_encoded(pair, monkeypatch):
    """As many pairs as it took, from the first on: one part of a video is harder to code than another."""
    taken, encoded = [], run.alone.encoding

    def encoding(job, pictures, frames, pairs, stop):
        taken.append(([frame.luma.tobytes() for frame in frames], pairs))
        return encoded(job, pictures, frames, pairs, stop)

    monkeypatch.setattr(run.alone, "encoding", encoding)
    (row,) = measure(Plan(pair, [None], 20, repeats=2, is_alone=True), [VisFuser()])
    with open_source(pair[1]) as vis:
        lumas = [frame.luma.tobytes() for frame in vis.frames()]
    assert taken == 2 * [(lumas, 5)]
    assert (len(lumas), row.timed) == (8, 5)


def test_the_work_of_a_fuser_is_that_on_one_thread_measured_once(pair, monkeypatch):
    """More threads also burn time on waiting for each other, which is no work."""
    lean = [Named("one thread")]
    costs = {"many threads": (5.0, 9.0), "one thread": (8.0, 8.0)}
    monkeypatch.setattr(
        run.alone, "fusing", lambda job, fuser, pictures, *_: (costs[fuser.name], [pictures.pairs[0].vis])
    )
    (row,) = measure(Plan(pair, [None], 3, repeats=2, is_alone=True), [Named("many threads")],
                     lean=lambda fuser: lean.pop())  # fmt: skip
    assert (row.alone["fuse"].wall_ms, row.alone["fuse"].cpu_ms) == ([5, 5], [8, 8])


def test_the_stages_shown_are_those_of_the_repeat_in_the_middle(pair, monkeypatch):
    turns = {fps: Turn(32, 24, 2 * fps, 2.0, Stats(), 1.0) for fps in (30, 10, 20)}
    order = iter(turns.values())
    monkeypatch.setattr(run, "timed", lambda *_, **__: next(order))
    (row,) = measure(Plan(pair, [None], 3, repeats=3), [VisFuser()])
    assert (row.fps_of_repeats, row.fps) == ([30, 10, 20], 20)
    assert row.stats is turns[20].stats
    assert row.timed == 40


def test_every_size_meets_every_preset(pair):
    plan = Plan(pair, [(32, 24), (16, 12)], 2, presets=("ultrafast", "fast"))
    rows = measure(plan, [VisFuser()])
    assert [(row.width, row.preset) for row in rows] == [
        (32, "ultrafast"), (32, "fast"), (16, "ultrafast"), (16, "fast")
    ]  # fmt: skip
    assert next(tables(rows)).title is None  # presets are a column then


def test_ffmpeg_has_a_row_beside_or_a_reason(pair, monkeypatch):
    asked, notices = [], []

    def blended(blend, job, size, rate, pairs, warm_up, stop):
        asked.append((size, rate, pairs, job.settings.preset))
        return 50.0 if len(asked) < 3 else "ffmpeg blend: broke"

    monkeypatch.setattr(run, "blended", blended)
    plan = Plan(pair, [None], 3, repeats=3, blend=Blend("ffmpeg", "7"))
    rows = measure(plan, [VisFuser()], ears=Ears(on_notice=notices.append))
    assert asked == 3 * [((32, 24), 25, 3, "veryfast")]
    assert (rows[-1].fuser, rows[-1].fps_of_repeats, rows[-1].limit) == ("ffmpeg blend", [50.0, 50.0], None)
    assert notices == ["ffmpeg blend: broke"]
    assert (rows[-1].timed, rows[-1].cpu_ms_of_repeats) == (3, [])


def test_a_stop_between_keeps_the_repeats_that_are_done(pair):
    stop, steps = threading.Event(), []

    def step(line):
        steps.append(line)
        if line == "b, 2 of 3":
            stop.set()

    rows = measure(Plan(pair, [None], 3, repeats=3), [Named("a"), Named("b")], stop=stop, ears=Ears(on_step=step))
    assert [(row.fuser, len(row.fps_of_repeats)) for row in rows] == [("a", 2), ("b", 1)]
    assert steps[-1] == "b, 2 of 3"


def test_a_plan_becomes_the_job_that_fuse_would_run(pair):
    plan = Plan(pair, [(32, 24)], 3, work_height=96, steady=True, hwaccel="off", threads=2)
    job = plan.job(pair, (32, 24), "fast", Path("x"))
    assert (job.geometry.work_height, job.geometry.size, job.steady, job.hwaccel, job.threads) == (
        96, (32, 24), None, "off", 2
    )  # fmt: skip
    assert (job.settings.preset, job.limit, job.out) == ("fast", 6, Path("x/out.mp4"))
