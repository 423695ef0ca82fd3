"""The views over files: the picture asked for comes out in its colours; the network rests where it is not shown."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.frames import Colour, Frame, InputError, StreamInfo
from pipeline.job import Job, run_job
from pipeline.palettes import palette
from pipeline.sink import SinkSettings, open_sink
from pipeline.source import open_source
from pipeline.thermal import parse_gain, parse_region
from pipeline.views import VIEWS, Choice, needs_network
from run_stream import app
from tests.pipeline.fakes import VisFuser

LOSSLESS = SinkSettings("ffv1", crf=None, preset=None)
SIZE = (48, 64)


def clip(path, levels, chroma=None, matrix=6):
    """Frames of one level each, 10 a second."""
    info = StreamInfo(path.name, SIZE[1], SIZE[0], Fraction(1, 10), Fraction(10), colour=Colour(False, 6, 6, matrix))
    sink = open_sink(path, info, LOSSLESS)
    planes = chroma and tuple(np.full((SIZE[0] // 2, SIZE[1] // 2), value, np.uint8) for value in chroma)
    for k, level in enumerate(levels):
        sink.write(Frame(np.full(SIZE, level, np.uint8), planes, k, k / 10, k))
    sink.close()
    return str(path)


@pytest.fixture
def pair(tmp_path):
    return clip(tmp_path / "ir.mkv", [40, 150, 220]), clip(tmp_path / "vis.mkv", [90] * 3, (100, 160))


def rgb_of(path):
    """The middle pixel of every frame as another library (swscale) shows it: R, G, B."""
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24")[24, 32].astype(int) for frame in file.decode(video=0)]


@pytest.mark.parametrize("view", [view for view in VIEWS if not needs_network(Choice(view))])
def test_views_without_the_network_run_without_one(tmp_path, pair, view):
    fuser = VisFuser()
    for given in (fuser, None):
        out = tmp_path / "out.mkv"
        settings = SinkSettings("ffv1", crf=None, preset=None, overwrite=True)
        result = run_job(Job(*pair, out, choice=Choice(view), palette="lava", settings=settings), given)
        assert result.stats.frames == 3
        assert result.stats.stages["fuse"].count == 0
    assert (fuser.calls, fuser.states) == (0, [])


def test_the_fused_view_needs_a_fuser(tmp_path, pair):
    with pytest.raises(AssertionError, match="view fused without a fuser"):
        run_job(Job(*pair, tmp_path / "out.mkv"), None)


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("name", ["ironbow", "rainbow", "arctic", "black hot"])
def test_a_player_shows_the_palette_s_colours(tmp_path, name, matrix):
    """The file's own tags tell the reader which matrix was used: what it shows is the table."""
    ir = clip(tmp_path / "ir.mkv", [40, 150, 220])
    vis = clip(tmp_path / "vis.mkv", [90] * 3, (100, 160), matrix)
    job = Job(ir, vis, tmp_path / "out.mkv", choice=Choice("ir"), palette=name, settings=LOSSLESS)
    run_job(job, None)
    with open_source(str(tmp_path / "out.mkv")) as source:
        assert source.info.colour.matrix == matrix
    for shown, level in zip(rgb_of(tmp_path / "out.mkv"), (40, 150, 220), strict=True):
        assert np.abs(shown - palette(name).table[level]).max() <= 5  # YUV of 8 bits, limited range, and back


def test_a_gray_palette_over_colour_leaves_no_colour(tmp_path, pair):
    run_job(Job(*pair, tmp_path / "out.mkv", choice=Choice("ir"), settings=LOSSLESS), None)
    with open_source(str(tmp_path / "out.mkv")) as source:
        for frame in source.frames():
            assert all((plane == 128).all() for plane in frame.chroma)


def test_images_are_coloured_too(tmp_path):
    for name, level in (("ir", 150), ("vis", 30)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((24, 32, 3), level, np.uint8))
    out = tmp_path / "out.png"
    job = Job(str(tmp_path / "ir.png"), str(tmp_path / "vis.png"), out, choice=Choice("ir"), palette="ironbow")
    run_job(job, None)
    shown = cv2.imread(str(out))[12, 16, ::-1].astype(int)
    assert np.abs(shown - palette("ironbow").table[150]).max() <= 3


def test_the_gain_of_ir_is_the_one_asked_for(tmp_path):
    counts = np.tile(np.arange(64, dtype=np.uint16) * 100 + 1000, (48, 1))
    cv2.imwrite(str(tmp_path / "ir.png"), counts)
    cv2.imwrite(str(tmp_path / "vis.png"), np.zeros((48, 64), np.uint8))
    ir, vis, out = (str(tmp_path / f"{n}.png") for n in ("ir", "vis", "out"))
    seen = {}
    for text, region in (("percentile", None), ("fixed:1000,3550", None), ("percentile", "0,0,0.5,1")):
        gain = parse_gain(text, parse_region(region) if region else None)
        run_job(Job(ir, vis, tmp_path / "out.png", choice=Choice("ir"), gain=gain,
                    settings=SinkSettings(overwrite=True)), None)  # fmt: skip
        seen[text, region] = cv2.imread(out, cv2.IMREAD_UNCHANGED)[0]
    assert seen["fixed:1000,3550", None].tolist() == [min(10 * k, 255) for k in range(64)]
    assert seen["percentile", None][[0, -1]].tolist() == [0, 255]
    assert (seen["percentile", "0,0,0.5,1"][31:] == 255).all()


def test_a_palette_that_is_none_is_refused_before_anything_is_written(tmp_path, pair):
    with pytest.raises(InputError, match="palette 'iron': not known"):
        run_job(Job(*pair, tmp_path / "out.mkv", palette="iron"), VisFuser())
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("values", [{"weight": 1.1}, {"weight": float("nan")}, {"hot_level": 256}, {"hot_level": -1},
                                    {"divider": 2.0}, {"view": "both"}])  # fmt: skip
def test_choices_that_are_none_are_refused(values):
    with pytest.raises(InputError, match=r"give 0 |use one of fused, ir"):
        Choice(**values)


def test_the_command_line_shows_a_view_without_opening_a_network(tmp_path, pair, monkeypatch):
    monkeypatch.setattr("run_stream.open_chosen", lambda *given, **more: pytest.fail("a network was opened"))
    out, stats = tmp_path / "out.mkv", tmp_path / "stats.json"
    arguments = ["fuse", *pair, "-o", str(out), "--view", "hot", "--palette", "lava", "--hot-level", "200",
                 "--codec", "ffv1", "--stats", str(stats)]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "view hot: ir.mkv 64x48 + vis.mkv 64x48 -> out.mkv 64x48" in done.output
    told = json.loads(stats.read_text())
    assert (told["view"], told["fuser"], told["model"], told["frames"]) == ("hot", None, None, 3)
    shown = rgb_of(out)
    assert np.abs(shown[2] - palette("lava").table[220]).max() <= 5
    assert np.abs(shown[0] - shown[1]).max() == 0  # both below the level: VIS


@pytest.mark.parametrize(("agc", "low"), [(None, 40), ("percentile", 128), ("fixed:40,295", 0)])
def test_8_bits_stay_as_they_are_unless_a_gain_is_asked_for(tmp_path, pair, agc, low):
    out = tmp_path / "out.mkv"
    arguments = ["fuse", *pair, "-o", str(out), "--view", "ir", "--codec", "ffv1", *(("--agc", agc) if agc else ())]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    with open_source(str(out)) as source:
        assert abs(int(next(source.frames()).luma[0, 0]) - low) <= 1
