"""The line: order, errors from anywhere, stopping, and bounded queues."""

import threading
import time

import pytest

from engines.base import SerialFlight
from pipeline.align import Geometry
from pipeline.frames import InputError
from pipeline.live.composer import Composer
from pipeline.stats import Stats
from pipeline.stream import Options, fused_frames, run
from pipeline.sync import SyncPolicy, SyncReport
from pipeline.threads import DEPTH
from tests.pipeline.fakes import FakeSink, FakeSource, VisFuser


def start(ir=None, vis=None, fuser=None, sink=None, options=None, **kwargs):
    return run(
        ir or FakeSource("ir"),
        vis or FakeSource(),
        fuser or VisFuser(),
        sink or FakeSink(),
        options or Options(),
        **kwargs,
    )


def no_thread_is_left():
    return not [t for t in threading.enumerate() if t.name in ("decode ir", "decode vis", "write")]


def test_every_pair_comes_out_in_order_and_the_sink_is_closed_once():
    sink = FakeSink()
    result = start(ir=FakeSource("ir", 50), vis=FakeSource("vis", 50), sink=sink)
    assert [frame.index for frame in sink.frames] == list(range(50))
    assert sink.closed == 1
    assert (result.stats.frames, result.report.pairs, result.notes) == (50, 50, ["a note"])
    assert result.complaints == ["ir: as ever", "vis: as ever"]
    assert no_thread_is_left()


def test_the_whole_line_runs_without_a_thread():
    before = threading.active_count()
    frames = fused_frames(
        FakeSource("ir").frames(), FakeSource().frames(), VisFuser(), Options(), 0.02, SyncReport(), Stats()
    )
    assert [int(frame.luma[0, 0]) for frame in frames] == list(range(10))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"ir": ("ir", 1000, 25, 20)}, "ir broke at 20"),
        ({"vis": ("vis", 1000, 25, 20)}, "vis broke at 20"),
        ({"fuser": 20}, "fuser broke"),
        ({"sink": (20, False)}, "no space left"),
        ({"sink": (None, True)}, "cannot finish"),
    ],
)
def test_a_stage_that_raises_ends_the_run_with_that_error(parts, message):
    sink = FakeSink(*parts.get("sink", ()))
    began = time.monotonic()
    with pytest.raises((RuntimeError, OSError), match=message):
        start(
            ir=FakeSource(*parts.get("ir", ("ir", 1000))),
            vis=FakeSource(*parts.get("vis", ("vis", 1000))),
            fuser=VisFuser(parts.get("fuser")),
            sink=sink,
        )
    assert time.monotonic() - began < 1.0  # the promise is a second, whatever waits on whichever queue
    assert sink.closed == 1
    assert no_thread_is_left()


def test_an_error_of_the_writer_reaches_a_line_that_waits_for_a_stalled_source():
    release = threading.Event()

    class Stalled(FakeSource):
        def frames(self):
            yield from FakeSource("vis", 5).frames()
            release.wait(5)

    threading.Timer(2.0, release.set).start()
    began = time.monotonic()
    with pytest.raises(OSError, match="no space left"):
        start(vis=Stalled(), sink=FakeSink(fails_at=2))
    assert time.monotonic() - began < 4.0  # the error at once, then the reader until its own deadline of 2 s


def test_frames_fused_before_a_failure_are_in_the_file():
    sink = FakeSink()
    with pytest.raises(RuntimeError, match="fuser broke"):
        start(fuser=VisFuser(fails_at=7), sink=sink)
    assert len(sink.frames) == 7


def test_stop_ends_the_run_with_every_fused_frame_written():
    stop, sink, fuser = threading.Event(), FakeSink(), VisFuser()
    result = start(
        ir=FakeSource("ir", 1000), vis=FakeSource("vis", 1000), fuser=fuser, sink=sink, stop=stop,
        on_frame=lambda stats, report: stop.set() if stats.frames == 9 else None,
    )  # fmt: skip
    assert result.is_interrupted
    assert len(sink.frames) == fuser.calls == 9
    assert result.complaints == []  # nobody asked the sources to keep their promise
    assert no_thread_is_left()


