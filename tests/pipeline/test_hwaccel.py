"""Video that stays on the device: the pictures, times and sounds of the way through the host, and a note where it must.

The device is emulated, decoder and encoder play on host memory; all between is what a GPU runs.
"""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from engines.classical import open_classical
from engines.device_picture import DevicePicture, Onto
from pipeline import device_job, hardware
from pipeline.align import Geometry
from pipeline.device_frames import on_host, why_on_host
from pipeline.frames import Colour, InputError
from pipeline.job import Job, run_job
from pipeline.luma import LIMITED, TO_FULL, TO_LIMITED
from pipeline.sink import SinkSettings
from pipeline.source import open_source
from pipeline.stats import Stats
from pipeline.stream import Options, fused_frames
from pipeline.sync import SyncPolicy, SyncReport
from pipeline.thermal import Gain
from pipeline.views import Choice
from tests.engines.cuda.host_device import TEMPERS
from tests.pipeline.host_video import HostDecoder, mean_fuser
from tests.pipeline.media import fill, noise, planar, write_video
from tests.pipeline.sink_media import make_clip, read_audio, read_planes

HEIGHT, WIDTH, COUNT = 16, 32, 7
LOSSLESS = {"crf": "0", "preset": "ultrafast"}
EXACT = SinkSettings(crf=0, preset="ultrafast", overwrite=True)


