"""Clips and methods: which are found, how a model runs on them, and what is left out and said."""

from itertools import pairwise

import numpy as np
import pytest

from engines.base import StreamState, open_fuser
from engines.steady import Steady
from tests.training.material import noise
from tests.training.moving import clip, write_clip
from training.clips import clip_fingerprint, find_clips, fuse_clip, open_clip_methods, plan_clips
from training.data import DataError
from training.methods import FORMULAS
from training.video import VideoShape, write_gray


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips, one that does not fit, one side missing, and a folder that is none."""
    folder = tmp_path_factory.mktemp("clips")
    ir, vis = clip(5, 40, 80)
    write_clip(folder / "a", ir, vis)
    write_clip(folder / "b", ir[:4], vis[:4])
    write_clip(folder / "short", ir, vis[:4])
    write_clip(folder / "still", ir[:2], vis[:2])
    (folder / "empty").mkdir()
    return folder


def test_folders_and_two_files_are_clips(clips):
    found, skipped = find_clips([clips])
    assert [(c.name, c.shape) for c in found] == [("a", VideoShape(5, 40, 80)), ("b", VideoShape(4, 40, 80))]
    assert skipped == [
        f"{clips}/empty: no ir.* and vis.* in it",
        f"{clips}/short/ir.mkv: 5 frames of 80x40, vis.mkv has 4 frames of 80x40; a clip has one shape",
        f"{clips}/still/ir.mkv: 2 frames of 80x40; a clip has 3 frames and 32 px at least",
    ]
    assert find_clips([clips / "a"]) == (found[:1], [])
    assert find_clips([clips / "a" / "ir.mkv", clips / "a" / "vis.mkv"]) == (found[:1], [])
    assert [c.shape.frames for c in find_clips([clips], frames=4)[0]] == [4, 4]
    assert find_clips([clips, clips]) == (found, skipped)


def test_what_is_no_clip_is_told(clips, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "bad").mkdir()
    for name in ("ir.mp4", "vis.mp4"):
        (tmp_path / "bad" / name).write_text("no video")
    for places, message in (
        ([clips / "a" / "ir.mkv"], "not a folder; give folders of clips, or two files"),
        ([tmp_path / "a"], "no usable clip, 0 skipped; give folders"),
        ([tmp_path], "no usable clip, 2 skipped.*a: no ir"),
        ([tmp_path / "bad"], "no usable clip, 1 skipped.*ir.mp4: not a readable video"),
        ([clips, clips / "a"], "two clips named a; rename a folder"),
    ):
        with pytest.raises(DataError, match=message):
            find_clips(places)


def test_methods_are_models_in_two_modes_and_fused_videos(exported, clips, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write_gray(tmp_path / "one.mkv", [noise(40, 80)])
    given = [exported, f"{exported}@frames", f"mine={exported}@frames", theirs, f"x={tmp_path / 'one.mkv'}"]
    given += ["gff", "g2=gff", "max@steady", f"{exported}@steady"]
    opened = open_clip_methods([str(text) for text in given])[len(FORMULAS) :]
    assert [m.method.formula for m in opened[-4:]] == ["gff", "gff", "max", ""]
    assert [m.name for m in opened if m.steady] == ["max@steady", "small@steady"]
    assert [(m.name, m.method.kind, m.follows) for m in opened] == [
        ("small", "model", True),
        ("small@frames", "model", False),
        ("mine", "model", False),
        ("theirs", "results", True),
        ("x", "results", True),
        ("gff", "formula", True),
        ("g2", "formula", True),
        ("max@steady", "formula", True),
        ("small@steady", "model", True),
    ]
    for wrong, message in (
        ([f"{theirs}@frames"], "@frames is for models; .*theirs is fused already"),
        ([f"{theirs}@steady"], "@steady is for models; .*theirs is fused already"),
        (["gff@frames"], "@frames is for models; gff has no memory"),
        ([str(exported), str(exported)], "two methods named small; call one otherwise: NAME="),
    ):
        with pytest.raises(DataError, match=message):
            open_clip_methods(wrong)


def test_a_model_runs_as_a_stream_or_frame_by_frame(exported, clips):
    found, _ = find_clips([clips / "a"])
    ir, vis = (video[:3] for video in clip(5, 40, 80))
    jobs, _ = plan_clips(open_clip_methods([str(exported), f"{exported}@frames"]), found)
    fuser, state, stream, rules = open_fuser(exported, backend="cpu"), None, [], []
    for a, b in zip(ir, vis, strict=True):
        fused, state = fuser.fuse_next(a, b, state)
        stream.append(fused)
        rules.append(state.averaged)
    frames = [fuser.fuse(a, b) for a, b in zip(ir, vis, strict=True)]
    fuser.close()
    (as_stream, changes), (alone, _) = (fuse_clip(job, ir, vis) for job in jobs[-2:])
    np.testing.assert_array_equal(as_stream, stream)
    np.testing.assert_array_equal(alone, frames)
    assert changes == np.mean([(x != y).sum() for x, y in pairwise(rules)])
    mean, none = fuse_clip(jobs[0], ir, vis)
    np.testing.assert_array_equal(mean, [(a.astype(int) + b + 1) // 2 for a, b in zip(ir, vis, strict=True)])
    assert none is None


def test_only_a_stream_hands_the_rules_on(exported, clips, monkeypatch):
    """By a fuser that turns one more map over in each frame of a stream."""

    class Counting:
        def fuse_next(self, ir, vis, state):
            given = 0 if state is None else int(state.averaged.sum())
            return np.full_like(ir, given), StreamState(np.arange(8) <= given)

    monkeypatch.setattr("training.clips.fuser_of", lambda folder: Counting())
    ir, vis = clip(5, 40, 80)
    jobs, _ = plan_clips(open_clip_methods([str(exported), f"{exported}@frames"]), find_clips([clips / "a"])[0])
    (as_stream, changes), (alone, none) = (fuse_clip(job, ir, vis) for job in jobs[-2:])
    assert ([frame[0, 0] for frame in as_stream], changes) == ([0, 1, 2, 3, 4], 1)
    assert ([frame[0, 0] for frame in alone], none) == ([0] * 5, 0)


def test_fused_videos_are_matched_by_name_and_what_does_not_fit_is_told(clips, tmp_path):
    found, _ = find_clips([clips])
    ir, vis = clip(5, 40, 80)
    write_gray(tmp_path / "a.mkv", ir)
    write_gray(tmp_path / "b.mkv", [frame[:, :78] for frame in ir])
    write_gray(tmp_path / "c.mkv", ir)
    jobs, left_out = plan_clips(open_clip_methods([f"x={tmp_path}"]), found)
    assert [(job.method.name, job.pair.name) for job in jobs] == [*((n, "a") for n in [*FORMULAS, "x"])] + [
        (n, "b") for n in FORMULAS
    ]
    assert left_out == [
        f"{tmp_path}/c.mkv: no clip of that name",
        f"{tmp_path}/b.mkv: 5 frames of 78x40, its clip is 4 frames of 80x40",
    ]
    np.testing.assert_array_equal(fuse_clip(jobs[len(FORMULAS)], ir, vis)[0], ir)
    only, said = plan_clips(open_clip_methods([f"x={tmp_path}"]), found[:1], beside=found)
    assert (len(only), said) == (len(FORMULAS) + 1, [f"{tmp_path}/c.mkv: no clip of that name"])
    with pytest.raises(DataError, match="no fused video fits a clip"):
        plan_clips(open_clip_methods([f"x={tmp_path / 'c.mkv'}"]), found)
    file_of_one, _ = plan_clips(open_clip_methods([f"x={tmp_path / 'c.mkv'}"]), found[:1])
    assert file_of_one[-1].result == tmp_path / "c.mkv"


def test_a_steadied_method_is_the_pipelines_own(clips):
    found, _ = find_clips([clips / "a"])
    ir, vis = (video[:3] for video in clip(5, 40, 80))
    jobs, _ = plan_clips(open_clip_methods(["max", "max@steady"])[-2:], found)
    steady = Steady()
    by_hand = [steady.get(np.maximum(steady.put(a, b), b)) for a, b in zip(ir, vis, strict=True)]
    plain, frames = (fuse_clip(job, ir, vis)[0] for job in jobs)
    assert all(np.array_equal(a, b) for a, b in zip(frames, by_hand, strict=True))
    assert clip_fingerprint(jobs[0]) != clip_fingerprint(jobs[1])
    assert all(np.array_equal(f, np.maximum(a, b)) for f, a, b in zip(plain, ir, vis, strict=True))
