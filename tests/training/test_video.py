"""Luma of videos: exact, in full range, and one clear line for what has none."""

import av
import numpy as np
import pytest

from pipeline.luma import TO_FULL as PIPELINE
from tests.training.material import noise, textured
from training.data import DataError
from training.video import TO_FULL, VideoShape, read_video, video_shape, write_gray


def write(path, frames, kind, *, codec="ffv1", full=None):
    """Planes as they are: noise in luma, 128 in chroma. full: the range that the file says, None: nothing."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"crf": "0"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape, kind
        if full is not None:
            stream.color_range = 2 if full else 1
        for luma in frames:
            frame = av.VideoFrame(luma.shape[1], luma.shape[0], kind)
            for k, plane in enumerate(frame.planes):
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
                rows[:, : plane.width] = luma if k == 0 else 128
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_what_is_written_as_gray_is_read_again(tmp_path):
    frames = [noise(33, 47, k) for k in range(4)]
    write_gray(tmp_path / "a.mkv", frames)
    assert video_shape(tmp_path / "a.mkv") == VideoShape(4, 33, 47)
    np.testing.assert_array_equal(read_video(tmp_path / "a.mkv", frames=4), frames)
    np.testing.assert_array_equal(read_video(tmp_path / "a.mkv", frames=2), frames[:2])


def test_limited_range_is_stretched_as_the_pipeline_does(tmp_path):
    frames = [noise(32, 48, k) for k in range(3)]
    np.testing.assert_array_equal(TO_FULL, PIPELINE)
    write(tmp_path / "plain.mkv", frames, "yuv420p", codec="libx264")
    write(tmp_path / "limited.mkv", frames, "yuv444p", codec="libx264", full=False)
    write(tmp_path / "full.mkv", frames, "yuv420p", codec="libx264", full=True)
    for name, wanted in (("plain", PIPELINE[frames]), ("limited", PIPELINE[frames]), ("full", frames)):
        np.testing.assert_array_equal(read_video(tmp_path / f"{name}.mkv", frames=3), wanted, err_msg=name)


@pytest.mark.parametrize("kind", ["yuv420p10le", "bgr0"])
def test_other_pixels_are_refused(tmp_path, kind):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 32, kind
        container.mux(stream.encode(av.VideoFrame.from_ndarray(textured(32, 32), "gray").reformat(format=kind)))
        container.mux(stream.encode())
    with pytest.raises(DataError, match=rf"a.mkv: pixels are {kind}; give 8-bit YUV or gray"):
        read_video(tmp_path / "a.mkv", frames=1)


def test_what_is_no_video_or_too_short_is_told(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    write_gray(tmp_path / "short.mkv", [noise(32, 32)])
    for call, message in (
        (lambda: video_shape(tmp_path / "text.mp4"), "text.mp4: not a readable video"),
        (lambda: read_video(tmp_path / "none.mp4", frames=1), "none.mp4: not a readable video"),
        (lambda: read_video(tmp_path / "short.mkv", frames=2), "1 frames can be decoded, 2 are needed"),
    ):
        with pytest.raises(DataError, match=message):
            call()


def test_a_video_without_pictures_is_told(tmp_path):
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="holds no video"):
        video_shape(tmp_path / "sound.mkv")
