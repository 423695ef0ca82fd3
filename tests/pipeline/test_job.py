"""Jobs from files to files: exact luma, exact time, ranges, folders by name, geometry."""

import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.align import Geometry
from pipeline.frames import Colour, Frame, InputError, StreamInfo
from pipeline.job import Job, run_job
from pipeline.sink import SinkSettings, open_sink
from pipeline.source import open_source
from pipeline.sync import SyncPolicy
from tests.pipeline.fakes import VisFuser

LOSSLESS = SinkSettings(codec="ffv1", crf=None, preset=None)


def ramp(low=0, high=255, height=32, width=256):
    """Full-range luma that holds every level that limited range can tell apart (or all)."""
    return np.tile(np.linspace(low, high, width).round().astype(np.uint8), (height, 1))


def write_video(path, lumas, *, rate=Fraction(25), full_range=False, pts=None, chroma=None, settings=LOSSLESS):
    height, width = lumas[0].shape
    time_base = 1 / rate if pts is None else Fraction(1, 1000)
    info = StreamInfo(path.name, width, height, time_base, rate=rate, colour=Colour(full_range, 6, 6, 6))
    sink = open_sink(path, info, settings)
    for k, luma in enumerate(lumas):
        tick = k if pts is None else pts[k]
        sink.write(Frame(luma, chroma, tick, float(tick * time_base), k))
    sink.close()
    return str(path)


def read(path):
    with open_source(path) as source:
        return source.info, list(source.frames())


