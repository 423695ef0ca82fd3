"""A folder of a store as a user meets it: found, fused into files here, asked for no more than it must be."""

from __future__ import annotations

import fsspec
import pytest
import typer

from pipeline.batch import durable, executors
from pipeline.batch.ledger import read_ledger
from pipeline.commands.batch import batch
from tests.pipeline.batch.archive import Inline, in_one_piece, task_of, write_pair
from tests.pipeline.batch.test_batch_command import crotalus

BLEND = ["view=blend", "preset=ultrafast", "steady=false"]


@pytest.fixture(scope="module")
def park(moto, tmp_path_factory):
    """`s3://archive/park` with two pairs, one of them in a folder, and the framehash of each in one piece."""
    folder, system = tmp_path_factory.mktemp("park"), fsspec.filesystem("s3", use_listings_cache=False)
    truth = {}
    for name, away in (("a", "a"), ("b", "2024/b")):
        write_pair(folder, name, 20)
        for side in ("ir", "vis"):
            system.put_file(str(folder / side / f"{name}.mp4"), f"archive/park/{away}.{side}.cam.mp4")
        truth[away] = in_one_piece(task_of(folder, f"{name}.mp4", name, view="blend"), None, folder)[0]
    return truth


def test_pairs_of_a_folder_in_a_store_are_found_by_a_pattern_and_fused_once(store, park, tmp_path, monkeypatch):
    monkeypatch.setenv("CROTALUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(durable, "_sync", lambda path: None)
    monkeypatch.setattr(executors, "open_executor", lambda *_, **__: Inline(1))

    def run(**more):
        with pytest.raises(typer.Exit) as ended:
            batch(["s3://archive/park"], tmp_path / "out", pattern="{name}.{side}.*", chunk="1s", option=BLEND, **more)
        return ended.value.exit_code

    read = []
    store.fault = lambda _, method, path: read.append(path) if method == "GET" and ".cam.mp4" in path else None
    assert run() == 0
    rows = read_ledger(tmp_path / "out")[0]
    found = {row.out.removeprefix(f"{tmp_path}/out/").removesuffix(".mp4"): row.framehash for row in rows}
    assert found == park
    assert all((tmp_path / "out" / f"{name}.mp4").is_file() for name in park)
    assert len(read) == len(set(read)) == 4  # each file once, for planning, two pieces and joining
    page = tmp_path / "page.html"
    assert run(report=page) == 0
    assert len(read) == 4  # not for pictures either
    assert page.read_text().count("<img") == 24  # three of each of 4 pieces, at random and by how they lie
    assert run(report=page, cache_size="1k") == 0
    assert page.read_text().count("<img") == 0


def test_a_cache_too_small_for_a_pair_is_told_with_the_option(store, park, tmp_path, monkeypatch):
    monkeypatch.setenv("CROTALUS_CACHE", str(tmp_path / "cache"))
    args = ("batch", "s3://archive/park", "-o", tmp_path / "out", "--pattern", "{name}.{side}.*", "--workers", 1)
    done = crotalus(*args, "--cache-size", "1k", *[part for option in BLEND for part in ("--option", option)])
    assert done.returncode == 3
    assert done.stderr.count("the cache takes 1000; give --cache-size more") == done.stderr.count("\n") == 2
    wrong = crotalus(*args, "--cache-size", "much")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "--cache-size: bytes 'much'" in wrong.stderr