def test_stop_before_the_first_pair_is_not_an_error():
    stop = threading.Event()
    stop.set()
    result = start(stop=stop)
    assert (result.stats.frames, result.is_interrupted) == (0, True)


def test_a_slow_writer_holds_the_readers_back():
    gate, source = threading.Event(), FakeSource("vis", 1000)
    threading.Timer(0.5, gate.set).start()
    seen = []

    def look(stats, report):
        seen.append(source.made)

    result = start(ir=FakeSource("ir", 40), vis=source, sink=FakeSink(gate=gate), on_frame=look)
    assert result.stats.frames == 40
    # Before the gate opened: one frame being written, DEPTH waiting, one in the line, DEPTH read ahead, one being made.
    assert max(made - k for k, made in enumerate(seen)) <= 2 * DEPTH + 4


def test_the_limit_counts_pairs():
    sink = FakeSink()
    result = start(vis=FakeSource("vis", 1000), ir=FakeSource("ir", 1000), sink=sink, options=Options(limit=5))
    assert len(sink.frames) == 5
    assert not result.is_interrupted


def test_streams_that_never_meet_fail_and_close_the_sink():
    sink = FakeSink()
    with pytest.raises(InputError, match="miss each other by"):
        start(sink=sink, options=Options(policy=SyncPolicy(offset=100)))
    assert sink.closed == 1


def test_video_carries_the_state_along_and_single_pictures_do_not():
    fuser = VisFuser()
    start(fuser=fuser)
    assert fuser.states == [None, *range(1, 10)]
    fuser = VisFuser()
    start(fuser=fuser, options=Options(is_video=False))
    assert (fuser.states, fuser.calls) == ([], 10)


def test_waiting_for_frames_is_not_charged_to_sync():
    class Slow(FakeSource):
        def frames(self):
            for frame in super().frames():
                time.sleep(0.02)
                yield frame

    result = start(vis=Slow())
    stages = result.stats.stages
    assert stages["decode vis"].percentile_ms(0.5) >= 19
    assert stages["sync"].percentile_ms(0.5) < 5


class ThreeAtOnce(VisFuser):
    """Hands a picture over only when it must: three are under way; the result comes with its own colour."""

    depth = 3

    def start(self, *, follows):
        self.waiting, self.most = [], 0
        return self

    def put(self, ir, vis):
        self.waiting.append(vis.copy())
        self.most = max(self.most, len(self.waiting))

    def get(self):
        return self.waiting.pop(0)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 20])
def test_a_fuser_with_three_pairs_under_way_loses_none_and_keeps_the_order(count):
    fuser, stats = ThreeAtOnce(), Stats()
    sources = (FakeSource(name, 20).frames() for name in ("ir", "vis"))
    options = Options(limit=count)
    frames = list(fused_frames(*sources, fuser, options, 0.02, SyncReport(), stats))
    assert [(int(frame.luma[0, 0]), frame.index) for frame in frames] == [(k, k) for k in range(count)]
    assert fuser.most == min(count, 3)
    assert stats.stages["fuse"].count == count


class Abreast(ThreeAtOnce):
    """Several pairs side by side for those who ask for as many as can be, else one at a time."""

    def start_abreast(self, *, follows):
        return super().start(follows=follows)

    def start(self, *, follows):
        self.most = 1
        return SerialFlight(self, follows=follows)


def test_a_file_is_fused_several_pairs_abreast_and_a_live_picture_as_soon_as_it_can_be():
    fuser = Abreast()
    sources = (FakeSource(name, 20).frames() for name in ("ir", "vis"))
    frames = fused_frames(*sources, fuser, Options(), 0.02, SyncReport(), Stats())
    assert [int(frame.luma[0, 0]) for frame in frames] == list(range(10 + 10))
    assert fuser.most == 3
    assert Composer(fuser, Geometry()).depth == 1