def raw_luma(path):
    """Y planes as stored, without our own source."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            yield np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


@pytest.mark.parametrize("ir_full", [False, True])
@pytest.mark.parametrize("vis_full", [False, True])
def test_a_gray_ramp_through_the_identity_comes_back_exactly(tmp_path, vis_full, ir_full):
    luma = ramp()
    ir = write_video(tmp_path / "ir.mkv", [luma] * 3, full_range=ir_full)
    vis = write_video(tmp_path / "vis.mkv", [luma] * 3, full_range=vis_full)
    run_job(Job(ir, vis, tmp_path / "out.mkv", settings=LOSSLESS), VisFuser())
    for before, after in zip(raw_luma(vis), raw_luma(tmp_path / "out.mkv"), strict=True):
        np.testing.assert_array_equal(after, before)
    info, _ = read(tmp_path / "out.mkv")
    assert info.colour.full_range == vis_full


def test_ranges_meet_before_the_fuser(tmp_path):
    """The same picture, once limited and once full: the fuser sees equal luma, up to what 219 levels can hold."""
    luma = ramp()
    ir = write_video(tmp_path / "ir.mkv", [luma], full_range=True)
    vis = write_video(tmp_path / "vis.mkv", [luma], full_range=False)
    seen = {}

    class Look(VisFuser):
        def fuse(self, ir, vis):
            seen.update(ir=ir.copy(), vis=vis.copy())
            return super().fuse(ir, vis)

    run_job(Job(ir, vis, tmp_path / "out.mkv", settings=LOSSLESS), Look())
    assert np.abs(seen["ir"].astype(int) - seen["vis"]).max() <= 1
    assert (seen["vis"].min(), seen["vis"].max()) == (0, 255)


def test_colour_passes_untouched(tmp_path):
    rng = np.random.default_rng(0)
    chroma = tuple(rng.integers(16, 240, (16, 128), np.uint8) for _ in range(2))
    ir = write_video(tmp_path / "ir.mkv", [ramp()])
    vis = write_video(tmp_path / "vis.mkv", [ramp()], chroma=chroma)
    run_job(Job(ir, vis, tmp_path / "out.mkv", settings=LOSSLESS), VisFuser())
    _, frames = read(tmp_path / "out.mkv")
    for plane, wanted in zip(frames[0].chroma, chroma, strict=True):
        np.testing.assert_array_equal(plane, wanted)


def test_gray_output_has_neutral_colour(tmp_path):
    chroma = tuple(np.full((16, 128), v, np.uint8) for v in (90, 160))
    ir = write_video(tmp_path / "ir.mkv", [ramp()])
    vis = write_video(tmp_path / "vis.mkv", [ramp()], chroma=chroma)
    run_job(Job(ir, vis, tmp_path / "out.mkv", tint="gray", settings=LOSSLESS), VisFuser())
    _, frames = read(tmp_path / "out.mkv")
    assert all((plane == 128).all() for plane in frames[0].chroma)


def test_ntsc_rate_stays_exact_over_a_thousand_frames(tmp_path):
    rate = Fraction(30000, 1001)
    settings = SinkSettings(codec="libx264", crf=30, preset="ultrafast")
    lumas = [np.full((16, 16), k % 200, np.uint8) for k in range(1000)]
    ir = write_video(tmp_path / "ir.mp4", lumas, rate=rate, settings=settings)
    vis = write_video(tmp_path / "vis.mp4", lumas, rate=rate, settings=settings)
    run_job(Job(ir, vis, tmp_path / "out.mp4", settings=settings), VisFuser())
    info, frames = read(tmp_path / "out.mp4")
    assert info.rate == rate
    assert [frame.pts * info.time_base for frame in frames] == [k / rate for k in range(1000)]


def test_variable_frame_rate_keeps_its_times(tmp_path):
    pts = [0, 40, 50, 200, 233, 400, 410, 800]
    lumas = [np.full((16, 16), 10 * k, np.uint8) for k in range(8)]
    settings = SinkSettings(crf=20, preset="ultrafast")
    vis = write_video(tmp_path / "vis.mp4", lumas, pts=pts, settings=settings)
    ir = write_video(tmp_path / "ir.mp4", lumas, pts=pts, settings=settings)
    run_job(Job(ir, vis, tmp_path / "out.mp4", SyncPolicy(tolerance=0.001), settings=settings), VisFuser())
    info, frames = read(tmp_path / "out.mp4")
    assert [frame.pts * info.time_base * 1000 for frame in frames] == pts


def test_start_and_end_are_seconds_of_vis_and_the_output_begins_at_zero(tmp_path):
    lumas = [np.full((16, 16), 2 * k, np.uint8) for k in range(100)]
    ir = write_video(tmp_path / "ir.mkv", lumas, full_range=True)
    vis = write_video(tmp_path / "vis.mkv", lumas, full_range=True)
    result = run_job(Job(ir, vis, tmp_path / "out.mkv", start=1.0, end=2.0, settings=LOSSLESS), VisFuser())
    _, frames = read(tmp_path / "out.mkv")
    assert [int(frame.luma[0, 0]) for frame in frames] == [2 * k for k in range(25, 50)]
    assert frames[0].time == 0
    assert result.complaints == []


def test_offset_seeks_the_right_part_of_ir(tmp_path):
    """IR frame k + 50 shows what VIS frame k shows; with --start its partner lies two seconds later in its file."""
    lumas = [np.full((16, 16), k, np.uint8) for k in range(200)]
    ir = write_video(tmp_path / "ir.mkv", lumas, full_range=True)
    vis = write_video(tmp_path / "vis.mkv", lumas[50:150], full_range=True)
    seen = []

    class Look(VisFuser):
        def fuse(self, ir, vis):
            seen.append((int(ir[0, 0]), int(vis[0, 0])))
            return super().fuse(ir, vis)

    policy = SyncPolicy(offset=-2.0)
    run_job(Job(ir, vis, tmp_path / "out.mkv", policy, start=2.0, end=2.4, settings=LOSSLESS), Look())
    assert seen == [(k, k) for k in range(100, 110)]


def test_sizes_differ_and_ir_is_scaled_to_vis(tmp_path):
    ir = write_video(tmp_path / "ir.mkv", [ramp(height=24, width=64)])
    vis = write_video(tmp_path / "vis.mkv", [ramp(height=48, width=128)])
    run_job(Job(ir, vis, tmp_path / "out.mkv", settings=LOSSLESS), VisFuser())
    assert read(tmp_path / "out.mkv")[0].width == 128
    job = Job(ir, vis, tmp_path / "out2.mkv", geometry=Geometry("ir"), settings=LOSSLESS)
    run_job(job, VisFuser())
    info, frames = read(tmp_path / "out2.mkv")
    assert (info.width, info.height, frames[0].luma.shape) == (64, 24, (24, 64))


def test_a_size_of_another_shape_keeps_the_picture_s_shape_by_its_samples(tmp_path):
    ir, vis = (write_video(tmp_path / f"{n}.mkv", [ramp(height=64, width=128)]) for n in ("ir", "vis"))
    told = []
    job = Job(ir, vis, tmp_path / "out.mp4", geometry=Geometry(size=(64, 64)))
    run_job(job, VisFuser(), on_open=told.append)
    assert told[0].out.sample_aspect == 2
    assert read(tmp_path / "out.mp4")[0].sample_aspect == 2


def folder(path, names, sizes=((20, 30),)):
    path.mkdir()
    for k, name in enumerate(names):
        height, width = sizes[k % len(sizes)]
        cv2.imwrite(str(path / name), np.full((height, width), 40 + 10 * k, np.uint8))
    return str(path)


def test_two_folders_become_a_folder_of_the_same_names_and_sizes(tmp_path):
    names = ["img2.png", "img10.png", "ü 1.png"]
    sizes = [(20, 30), (11, 17), (64, 8)]
    ir, vis = folder(tmp_path / "ir", names, sizes), folder(tmp_path / "vis", names, sizes)
    run_job(Job(ir, vis, tmp_path / "out"), VisFuser())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    for k, name in enumerate(names):
        fused = cv2.imdecode(np.fromfile(tmp_path / "out" / name, np.uint8), cv2.IMREAD_UNCHANGED)
        assert fused.shape == sizes[k]
        assert (fused == 40 + 10 * k).all()


def test_folders_are_paired_by_name_and_the_rest_is_told(tmp_path):
    ir = folder(tmp_path / "ir", ["a.png", "c.png", "d.png"])
    vis = folder(tmp_path / "vis", ["a.jpg", "b.png", "d.png"])
    told = []
    run_job(Job(ir, vis, tmp_path / "out"), VisFuser(), on_open=told.append)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jpg", "d.png"]
    assert told[0].notices == ["c.png: no partner in vis", "b.png: no partner in ir"]


def test_two_folders_become_a_video(tmp_path):
    names = [f"{k}.png" for k in range(12)]
    ir, vis = folder(tmp_path / "ir", names), folder(tmp_path / "vis", names)
    run_job(Job(ir, vis, tmp_path / "out.mp4", rate=Fraction(10)), VisFuser())
    info, frames = read(tmp_path / "out.mp4")
    assert (info.rate, len(frames), info.width) == (10, 12, 30)


def test_two_images_become_an_image_in_the_colours_of_vis(tmp_path):
    colour = np.zeros((24, 32, 3), np.uint8)
    colour[:, :16], colour[:, 16:] = (200, 60, 30), (20, 160, 90)
    cv2.imwrite(str(tmp_path / "vis.png"), colour)
    cv2.imwrite(str(tmp_path / "ir.png"), np.full((24, 32), 80, np.uint8))
    run_job(Job(str(tmp_path / "ir.png"), str(tmp_path / "vis.png"), tmp_path / "out.png"), VisFuser())
    fused = cv2.imread(str(tmp_path / "out.png"))
    assert np.abs(fused.astype(int) - colour).max() <= 2  # YCrCb of 8 bits and back


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": 0}, "--limit 0"),
        ({"geometry": Geometry(size=(0, 5))}, "--size 0x5: a side is 1 to 16384"),
        ({"geometry": Geometry(size=(5, 16385))}, "--size 5x16385"),
        ({"policy": SyncPolicy(tolerance=-1.0)}, "--tolerance -1"),
        ({"policy": SyncPolicy(offset=float("nan"))}, "--offset nan"),
        ({"policy": SyncPolicy(offset=50.0)}, "miss each other by"),
        ({"end": 0.5, "policy": SyncPolicy(offset=50.0)}, "before ir begins"),
    ],
)
def test_wrong_use_writes_nothing(tmp_path, changes, message):
    ir, vis = (write_video(tmp_path / f"{n}.mkv", [ramp()] * 10) for n in ("ir", "vis"))
    with pytest.raises(InputError, match=message):
        run_job(Job(ir, vis, tmp_path / "out.mkv", **changes), VisFuser())
    assert not (tmp_path / "out.mkv").exists()


def test_images_have_no_clock_to_shift(tmp_path):
    ir, vis = folder(tmp_path / "ir", ["a.png"]), folder(tmp_path / "vis", ["a.png"])
    with pytest.raises(InputError, match="images have no clock"):
        run_job(Job(ir, vis, tmp_path / "out", SyncPolicy(offset=1.0)), VisFuser())


def test_files_that_start_at_different_times_are_told_about(tmp_path):
    lumas = [np.full((16, 16), k, np.uint8) for k in range(50)]
    ir = write_video(tmp_path / "ir.mkv", lumas)
    vis = write_video(tmp_path / "vis.mkv", lumas, pts=[1400 + 40 * k for k in range(50)])
    told = []
    run_job(Job(ir, vis, tmp_path / "out.mkv", settings=LOSSLESS), VisFuser(), on_open=told.append)
    assert "if both were started together pass --offset 1.400" in told[0].notices[0]


def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path):
    """Resident memory after 1000 and after 10000 of 10000 frames, from files to file."""
    settings = SinkSettings(codec="libx264", crf=40, preset="ultrafast")
    lumas = [np.full((48, 64), 40 + k, np.uint8) for k in range(50)] * 200
    ir, vis = (write_video(tmp_path / f"{n}.mp4", lumas, settings=settings) for n in ("ir", "vis"))
    resident = {}

    def look(stats, report):
        if stats.frames in (1000, 10_000):
            resident[stats.frames] = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    run_job(Job(ir, vis, tmp_path / "out.mp4", settings=settings), VisFuser(), on_frame=look)
    # 9000 frames kept would be 28 MB of luma alone; x264's and the allocator's own buffers settle within a few MB.
    assert resident[10_000] - resident[1000] < 10e6
