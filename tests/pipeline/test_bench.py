"""What a measurement says, and refuses to say."""

import threading

import pytest
from rich.console import Console

from pipeline.bench import bench, tables
from pipeline.frames import InputError
from pipeline.synthetic import Scene, write_pair
from tests.pipeline.fakes import VisFuser


@pytest.fixture
def pair(tmp_path):
    made = write_pair(tmp_path, Scene(width=32, height=24, frames=8, shift=(0, 0), offset=0.0))
    return str(made.ir), str(made.vis)


def test_fewer_pairs_than_asked_for_are_told(pair):
    rows = bench(pair, [None], VisFuser(), frames=20)
    assert [row.timed for row in rows] == [5, 5, 5]  # 8 less 3 to warm up
    assert str(rows[0]).endswith("frames/s over 5 pairs")


def test_too_few_pairs_to_time_are_refused(tmp_path):
    made = write_pair(tmp_path, Scene(width=32, height=24, frames=3, shift=(0, 0), offset=0.0))
    with pytest.raises(InputError, match="give 3 pairs; at least 4 are needed"):
        bench((str(made.ir), str(made.vis)), [None], VisFuser(), frames=20)


def test_a_stop_returns_what_is_complete(pair):
    stop = threading.Event()
    rows = bench(pair, [None, (16, 12)], VisFuser(), frames=3, stop=stop, on_row=lambda row: stop.set())
    assert len(rows) == 1


def test_the_tables_fit_a_terminal_of_80_columns(pair):
    console = Console(width=80, record=True)
    for table in tables(bench(pair, [None, (16, 12)], VisFuser(), frames=3)):
        console.print(table)
    text = console.export_text()
    for word in ("32x24", "16x12", "plain mean", "Laplacian pyramid", "identity", "frames/s", "decode vis, ms"):
        assert word in text
    assert "…" not in text
