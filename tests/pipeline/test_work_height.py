"""Fusing at a smaller height: detail of VIS keeps its full size, whatever the sizes, the rig, or what is shown."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import cv2
import numpy as np
import pytest

from calibration.rig import Plane, Rig
from pipeline.align import Geometry, align, enlarged
from pipeline.compose import compose
from pipeline.frames import Frame, InputError, Pair, StreamInfo
from pipeline.job import Job, run_job
from pipeline.live.composer import Composer
from pipeline.live.match import Match
from pipeline.live.status import Controls, LiveFrame
from pipeline.palettes import palette
from pipeline.rigging import Rigging
from pipeline.sink import SinkSettings, open_sink
from pipeline.source import open_source
from pipeline.stats import Stats
from pipeline.stream import Options, fused_frames
from pipeline.sync import SyncReport
from pipeline.thermal import Agc
from pipeline.views import Choice, render
from pipeline.work_height import LEAST, carried, check_work_height, work_size
from tests.pipeline.fakes import VisFuser
from tests.pipeline.media import noise

N = LEAST
LOSSLESS = SinkSettings(codec="ffv1", crf=None, preset=None)


class Watched(VisFuser):
    """VIS and so many levels more; keeps what it was given."""

    def __init__(self, more=0):
        super().__init__()
        self.more, self.given = more, []

    def fuse(self, ir, vis):
        self.given.append((ir.copy(), vis.copy()))
        return cv2.add(super().fuse(ir, vis), np.full_like(vis, self.more))


def smooth(height, width, seed=0):
    """Hills of levels 40 to 200, some 20 px wide."""
    blurred = cv2.GaussianBlur(noise(height, width, seed).astype(np.float32), (0, 0), 5)
    return cv2.normalize(blurred, None, 40, 200, cv2.NORM_MINMAX).astype(np.uint8)


def frame(luma, chroma=None, index=0):
    return Frame(luma, chroma, index, index / 25, index)


def aligned(ir, vis, reference="vis", chroma=None, **geometry):
    pair = Pair(frame(ir), frame(vis, chroma), 0.0)
    return align(pair, Geometry(reference, **{"work_height": N, **geometry}), Agc(), Agc())


@pytest.mark.parametrize(
    ("size", "height", "expected"),
    [
        ((1920, 1080), 480, (854, 480)),
        ((1920, 1080), 1080, (1920, 1080)),
        ((1920, 1080), 2000, (1920, 1080)),
        ((1920, 1080), None, (1920, 1080)),
        ((1281, 961), 481, (640, 480)),  # even sides
        ((480, 640), 320, (240, 320)),
        ((640, 481), 481, (640, 481)),
        ((1, 1000), 100, (1, 100)),  # never wider
    ],
)
def test_the_work_size_keeps_the_shape_has_even_sides_and_never_enlarges(size, height, expected):
    assert work_size(size, height) == expected


def test_a_fuser_that_changes_nothing_gives_vis_back_to_the_bit():
    vis = noise(150, 201)
    small = cv2.resize(vis, (100, 74), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(carried(small, small, vis), vis)


def test_a_change_is_added_to_every_pixel_and_cut_off_at_white_and_black():
    vis = noise(150, 200)  # from pixel to pixel: nothing of it is left at the smaller size
    small = np.full((74, 98), 100, np.uint8)
    brighter, darker = (carried(small + np.uint8(k), small, vis) for k in (70, 256 - 70))
    np.testing.assert_array_equal(brighter, np.minimum(vis.astype(int) + 70, 255))
    np.testing.assert_array_equal(darker, np.maximum(vis.astype(int) - 70, 0))


def test_a_smooth_change_arrives_where_it_belongs():
    """A change that rises across the picture: neither shifted by half a pixel nor coarser than a level."""
    vis = np.full((400, 120), 50, np.uint8)
    rise = np.linspace(0, 200, 120)
    small = cv2.resize(np.tile(rise, (400, 1)), (40, 134), interpolation=cv2.INTER_AREA)
    result = carried(np.rint(50 + small).astype(np.uint8), np.full((134, 40), 50, np.uint8), vis)
    assert np.abs(result[:, 2:-2] - (50 + rise[2:-2])).max() <= 1


def test_pictures_of_several_sizes_and_threads_do_not_meet_in_what_is_kept():
    cases = [(noise(60, 80, seed=k), noise(60, 80, seed=k + 9), noise(height, width, seed=k + 18))
             for k, (height, width) in enumerate([(120, 160), (90, 120), (120, 160), (100, 140)])]  # fmt: skip
    first = [carried(*case) for case in cases]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(10):
            for was, now in zip(first, threads.map(lambda case: carried(*case), cases), strict=True):
                np.testing.assert_array_equal(now, was)
    for (fused, vis, whole), was in zip(cases, first, strict=True):  # none of them was written to by a later one
        change = cv2.resize(fused.astype(np.int16) - vis, whole.shape[::-1], interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(was, np.clip(whole + change, 0, 255))


@pytest.mark.parametrize("reference", ["vis", "ir"])
@pytest.mark.parametrize("size", [(150, 200), (151, 201), (97, 131)])
def test_the_line_brings_vis_through_to_the_bit(size, reference):
    ir, vis = noise(*size, seed=1), noise(*size)
    chroma = noise((size[0] + 1) // 2, (size[1] + 1) // 2), noise((size[0] + 1) // 2, (size[1] + 1) // 2, 3)
    pair = aligned(ir, vis, reference, chroma)
    assert pair.ir.shape == pair.vis.shape == work_size(size[::-1], N)[::-1]
    result = compose(VisFuser().fuse(pair.ir, pair.vis), pair)
    np.testing.assert_array_equal(result.luma, vis)
    assert result.chroma == chroma  # the planes themselves


def test_infrared_is_scaled_once_from_its_own_size():
    ir, vis = noise(120, 160), noise(300, 400)
    pair = aligned(ir, vis)
    np.testing.assert_array_equal(pair.ir, cv2.resize(ir, (128, 96), interpolation=cv2.INTER_AREA))
    np.testing.assert_array_equal(pair.vis, cv2.resize(vis, (128, 96), interpolation=cv2.INTER_AREA))


def test_a_height_that_is_no_smaller_changes_nothing():
    ir, vis = noise(150, 200, 1), noise(150, 200)
    for height in (150, 151, 5000):
        pair = aligned(ir, vis, work_height=height)
        assert pair.whole is None
        assert pair.vis is vis


def test_a_shift_is_in_pixels_of_the_output():
    ir = np.zeros((192, 256), np.uint8)
    ir[90:102, 120:136] = 200  # its middle at (127.5, 95.5)
    pair = aligned(ir, noise(192, 256), shift=(40.0, -20.0))
    y, x = np.average(np.indices(pair.ir.shape).reshape(2, -1), axis=1, weights=pair.ir.ravel())
    assert (x, y) == pytest.approx(((127.5 + 40.5) / 2 - 0.5, (95.5 - 19.5) / 2 - 0.5), abs=0.05)


def rigged(reference):
    """IR of 240x180, VIS of 320x240: the reference's picture is the larger, by a frame around the other's."""
    zoom, x, y = (1.0, 40.0, 30.0) if reference == "vis" else (2.0, -40.0, -30.0)
    plane = Plane(ir_size=(240, 180), vis_size=(320, 240), H=((zoom, 0.0, x), (0.0, zoom, y), (0.0, 0.0, 1.0)))
    return smooth(180, 240), smooth(240, 320, 1), Rigging(Rig(plane=plane))


def test_with_a_rig_vis_is_untouched_where_infrared_does_not_look():
    ir, vis, rig = rigged("vis")
    pair = aligned(ir, vis, rigging=rig)
    assert pair.seen.shape == (96, 128)
    result = compose(Watched(30).fuse(pair.ir, pair.vis), pair).luma
    np.testing.assert_array_equal(result[:24], vis[:24])
    np.testing.assert_array_equal(result[:, :32], vis[:, :32])
    np.testing.assert_array_equal(result[70:170, 80:240], cv2.add(vis, np.full_like(vis, 30))[70:170, 80:240])
    landed = enlarged(pair).ir[70:170, 80:240].astype(int)
    assert np.abs(landed - ir[40:140, 40:200]).mean() < 3  # where the rig puts it


def test_with_a_rig_on_the_grid_of_infrared_its_own_picture_is_shown_where_vis_does_not_look():
    ir, vis, rig = rigged("ir")
    pair = aligned(ir, vis, "ir", rigging=rig)
    full = aligned(ir, vis, "ir", rigging=rig, work_height=None)
    unseen = cv2.dilate(full.seen, np.ones((5, 5))) == 0
    assert unseen.any()
    result = compose(Watched(30).fuse(pair.ir, pair.vis), pair).luma
    np.testing.assert_array_equal(result[unseen], ir[unseen])
    whole = cv2.erode(full.seen, np.ones((15, 15))) == 1
    np.testing.assert_array_equal(result[whole], cv2.add(full.vis, np.full_like(full.vis, 30))[whole])


INFO = StreamInfo("out", 200, 150, Fraction(1, 25))


def test_other_views_are_shown_at_full_size():
    """By the line as if no height had been given; beside a fused picture, from what there is."""
    ir, vis = noise(150, 200, 1), noise(150, 200)
    shown = {}
    for height in (None, N):
        options = Options(geometry=Geometry(work_height=height), choice=Choice("blend"), info=INFO)
        frames = fused_frames(iter([frame(ir)]), iter([frame(vis)]), None, options, 1.0, SyncReport(), Stats())
        shown[height] = next(frames).luma
    np.testing.assert_array_equal(shown[N], shown[None])
    pair = aligned(ir, vis)
    divided = render(pair.vis, pair, Choice("fused", divider=0.5), palette("white hot"), INFO).luma
    beside_the_lines = (np.abs(divided - vis.astype(int)).max(axis=0) == 0)[[95, 105, 190]]
    assert beside_the_lines.all()  # the fused picture, twice, and VIS
    coarse = cv2.resize(cv2.resize(ir, (128, 96), interpolation=cv2.INTER_AREA), (200, 150))
    np.testing.assert_array_equal(divided[:, :60], coarse[:, :60])


@pytest.mark.parametrize(("size", "ir_size"), [((150, 200), (64, 80)), ((151, 201), (151, 201))])
def test_a_video_through_a_fuser_that_changes_nothing_is_the_visible_video(tmp_path, size, ir_size):
    for name, (height, width) in (("ir", ir_size), ("vis", size)):
        info = StreamInfo(name, width, height, Fraction(1, 25), rate=Fraction(25))
        sink = open_sink(tmp_path / f"{name}.mkv", info, LOSSLESS)
        for k in range(3):
            sink.write(frame(noise(height, width, k), index=k))
        sink.close()
    fuser, job = Watched(), Job(
        str(tmp_path / "ir.mkv"), str(tmp_path / "vis.mkv"), tmp_path / "out.mkv",
        geometry=Geometry(work_height=N), settings=LOSSLESS,
    )  # fmt: skip
    run_job(job, fuser)
    given, found = (list(open_source(path).frames()) for path in (job.vis, job.out))
    assert len(found) == 3
    for before, after in zip(given, found, strict=True):
        np.testing.assert_array_equal(after.luma, before.luma)
    assert {picture.shape for both in fuser.given for picture in both} == {(96, 128)}


def test_of_a_folder_only_the_large_images_are_fused_smaller(tmp_path):
    sizes = {"a.png": (150, 200), "b.png": (96, 120), "c.png": (300, 200)}
    for name in ("ir", "vis"):
        (tmp_path / name).mkdir()
        for file, size in sizes.items():
            cv2.imwrite(str(tmp_path / name / file), noise(*size) // 2)
    fuser = Watched(10)
    job = Job(str(tmp_path / "ir"), str(tmp_path / "vis"), tmp_path / "out", geometry=Geometry(work_height=N))
    run_job(job, fuser)
    assert [vis.shape for _, vis in fuser.given] == [(96, 128), (96, 120), (96, 64)]
    for file, size in sizes.items():
        written = cv2.imread(str(tmp_path / "out" / file), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, noise(*size) // 2 + 10)


def test_live_fuses_at_the_height_and_lays_both_cameras_beside_it_at_full_size():
    ir, vis, fuser = noise(120, 160), noise(300, 400), Watched()
    composer = Composer(fuser, Geometry(work_height=N))
    frames = [LiveFrame(frame(luma), 1.0, 1.0) for luma in (ir, vis)]
    for controls in (Controls(), Controls(view="ir"), Controls(divider=0.5)):
        composer.put(Match("vis", "paired", *frames, 1.0, 0.0, 1.0), controls)
    fused, alone, divided = (composer.get() for _ in range(3))
    np.testing.assert_array_equal(fused.frame.luma, vis)
    np.testing.assert_array_equal(alone.frame.luma, cv2.resize(ir, (400, 300)))
    assert [side.luma.shape for side in divided.sides] == [(300, 400)] * 2
    np.testing.assert_array_equal(divided.sides[1].luma, vis)
    assert [given[0].shape for given in fuser.given] == [(96, 128)] * 2


def test_a_steady_picture_rests_at_the_work_size(tmp_path):
    """With grain that is averaged away where nothing moves, VIS keeps its detail."""
    vis = noise(150, 200)
    options = Options(geometry=Geometry(work_height=N), steady=True)
    inputs = ([frame(luma, index=k) for k in range(6)] for luma in (noise(150, 200, 1), vis))
    frames = fused_frames(*map(iter, inputs), VisFuser(), options, 0.01, SyncReport(), Stats())
    for shown in frames:
        np.testing.assert_array_equal(shown.luma, vis)


@pytest.mark.parametrize("height", [LEAST - 1, 0, -480])
def test_a_height_too_small_to_fuse_at_is_refused_before_anything_is_opened(tmp_path, height):
    job = Job("no ir", "no vis", tmp_path / "out.mp4", geometry=Geometry(work_height=height))
    with pytest.raises(InputError, match=rf"^--work-height {height}: give the height to fuse at, {LEAST} px or more$"):
        run_job(job, VisFuser())
    check_work_height(LEAST)
    check_work_height(None)


def test_live_and_batch_take_the_height_by_their_own_names():
    pytest.importorskip("yaml", reason="the extra `live` is not installed")
    from pipeline.batch.recipe import recipe_of
    from pipeline.batch.task import Task
    from pipeline.live.config import LiveConfig, with_options
    from pipeline.live.session import job_of

    config = with_options(LiveConfig(), {"geometry.work_height": 480})
    assert job_of(config, may_replace=False).geometry.work_height == 480
    with pytest.raises(InputError, match=r"^--work-height 95: give the height to fuse at, 96 px or more$"):
        with_options(LiveConfig(), {"geometry.work_height": 95})
    task = Task("ir.mkv", "vis.mkv", "out.mkv", options={"work-height": "480"})
    assert recipe_of(task).job.geometry.work_height == 480
    with pytest.raises(InputError, match=r"^--work-height 0: give"):
        recipe_of(Task("ir.mkv", "vis.mkv", "out.mkv", options={"work_height": "0"}))