def clip(path, seed=0, *, count=COUNT, size=(HEIGHT, WIDTH), full_range=False, crf=0, **options):
    """Noise in luma and chroma; stored without loss at crf 0, in a profile that no GPU decodes."""
    height, width = size
    coding = LOSSLESS | {"lossless": "1"} if crf == 0 else {"crf": str(crf)}
    half = (height + 1) // 2, (width + 1) // 2
    frames = []
    for k in range(count):
        planes = noise(height, width, seed + k), *(noise(*half, seed + 100 * c + k) for c in (1, 2))
        frame = planar(*(plane if full_range else plane // 2 + 60 for plane in planes))
        frame.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
        frames.append(frame)
    return write_video(path, frames, options=coding, **options)


@pytest.fixture
def pair(tmp_path):
    return clip(tmp_path / "ir.mp4"), clip(tmp_path / "vis.mp4", seed=1000)


@pytest.fixture
def fuser(kernel_library):
    opened = mean_fuser(kernel_library)
    yield opened
    opened.close()
    assert opened._device.left[1:] == (0, 0), "pinned arrays and recordings that nobody gave back"
    assert opened._device.left[0] == opened._device.held, "allocations that nobody gave back, beside decoded frames"


@pytest.fixture
def hosted(monkeypatch, fuser):
    """Decoder and encoder of the emulated device in place of NVIDIA's; counts what goes by way of the host."""
    decoder = HostDecoder(fuser._device)
    monkeypatch.setattr(device_job, "Nvdec", lambda: decoder)
    monkeypatch.setattr(device_job, "CODECS", ("libx264",))
    monkeypatch.setattr(device_job, "nvenc", lambda codec, width, height: hardware.USABLE)
    return decoder


@pytest.fixture
def passed(monkeypatch):
    """How many pictures were brought to the host and how many handed to an encoder on the device."""
    from pipeline import device_frames, video_sink

    counts = Counter()
    fetched, handed = device_frames._fetched, video_sink.as_video_frame

    def count_fetched(picture):
        counts["host"] += 1
        return fetched(picture)

    def count_handed(picture):
        counts["device"] += 1
        return handed(picture)

    monkeypatch.setattr(device_frames, "_fetched", count_fetched)
    monkeypatch.setattr(video_sink, "as_video_frame", count_handed)
    return counts


def fused(job, fuser):
    """Notices, result, and what a reader finds in the output: planes, times, audio, tags."""
    told = []
    result = run_job(job, fuser, on_open=lambda opened: told.extend(opened.notices))
    with av.open(str(job.out)) as file:
        times = [frame.pts * frame.time_base for frame in file.decode(video=0)]
    with av.open(str(job.out)) as file:
        context = file.streams.video[0].codec_context
        tags = context.color_range, context.color_primaries, context.color_trc, context.colorspace
    found = {"planes": read_planes(job.out), "times": times, "audio": read_audio(job.out), "tags": tags}
    return told, result, found


def both_ways(job, fuser):
    """The same job with and without hardware video, held equal; what the first said."""
    told, result, found = fused(job, fuser)
    _, _, wanted = fused(replace(job, out=job.out.with_name(f"host_{job.out.name}"), hwaccel="off"), fuser)
    assert len(found["planes"]) == len(wanted["planes"]) > 0
    for k, (ours, theirs) in enumerate(zip(found["planes"], wanted["planes"], strict=True)):
        for got, reference in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(got, reference, err_msg=f"frame {k}")
    assert {key: found[key] for key in ("times", "audio", "tags")} == {
        key: wanted[key] for key in ("times", "audio", "tags")
    }
    assert result.complaints == []
    return told


def job_of(pair, tmp_path, **more):
    return Job(str(pair[0]), str(pair[1]), tmp_path / "out.mp4", settings=more.pop("settings", EXACT), **more)


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("temper", TEMPERS)
def test_pictures_that_never_leave_the_device_are_those_of_the_host(tmp_path, kernel_library, temper, full_range):
    paths = [clip(tmp_path / f"{k}.mp4", seed=k, full_range=full_range) for k in (3, 4)]
    fuser = mean_fuser(kernel_library, temper=temper, seed=5)
    decoder = HostDecoder(fuser._device)
    wanted = []
    with open_source(paths[0]) as ir, open_source(paths[1]) as vis:
        for one, other in zip(ir.frames(), vis.frames(), strict=True):
            wanted.append((fuser.fuse(one.luma, other.luma), other.chroma))
    levels = None if full_range else LIMITED
    with open_source(paths[0], decoder=decoder) as ir, open_source(paths[1], decoder=decoder) as vis:
        assert ir.is_on_device
        assert vis.is_on_device
        options, report = Options(onto=Onto(levels, is_gray=False)), SyncReport()
        got = []
        for frame in fused_frames(ir.frames(), vis.frames(), fuser, options, 0.01, report, Stats()):
            assert isinstance(frame.luma, DevicePicture)
            assert frame.luma.levels is levels
            host = on_host(frame)
            got.append((host.luma.copy(), host.chroma))
            del frame, host
    assert len(got) == len(wanted) == COUNT
    for (luma, chroma), (reference, colour) in zip(got, wanted, strict=True):
        stored = reference if full_range else TO_FULL[TO_LIMITED[reference]]
        np.testing.assert_array_equal(luma, stored)
        for ours, theirs in zip(chroma, colour, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    del got
    fuser.close()


def test_the_encoder_gets_the_pictures_of_the_host_with_times_tags_and_audio(tmp_path, fuser, hosted, passed):
    ir = clip(tmp_path / "ir.mp4", count=60, rate=30)
    vis = _with_audio(clip(tmp_path / "vis.mp4", seed=9, count=60, rate=30), tmp_path)
    told = both_ways(job_of((ir, vis), tmp_path), fuser)
    chosen = "encoded on the GPU by libx264, --crf 0 as its crf; pass --codec libx264 for the encoder of the CPU"
    assert told == [chosen]
    assert passed == {"device": 60}
    assert hosted.device.most_held < 100  # of 240 planes: frames are let go of as they are done


def _with_audio(video: Path, folder: Path) -> Path:
    """The video with a tone beside it."""
    out, tone = folder / "vis_tone.mp4", make_clip(folder / "tone.mp4", seconds=2)
    with av.open(str(video)) as pictures, av.open(str(tone)) as sounds, av.open(str(out), "w") as file:
        inputs = [pictures.streams.video[0], sounds.streams.audio[0]]
        outputs = {stream.type: file.add_stream_from_template(stream) for stream in inputs}
        for container, stream in zip((pictures, sounds), inputs, strict=True):
            for packet in container.demux(stream):
                if packet.dts is not None:
                    packet.stream = outputs[stream.type]
                    file.mux(packet)
    return out


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
def test_an_encoder_of_the_host_gets_the_same_pictures(tmp_path, fuser, hosted, passed, full_range):
    pair = [clip(tmp_path / f"{name}.mp4", seed=len(name), full_range=full_range) for name in ("ir", "vis")]
    job = job_of(pair, tmp_path, settings=replace(EXACT, codec="ffv1"))
    told = both_ways(replace(job, out=tmp_path / "out.mkv"), fuser)
    assert told == []  # as asked for
    assert passed == {"host": COUNT}  # the chroma of each VIS frame


def test_gray_leaves_the_chroma_neutral(tmp_path, pair, fuser, hosted, passed):
    both_ways(job_of(pair, tmp_path, tint="gray"), fuser)
    assert passed == {"device": COUNT}


@pytest.mark.parametrize("side", ["ir", "vis"])
def test_one_video_on_the_host_leaves_the_other_on_the_device(tmp_path, fuser, hosted, passed, side):
    paths = {"ir": clip(tmp_path / "ir.mp4"), "vis": clip(tmp_path / "vis.mp4", seed=50)}
    frames = [planar(noise(HEIGHT, WIDTH, k) // 2 + 60) for k in range(COUNT)]
    paths[side] = write_video(tmp_path / f"{side}.avi", frames, codec="mpeg4", options={"qscale": "2"})
    told = both_ways(job_of((paths["ir"], paths["vis"]), tmp_path), fuser)
    reason = "mpeg4 is decoded on the host, for pictures that are the same everywhere"
    if side == "ir":
        assert told[1:] == [f"hwaccel: ir is decoded on the host ({reason})"]
        assert passed == {"device": COUNT}
    else:
        assert told[1:] == [
            f"hwaccel: vis is decoded on the host ({reason}); fused frames pass on the host "
            "(that is where the colour of vis is)"
        ]
        assert passed == {}


@pytest.mark.parametrize(
    ("geometry", "size", "reason"),
    [
        (Geometry(), (HEIGHT * 2, WIDTH * 2), "ir is scaled on the host (64x32 to 32x16)"),
        (Geometry(shift=(3.0, 1.5)), (HEIGHT, WIDTH), "ir is moved on the host (--shift)"),
    ],
)  # fmt: skip
def test_infrared_is_aligned_on_the_host_and_the_rest_stays(tmp_path, fuser, hosted, passed, geometry, size, reason):
    fuser._device.temper = "eager"  # this decoder does not wait where a copy to the host does
    pair = clip(tmp_path / "ir.mp4", size=size), clip(tmp_path / "vis.mp4", seed=50)
    told = both_ways(job_of(pair, tmp_path, geometry=geometry), fuser)
    assert told[1:] == [f"hwaccel: {reason}"]
    assert passed == {"device": COUNT, "host": COUNT}


def test_an_output_of_another_size_is_scaled_on_the_host(tmp_path, pair, fuser, hosted, passed):
    fuser._device.temper = "eager"
    told = both_ways(job_of(pair, tmp_path, geometry=Geometry(size=(24, 12))), fuser)
    assert told[1:] == [
        "hwaccel: ir is scaled, vis is scaled on the host (32x16 to 24x12); fused frames pass on the host "
        "(that is where the colour of vis is)"
    ]
    assert passed == {"host": 2 * COUNT}


def test_a_part_of_the_videos_is_the_same_part(tmp_path, pair, fuser, hosted):
    told = both_ways(job_of(pair, tmp_path, start=0.08, end=0.2, policy=SyncPolicy(tolerance=0.01)), fuser)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("more", "needed"),
    [
        ({"choice": Choice("edges")}, "the view edges"),
        ({"choice": Choice(divider=0.5)}, "the view fused"),
        ({"gain": Gain(is_for_8bit=True)}, "the gain of 8-bit infrared"),
        ({"steady": True}, "a steady picture"),
    ],
)
def test_what_looks_into_the_pictures_keeps_them_on_the_host(tmp_path, pair, fuser, hosted, passed, more, needed):
    told = both_ways(job_of(pair, tmp_path, **more), fuser)
    assert told == [f"hwaccel: decoded and encoded on the host ({needed} is made there)"]
    assert (passed, hosted.opened) == ({}, 0)


@pytest.mark.parametrize("first", [2, 5])
def test_a_decoder_that_gives_up_halfway_loses_nothing(tmp_path, pair, fuser, hosted, first):
    hosted.falls_back_at = first
    both_ways(job_of(pair, tmp_path), fuser)


def test_a_fuser_without_a_device_asks_for_no_hardware(tmp_path, pair, monkeypatch):
    monkeypatch.setattr(device_job, "Nvdec", lambda: pytest.fail("hardware decoding for a CPU"))
    monkeypatch.setattr(device_job, "nvenc", lambda *given: pytest.fail("hardware encoding for a CPU"))
    told, _, found = fused(job_of(pair, tmp_path), open_classical("mean"))
    assert (told, len(found["planes"])) == ([], COUNT)


def test_hwaccel_off_asks_for_no_hardware(tmp_path, pair, fuser, monkeypatch):
    monkeypatch.setattr(device_job, "Nvdec", lambda: pytest.fail("asked for"))
    assert fused(job_of(pair, tmp_path, hwaccel="off"), fuser)[0] == []


needs_no_gpu = pytest.mark.skipif(hardware.nvdec() == hardware.USABLE, reason="this GPU decodes: nothing falls back")


@needs_no_gpu
def test_without_a_driver_all_falls_back_in_one_note_and_loses_nothing(tmp_path, pair, fuser):
    told = both_ways(job_of(pair, tmp_path, settings=replace(EXACT, crf=20)), fuser)
    reason = "no NVIDIA driver, or none that FFmpeg can use"
    assert told == [f"hwaccel: ir is decoded, vis is decoded, the output is encoded on the host ({reason})"]


@needs_no_gpu
def test_the_note_is_printed_once(tmp_path, pair, fuser, monkeypatch, capsys):
    import run_stream

    monkeypatch.setattr(run_stream, "open_chosen", lambda *given, **options: fuser)
    given = ["fuse", str(pair[0]), str(pair[1]), "--out", str(tmp_path / "out.mp4")]
    assert run_stream.app([*given, "--hwaccel", "auto"], standalone_mode=False) == 0
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("hwaccel:") == 1
    assert len(read_planes(tmp_path / "out.mp4")) == COUNT


@needs_no_gpu
def test_an_encoder_named_that_cannot_run_is_an_error_before_anything_is_written(tmp_path, pair, fuser):
    with pytest.raises(InputError, match=r"h264_nvenc cannot encode 32x16 yuv420p \(.+\); choose another --codec"):
        run_job(job_of(pair, tmp_path, settings=SinkSettings("h264_nvenc", overwrite=True)), fuser)
    assert not (tmp_path / "out.mp4").exists()


@needs_no_gpu
def test_probes_give_a_reason_and_never_raise():
    reason = "no NVIDIA driver, or none that FFmpeg can use"
    assert (hardware.nvdec(), hardware.nvenc(), hardware.nvenc("hevc_nvenc", 640, 480)) == (reason, reason, reason)
    assert hardware.nvenc("no such codec") == "no such codec"


def test_a_probe_that_can_encode_says_so():
    assert hardware.nvenc("libx264", 64, 48) == hardware.USABLE


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: clip(path, size=(15, 32), codec="libvpx-vp9", format="webm"), "32x15 has an odd side"),
        (lambda path: clip(path, rotation=(90, False, False)), "it is to be turned upright"),
        (lambda path: clip(path), None),
    ],
)
def test_what_a_device_cannot_take_as_it_is_goes_to_the_host(tmp_path, kernel_library, make, reason):
    fuser = mean_fuser(kernel_library)
    assert why_on_host(make(tmp_path / "a.mp4"), HostDecoder(fuser._device)) == reason
    fuser.close()


def test_more_than_8_bits_go_to_the_host(tmp_path, pair, fuser):
    assert why_on_host(pair[0], HostDecoder(fuser._device, kind="p010le")) == "p010le is not 8-bit 4:2:0"
    assert why_on_host(pair[0], HostDecoder(fuser._device, falls_back_at=0)) is None  # pts 0 is before any other
    decoder = HostDecoder(fuser._device)
    decoder.on_device = lambda frame: None
    assert why_on_host(pair[0], decoder) == "the GPU does not decode this h264"


@pytest.mark.parametrize("colour", [Colour(True, 1, 1, 1), Colour(False, 9, 16, 9)])
def test_colours_of_the_input_are_told_by_an_output_from_the_device(tmp_path, fuser, hosted, colour):
    ir, vis = tmp_path / "ir.mp4", tmp_path / "vis.mkv"
    clip(ir)
    frames = []
    for k in range(3):
        frame = planar(noise(HEIGHT, WIDTH, k) // 2 + 60)
        frame.color_range = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
        frames.append(frame)
    with av.open(str(vis), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options=LOSSLESS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = stream.codec_context
        context.color_range, context.color_primaries = frames[0].color_range, colour.primaries
        context.color_trc, context.colorspace = colour.transfer, colour.matrix
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    both_ways(job_of((ir, vis), tmp_path), fuser)


def test_a_picture_on_the_device_is_read_with_its_pitch():
    frame = av.VideoFrame(WIDTH, HEIGHT, "nv12")
    luma = noise(HEIGHT, WIDTH, 3)
    fill(frame.planes[0], luma)
    fill(frame.planes[1], np.tile(np.uint8([90, 200]), (HEIGHT // 2, WIDTH // 2)))
    from pipeline.device_frames import _borrowed, _fetched

    picture = _borrowed(frame, is_limited=True)
    assert picture.luma.pitch == frame.planes[0].line_size
    assert picture.shape == (HEIGHT, WIDTH)
    got, (u, v) = _fetched(picture)
    np.testing.assert_array_equal(got, TO_FULL[luma])
    assert (u == 90).all()
    assert (v == 200).all()


def test_frames_that_stay_on_the_device_are_steadied_only_if_asked(tmp_path, pair, fuser, hosted):
    for asked, is_steady, word in ((None, False, "steady: off"), (True, True, "a steady picture"), (False, False, "")):
        job = Job(*map(str, pair), tmp_path / "out.mp4", settings=EXACT, steady=asked)
        told, result, _ = fused(job, fuser)
        assert result.is_steady is is_steady
        assert any(word in line for line in told)
        assert sum("steady" in line for line in told) == bool(word)
