"""Who gets which work: a machine that has its file, else whoever is free; and how many workers fit on one."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from pipeline.batch.ray_connection import fitting
from pipeline.batch.ray_posts import Post, hand_out
from pipeline.batch.task import Task
from pipeline.batch.work import Work


def items(*files):
    return deque((Work.plan(Task("ir.mp4", file, "out.mp4"), 1.0), Future()) for file in files)


def given(posts, waiting):
    return {post.host: work.file for post, work in hand_out(posts, waiting)}


def test_a_machine_stays_with_its_file_whatever_the_order_of_the_work():
    posts = [Post(None, "a:1", "a", file="one"), Post(None, "b:2", "b", file="two"), Post(None, "c:3", "c")]
    assert given(posts, items("three", "two", "one")) == {"a:1": "one", "b:2": "two", "c:3": "three"}


def test_a_neighbour_of_one_that_has_the_file_comes_before_a_machine_without_it():
    busy = Post(None, "b:1", "b", items("one")[0], file="one")
    posts = [Post(None, "a:1", "a"), busy, Post(None, "b:2", "b", file="old")]
    assert given(posts, items("one")) == {"b:2": "one"}
    assert posts[2].file == "one"


def test_work_for_nobody_in_particular_is_handed_out_in_its_order():
    waiting = items("large", "middle", "small")
    posts = [Post(None, "a:1", "a"), Post(None, "b:2", "b", file="other")]
    assert given(posts, waiting) == {"a:1": "large", "b:2": "middle"}
    assert [work.file for work, _ in waiting] == ["small"]


def test_workers_that_are_busy_or_not_ready_get_nothing():
    waiting = items("one")
    posts = [Post(None, "a:1", "a", items("two")[0], file="one"), Post(None, "", "b", file="one")]
    assert given(posts, waiting) == {}
    assert len(waiting) == 1


def test_files_without_a_name_are_nobodys():
    unknown = Work("plan", {})
    posts = [Post(None, "a:1", "a"), Post(None, "b:2", "b", file="one")]
    waiting = deque([(unknown, Future()), *items("one")])
    assert dict(sorted(given(posts, waiting).items())) == {"a:1": "", "b:2": "one"}


def test_tenths_of_a_gpu_fit_ten_times():
    need = {"CPU": 1, "GPU": 0.1, "memory": 0}
    assert fitting({"CPU": 64.0, "GPU": 1.0}, need) == 10
    assert fitting({"CPU": 4.0, "GPU": 1.0}, need) == 4
    assert fitting({"CPU": 64.0}, need) == 0
