"""Where a run steadies its pictures, and where it leaves them as they are."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from engines.classical import open_classical
from pipeline.align import Geometry
from pipeline.live.composer import Composer
from pipeline.live.match import Match
from pipeline.live.status import Controls
from run_stream import app
from tests.pipeline.live.clockwork import live_frame
from tests.training.material import textured
from training.metrics.brightness_jump import brightness
from training.video import read_video, write_gray

STEP = 40
FRAMES = 5
AT = 2
"""Frame in which the gain steps."""


def sides():
    """IR with a gain step and VIS that is darker everywhere, lists of (64, 96) uint8."""
    ground = (textured(64, 96, 1) * 0.3 + 90).astype(np.uint8)
    return [(ground + STEP * (t >= AT)).astype(np.uint8) for t in range(FRAMES)], [ground // 2] * FRAMES


@pytest.fixture
def pair(tmp_path):
    for name, video in zip(("ir", "vis"), sides(), strict=True):
        write_gray(tmp_path / f"{name}.mkv", video)
    return [str(tmp_path / "ir.mkv"), str(tmp_path / "vis.mkv")]


def steps_of(video):
    return np.diff(brightness(video))


def fuse(pair, out, *options):
    stats = out.with_suffix(".json")
    given = ["fuse", *pair, "-o", str(out), "--method", "max", "--codec", "ffv1", "--gray", "--stats", str(stats)]
    found = CliRunner().invoke(app, [*given, *options])
    assert found.exit_code == 0, found.output
    return json.loads(stats.read_text())["steady"]


@pytest.mark.parametrize(("options", "is_steady"), [([], True), (["--no-steady"], False), (["--steady"], True)])
def test_a_video_is_steadied_unless_it_is_not_to_be(tmp_path, pair, options, is_steady):
    assert fuse(pair, tmp_path / "out.mkv", *options) is is_steady
    jump = steps_of(read_video(tmp_path / "out.mkv", frames=FRAMES))[AT - 1]
    assert jump == pytest.approx(0 if is_steady else STEP, abs=2)


@pytest.mark.parametrize("options", [["--limit", "1"], ["--view", "ir"]])
def test_one_pair_and_views_without_the_network_are_left_as_they_are(tmp_path, pair, options):
    options = ["--method", "max", *options] if "--limit" in options else options
    assert fuse(pair, tmp_path / "out.mkv", *options) is False


def composed(*, steady, views=("fused",) * FRAMES):
    """Mean brightness of what a live run shows of the pair."""
    composer = Composer(open_classical("max"), Geometry(), steady=steady)
    assert composer.is_steady is steady
    shown = []
    for t, (ir, vis) in enumerate(zip(*sides(), strict=True)):
        now = t / 25
        match = Match("vis", "paired", live_frame(now, luma=ir), live_frame(now, luma=vis), now, 0.0, now)
        composer.put(match, Controls(view=views[t]))
        shown.append(composer.get().frame.luma)
    return steps_of(shown)


def test_a_live_picture_is_steadied_if_asked():
    assert composed(steady=False)[AT - 1] == pytest.approx(STEP, abs=1)
    assert np.abs(composed(steady=True)).max() < 2


def test_a_view_in_between_begins_the_stream_anew():
    """What was fused before it is no measure of what comes after."""
    views = ("fused", "ir", "fused", "fused", "fused")
    shown = composed(steady=True, views=views)
    assert shown[AT - 1] == pytest.approx(STEP, abs=1)
