"""A batch makes the frames, times and sound that one run in one piece makes, wherever it is cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import av
import cv2
import numpy as np
import pytest

from engines.base import open_fuser
from pipeline.batch import durable
from pipeline.batch import recipe as recipe_module
from pipeline.batch.chunk import Spec, framehash_of, fuse_chunk
from pipeline.batch.pieces import Pieces
from pipeline.batch.plan import Plan, plan_of
from pipeline.batch.recipe import Recipe, recipe_of
from pipeline.batch.task import Task
from pipeline.video_planes import plane_view
from tests.pipeline.batch.archive import (
    GOP_IR,
    RATE,
    Inline,
    Moody,
    fuse_whole,
    in_one_piece,
    run_batch,
    task_of,
    write_pair,
)
from tests.pipeline.media import data, opened, planar, write_video
from tests.pipeline.sink_media import make_clip, read_audio

COUNT = 120


@pytest.fixture(autouse=True)
def moody(monkeypatch):
    """Every network is `Moody`, whose rules remember longer than those of a model; and no waiting for the disk."""
    monkeypatch.setattr(Recipe, "open", lambda self, threads: Moody())
    monkeypatch.setattr(durable, "_sync", lambda path: None)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder of one pair, and framehash and frames of one run over it."""
    folder = write_pair(tmp_path_factory.mktemp("archive"), count=COUNT)
    return folder, in_one_piece(task_of(folder, "x.mkv", codec="ffv1"), Moody(), folder)


@pytest.mark.parametrize(("chunk", "pieces"), [(1.0, 12), (1.5, 8), (2.5, 5), (4.0, 3), (12.0, 1)])
def test_frames_are_those_of_one_run_at_every_length_of_chunks(archive, tmp_path, chunk, pieces):
    folder, truth = archive
    task = task_of(folder, tmp_path / "x.mkv", codec="ffv1")
    outcome, tasks, rows = run_batch(tmp_path, [task], Inline(3), chunk=chunk)
    assert (outcome.done, outcome.aside) == (1, [])
    assert (tasks[0].framehash, tasks[0].frames) == truth
    assert (len(rows), sum(row.frames for row in rows)) == (pieces, COUNT)


def copy_part(path, out, begin, end, *, keep=True):
    """Packets of a file inside of two times, s, or outside of them."""
    with av.open(str(path)) as given, av.open(str(out), "w") as file:
        stream = file.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size and (begin <= packet.pts * packet.time_base < end) == keep:
                packet.stream = stream
                file.mux(packet)


@pytest.mark.parametrize("slots", [1, 12])
def test_steadied_frames_are_those_of_one_run(archive, tmp_path, slots):
    """They depend on pairs before a chunk's own, whose frames must be right, too."""
    task = task_of(archive[0], tmp_path / "x.mkv", codec="ffv1", steady="true")
    outcome, tasks, rows = run_batch(tmp_path, [task], Hasty(slots) if slots > 1 else Inline(), chunk=1.0)
    assert (tasks[0].framehash, len(rows)) == (in_one_piece(task, Moody(), tmp_path)[0], 12)
    assert tasks[0].framehash != archive[1][0]
    assert outcome.redone > 0 or slots == 1


def fused_apart(task: Task, plan: Plan, folder) -> list:
    """Each chunk by itself, none told in what state the one before ended."""
    pieces = Pieces(task, folder, "plan", list(plan.chunks))
    specs = [pieces.spec(number) for number in range(len(plan.chunks))]
    assert all(spec.given is None and Spec.from_json(spec.to_json()) == spec for spec in specs)
    return [fuse_chunk(spec, task, lambda recipe: Moody()) for spec in specs]


