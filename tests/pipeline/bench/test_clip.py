"""A clip that is played over again."""

from pathlib import Path

import numpy as np

from pipeline.bench.clip import LOOP, synthetic_pair
from pipeline.video_source import VideoSource


def frames(path):
    with VideoSource(Path(path)) as source:
        return [
            (frame.pts * source.info.time_base, frame.luma.copy()) for frame in source.frames()
        ], source.complaints()


def test_a_long_pair_is_a_short_one_again_and_again_at_the_same_rate(tmp_path):
    for path in synthetic_pair(tmp_path, (32, 24), LOOP + 5):
        found, complaints = frames(path)
        assert len(found) == 2 * LOOP
        assert [time * 25 for time, _ in found] == list(range(2 * LOOP))
        assert all(np.array_equal(found[k][1], found[k + LOOP][1]) for k in range(LOOP))
        moves = not np.array_equal(found[0][1], found[LOOP - 1][1])
        assert moves == ("ir" in Path(path).stem)  # only IR sees the figure that walks
        assert complaints == []


def test_a_short_pair_has_as_many_frames_as_were_asked_for(tmp_path):
    assert [len(frames(path)[0]) for path in synthetic_pair(tmp_path, (32, 24), 7)] == [7, 7]
