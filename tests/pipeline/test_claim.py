"""Two runs never write one file."""

import os

import pytest

from pipeline.claim import claim, release
from pipeline.frames import OutputError
from pipeline.sink import SinkSettings, open_sink
from tests.pipeline.sink_media import flat_frames, make_info, read_times


def test_a_file_that_came_meanwhile_is_kept(tmp_path):
    sink = open_sink(tmp_path / "a.mp4", make_info())
    (tmp_path / "a.mp4").write_text("precious")
    with pytest.raises(OutputError, match="meanwhile"):
        sink.write(flat_frames([0])[0])
    sink.close()
    assert (tmp_path / "a.mp4").read_text() == "precious"


def test_an_empty_file_that_came_meanwhile_is_kept(tmp_path):
    """It is the file of another run that is about to begin."""
    sink = open_sink(tmp_path / "a.mp4", make_info())
    (tmp_path / "a.mp4").touch()
    with pytest.raises(OutputError, match="meanwhile"):
        sink.write(flat_frames([0])[0])
    sink.close()
    assert (tmp_path / "a.mp4").exists()


def test_the_second_writer_of_a_file_is_refused_and_the_first_one_finishes(tmp_path):
    settings = SinkSettings(overwrite=True)
    one, two = (open_sink(tmp_path / "a.mp4", make_info(), settings) for _ in range(2))
    frames = flat_frames(range(0, 30000, 3000))
    one.write(frames[0])
    with pytest.raises(OutputError, match="another run is writing it"):
        two.write(frames[0])
    two.close()
    for frame in frames[1:]:
        one.write(frame)
    one.close()
    assert len(read_times(tmp_path / "a.mp4")) == 10
    release(claim(tmp_path / "a.mp4", may_replace=True))  # free again


def test_what_cannot_be_opened_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        claim(tmp_path / "nowhere" / "a.mp4", may_replace=False)
    release(None)
    assert os.listdir(tmp_path) == []
