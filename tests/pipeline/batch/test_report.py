"""The page tells what the ledger holds, hides what must not be told, and shows what lies badly."""

import re

import cv2
import numpy as np
import pytest

from pipeline.batch.report import check_report_path, write_report
from pipeline.batch.rows import ChunkRow, TaskRow
from pipeline.batch.samples import Sample, alignment, sample
from pipeline.batch.storage import Storage
from pipeline.batch.task import Task
from pipeline.frames import InputError
from pipeline.sync import SyncPolicy
from pipeline.synthetic import Scene, write_pair


def task_row(name="a.mp4", state="done", **values):
    row = {
        "id": name, "ir": "ir", "vis": "vis", "out": f"/out/{name}", "state": state, "plan": "", "chunks": 2,
        "pairs": 100, "dropped": 0, "video_seconds": 4.0, "frames": 100, "framehash": "", "size": 1, "error": "",
        "complaints": (), "plan_seconds": 0.1, "join_seconds": 0.1, "ended": 30.0,
    }  # fmt: skip
    return TaskRow(**{**row, **values})


def chunk_row(task="a.mp4", number=0, **values):
    row = {
        "task": task, "number": number, "state": "done", "attempt": 0, "redone": 0, "begin_seconds": 2.0 * number,
        "video_seconds": 2.0, "pairs": 50, "frames": 50, "framehash": "", "seconds": 10.0, "host": f"one:{number}",
        "error": "", "started": 100.0 + 10 * number, "ended": 110.0 + 10 * number,
    }  # fmt: skip
    return ChunkRow(**{**row, **values})


def page(tmp_path, rows, chunks, tasks=(), **options):
    file = tmp_path / "report.html"
    write_report(file, rows, chunks, tasks, **options)
    assert [path.name for path in tmp_path.glob("*") if path.suffix == ".html"] == ["report.html"]
    return file.read_text()


def test_sums_are_those_of_the_ledger(tmp_path):
    rows = [task_row(), task_row("b.mp4", "put aside", error="b.mp4: no frame")]
    text = page(tmp_path, rows, [chunk_row(), chunk_row(number=1), chunk_row("b.mp4", state="waiting", frames=0)])
    head = re.findall(r"<th>(.*?)</th>", text)[:9]
    cells = re.findall(r"<td>(.*?)</td>", text)[:9]
    assert dict(zip(head, cells, strict=True)) == {
        "files done": "1 of 2",
        "put aside": "1",
        "chunks done": "2 of 3",
        "frames": "100",
        "video": "4.0 s",
        "from first to last chunk": "20.0 s",
        "frames/s": "5.00",
        "hours of video an hour": "0.20",
        "worker hours an hour of video": "5.00",
    }
    assert "b.mp4: no frame" in text
    assert "Failures: 1<" in text


def test_the_slowest_come_first_and_every_failure_is_listed(tmp_path):
    chunks = [chunk_row(number=k, seconds=10.0 + k, attempt=k % 2, error="lost a worker" * (k % 2)) for k in range(30)]
    text = page(tmp_path, [task_row(complaints=("ir: 3 frames missing",))], chunks)
    slow = text.split("Slowest chunks")[1].split("Hosts")[0]
    assert re.findall(r"<td>(\d+)</td><td>50</td>", slow) == [str(k) for k in range(29, 14, -1)]
    assert "Failures: 16<" in text
    assert text.count("lost a worker") == 15
    assert "ir: 3 frames missing" in text


def test_words_of_others_can_neither_run_nor_tell_a_secret(tmp_path):
    error = "<script>alert(1)</script> s3://k:geheim@b/x?X-Amz-Signature=abcdef failed"
    text = page(tmp_path, [task_row("<b>.mp4", "put aside", error=error)], [])
    assert "<script" not in text
    assert "<b>" not in text
    assert "geheim" not in text
    assert "abcdef" not in text
    assert "default-src 'none'" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_the_worst_aligned_are_shown_and_what_cannot_be_read_is_left_out(tmp_path):
    chunks = [chunk_row(number=k) for k in range(12)]
    picture = np.zeros((24, 32), np.uint8)

    def look(task, time):
        number = int(time // 2)
        if number == 3:
            raise InputError("gone")
        return Sample(picture, picture, None if number == 5 else picture, number / 100)

    tasks = [Task("ir", "vis", "/out/a.mp4")]
    text = page(tmp_path, [task_row()], chunks, tasks, look=look)
    worst = text.split("Worst alignment")[1]
    assert re.findall(r"chunk (\d+), at", worst) == ["0", "1", "2", "4", "5", "6"]
    assert worst.count("<img") == 17  # one has no fused picture
    assert "Of 11 chunks looked at, of 12" in worst
    assert page(tmp_path, [task_row()], chunks, tasks, look=look) == text
    assert "None could be made" in page(tmp_path, [task_row()], chunks, [])


def test_edges_that_lie_on_each_other_score_high_whichever_side_is_bright():
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.integers(0, 256, (240, 320)).astype(np.float32), (0, 0), 4)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    scores = [alignment(255 - np.roll(scene, shift, axis=1), scene) for shift in (0, 2, 4, 8)]
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert scores == sorted(scores, reverse=True)
    assert scores[3] < 0.2
    assert alignment(np.full_like(scene, 7), scene) == 0.0
    assert alignment(scene[:, ::-1], scene) < 0.3


def test_a_sample_is_the_moment_asked_for_of_all_three_files(tmp_path):
    scene = Scene(160, 120, 50)
    pair = write_pair(tmp_path, scene)
    shift = f"{scene.shift[0]},{scene.shift[1]}"
    task = Task(str(pair.ir), str(pair.vis), str(pair.vis), None, SyncPolicy(scene.offset).offset, {"shift": shift})
    found = sample(task, 1.0, Storage(tmp_path / "cache"))
    assert found.ir.shape == found.vis.shape == (120, 160)
    np.testing.assert_array_equal(found.fused, found.vis)  # vis itself stands for the output: the same moment
    moved = sample(
        Task(task.ir, task.vis, str(tmp_path / "none.mp4"), None, task.offset, {"shift": "9,9"}), 1.0, Storage()
    )
    assert moved.fused is None
    assert moved.alignment < found.alignment


@pytest.mark.parametrize(("name", "told"), [("r.txt", r"ends in \.html"), ("none/r.html", "is not a folder")])
def test_a_place_for_the_page_is_checked_before_the_run(tmp_path, name, told):
    with pytest.raises(InputError, match=told):
        check_report_path(tmp_path / name)
    check_report_path(tmp_path / "r.html")