def test_borders_fall_on_every_offset_in_a_gop_and_a_chunk_can_be_fused_alone(archive, tmp_path):
    folder, truth = archive
    task = task_of(folder, tmp_path / "x.mkv", codec="ffv1")
    plan = plan_of(recipe_of(task, threads=1), 1.0)
    ticks = plan.chunks[1].begin // RATE  # of a frame: the second chunk begins at 1 s
    assert {chunk.begin // ticks % GOP_IR for chunk in plan.chunks} == set(range(GOP_IR))
    fused = fused_apart(task, plan, tmp_path)
    right = [not n or fused[n].before == fused[n - 1].after for n in range(len(fused))]
    assert right.count(True) < len(fused)  # Moody remembers longer than a run-up: else this shows nothing
    apart = framehash_of([chunk.digests for chunk in fused])
    assert apart != truth[0]  # which is why seams are compared, and chunks fused again


def test_a_wrong_guess_is_seen_at_the_seam_and_fused_again(archive, tmp_path):
    folder, truth = archive
    outcome, tasks, rows = run_batch(
        tmp_path, [task_of(folder, tmp_path / "x.mkv", codec="ffv1")], Hasty(12), chunk=1.0
    )
    assert outcome.redone > 0
    assert sum(row.redone for row in rows) == outcome.redone
    assert (tasks[0].framehash, tasks[0].frames) == truth


class Hasty(Inline):
    """Results of chunks are held back until all slots are taken, so that the driver must guess states."""

    def submit(self, work):
        if work.kind != "chunk":
            return super().submit(work)
        outcome = super().submit(work)
        held = type(outcome)()
        self.held = [*getattr(self, "held", []), (held, outcome)]
        if len(self.held) == self.slots:
            self._let_go()
        return held

    def _let_go(self):
        self.slots = 1
        for held, outcome in self.held:
            held.set_result(outcome.result())
        self.held = []


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".mp4", {}), (".mkv", {}), (".ts", {}), (".mkv", {"codec": "ffv1"}), (".mov", {"codec": "mpeg4"})],
)
def test_times_are_those_of_one_run_in_every_file_type(tmp_path, suffix, options):
    pts = np.cumsum(np.random.default_rng(3).integers(20, 180, 90)).tolist()  # ms: nothing is regular
    folder = write_pair(tmp_path / "in", count=90, suffix=".mkv", pts=pts, frames_of_b=2)
    task = task_of(folder, tmp_path / f"x{suffix}", suffix=".mkv", **options)
    outcome, tasks, _ = run_batch(tmp_path, [task], Inline(2), chunk=2.0)
    assert outcome.aside == []
    whole = fuse_whole(task, Moody(), tmp_path / f"whole{suffix}")
    assert shown(tmp_path / f"x{suffix}") == shown(whole)
    assert tasks[0].frames == len(shown(whole)[0]) == 90
    assert tasks[0].framehash == in_one_piece(task, Moody(), tmp_path)[0]
    assert suffix == ".ts" or shown(whole)[1][-2].get("title", shown(whole)[1][-2].get("TITLE")) == "vis a"
    ours, theirs = (pictures(path) for path in (tmp_path / f"x{suffix}", whole))
    assert options.get("codec") != "ffv1" or np.array_equal(ours, theirs)
    errors = [[np.abs(one - other).mean() for other in theirs] for one in ours]
    assert np.argmin(errors, axis=1).tolist() == list(range(90))  # each picture shows at its own time


def pictures(path):
    """(N, H, W) luma in the order of the times that the file gives."""
    with av.open(str(path)) as file:
        frames = sorted(file.decode(video=0), key=lambda frame: frame.pts)
        return np.array([plane_view(frame.planes[0]).astype(np.int16) for frame in frames])


def shown(path):
    """Times of all frames, s, and what the file says of itself."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        said = (
            stream.average_rate, stream.start_time, stream.duration, stream.sample_aspect_ratio, context.codec_tag,
            context.color_range, context.colorspace, context.color_primaries, context.extradata,
            {k: v for k, v in file.metadata.items() if k != "encoder"}, len(file.streams.audio),
        )  # fmt: skip
        return sorted(p.pts * p.time_base for p in file.demux(stream) if p.size), said


def test_sound_tags_and_colours_are_carried_as_by_one_run(tmp_path):
    vis = make_clip(tmp_path / "vis.mp4", seconds=6)
    ir = make_clip(tmp_path / "ir.mp4", seconds=6, audio=None)
    task = Task(str(ir), str(vis), str(tmp_path / "x.mp4"))
    outcome, _, rows = run_batch(tmp_path, [task], Inline(2), chunk=1.0)
    assert outcome.done == 1
    assert len(rows) >= 4
    whole = fuse_whole(task, Moody(), tmp_path / "whole.mp4")
    assert shown(tmp_path / "x.mp4") == shown(whole)
    sound = read_audio(tmp_path / "x.mp4")
    assert sound == read_audio(whole)
    assert len(sound) > 270  # 6 s of 1024 samples at 48 kHz


def test_gain_that_follows_the_scene_is_carried_over_exactly(tmp_path):
    folder = write_pair(tmp_path, count=40, deep=True)
    for agc in ("percentile", "plateau"):
        task = task_of(folder, tmp_path / f"{agc}.mkv", ir_suffix=".mkv", agc=agc, codec="ffv1")
        outcome, tasks, _ = run_batch(tmp_path / agc, [task], Inline(1), chunk=2.0)
        assert (outcome.redone, tasks[0].chunks) == (0, 2)
        assert tasks[0].framehash == in_one_piece(task, Moody(), tmp_path)[0]


@pytest.mark.parametrize("gap", ["drop", "hold"])
def test_holes_in_infrared_are_dropped_or_held_as_by_one_run(tmp_path, gap):
    folder = write_pair(tmp_path, count=100)
    whole, out = folder / "ir" / "a.mp4", folder / "ir" / "b.mkv"
    copy_part(whole, out, 3.4, 7.1, keep=False)  # frames after it lack those they build on, up to the next key frame
    task = replace(task_of(folder, tmp_path / "x.mp4", gap=gap), ir=str(out))
    outcome, tasks, _ = run_batch(tmp_path / "out", [task], Inline(3), chunk=1.0)
    assert (tasks[0].framehash, tasks[0].frames) == in_one_piece(task, Moody(), tmp_path)
    assert tasks[0].frames == (100 if gap == "hold" else 100 - tasks[0].dropped)
    assert outcome.done == 1


def test_clocks_that_drift_apart_pair_as_in_one_run(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_module, "clock_rate", lambda offset, rigging: -30_000.0)  # ppm: 0.36 s in 12 s
    task = replace(task_of(archive[0], tmp_path / "x.mp4"), offset=0.2)
    outcome, tasks, rows = run_batch(tmp_path, [task], Inline(3), chunk=1.0)
    assert (tasks[0].framehash, tasks[0].frames) == in_one_piece(task, Moody(), tmp_path)
    assert (outcome.done, len(rows)) == (1, 12)


def test_a_file_without_times_or_key_frames_is_one_chunk(tmp_path):
    folder = write_pair(tmp_path, count=30, suffix=".h264")
    task = task_of(folder, tmp_path / "x.mp4", suffix=".h264")
    outcome, tasks, rows = run_batch(tmp_path / "out", [task], Inline(), chunk=1.0)
    assert (outcome.done, len(rows), tasks[0].frames) == (1, 1, 30)
    assert tasks[0].framehash == in_one_piece(task, Moody(), tmp_path)[0]


def test_real_frames_through_the_real_network_are_those_of_one_run(tmp_path, monkeypatch):
    monkeypatch.undo()
    clip = data("video", "m3svd_montage_140")
    for side in ("ir", "vis"):
        with opened(clip / f"{side}.mp4") as source:
            small = [cv2.resize(f.luma, (48, 36), interpolation=cv2.INTER_AREA) for f in islice(source.frames(), 40)]
        write_video(tmp_path / f"{side}.mp4", map(planar, small), rate=30, options={"g": "20", "sc_threshold": "0"})
    task = Task(*(str(tmp_path / f"{name}.mp4") for name in ("ir", "vis", "x")))
    fuser = open_fuser("auto", backend="cpu", threads=2)  # the batch has one thread each
    outcome, tasks, rows = run_batch(tmp_path, [task], Inline(2), chunk=0.6)
    assert (len(rows), tasks[0].frames) == (2, 40)
    assert tasks[0].framehash == in_one_piece(task, fuser, tmp_path)[0]
    assert outcome.done == 1
