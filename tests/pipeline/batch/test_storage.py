"""Files behind addresses: whole or an error in one line, whatever the store does; and no secret told."""

import functools
import http.server
import logging
import os
import threading

import fsspec
import pytest

from pipeline.batch import remote
from pipeline.batch.place import parse_place
from pipeline.batch.remote import Patience, StorageError
from pipeline.batch.storage import Storage
from pipeline.frames import InputError, OutputError
from tests.pipeline.batch.stores import Spoiler

QUICK = Patience(tries=4, first_wait=0.01, request=5.0, deadline=20.0)
BYTES = bytes(range(256)) * 1200  # 307,200


@pytest.fixture(scope="module", autouse=True)
def a_file(moto):
    fsspec.filesystem("s3", use_listings_cache=False).pipe_file("archive/day 1/vis.mp4", BYTES)


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "BLOCK", 100_000)  # four requests for the file
    return Storage(tmp_path / "cache", 10**6, QUICK)


VIS = "s3://archive/day 1/vis.mp4"


def test_a_file_is_fetched_once_and_again_only_when_it_has_changed(store, storage):
    system = fsspec.filesystem("s3", use_listings_cache=False)
    system.pipe_file("archive/a.mp4", BYTES)
    with storage.fetch("s3://archive/a.mp4") as (first,):
        assert first.name == "a.mp4"
        assert first.read_bytes() == BYTES
        stamp = first.stat().st_mtime_ns
    count = store.requests
    with storage.fetch("s3://archive/a.mp4") as (second,):
        assert second == first
    assert store.requests == count + 1  # asked for its version, no more
    system.pipe_file("archive/a.mp4", BYTES[::-1])
    with storage.fetch("s3://archive/a.mp4") as (third,):
        assert third.read_bytes() == BYTES[::-1]
        assert third.stat().st_mtime_ns != stamp


def test_a_copy_made_anew_carries_the_same_time(store, storage, tmp_path):
    with storage.fetch(VIS) as (path,):
        before = path.stat().st_mtime_ns
    with Storage(tmp_path / "other", 10**6, QUICK).fetch(VIS) as (path,):
        assert path.stat().st_mtime_ns == before


def test_a_store_that_answers_500_every_fifth_call_loses_nothing(store, storage, tmp_path):
    (tmp_path / "fused.mp4").write_bytes(BYTES)
    store.fault = lambda number, *_: "500" if number % 5 == 0 else None
    for number in range(2):
        storage.put(tmp_path / "fused.mp4", f"s3://archive/out/{number}.mp4")
        with storage.fetch(f"s3://archive/out/{number}.mp4") as (path,):
            assert path.read_bytes() == BYTES
    assert storage.names("s3://archive/out") == ["0.mp4", "1.mp4"]
    assert store.spoilt >= 2


def test_a_transfer_that_is_cut_is_asked_for_again(store, storage):
    cut = iter(["cut", "cut"])
    store.fault = lambda _, method, path: next(cut, None) if method == "GET" and "vis" in path else None
    with storage.fetch(VIS) as (path,):
        assert path.read_bytes() == BYTES
    assert store.spoilt == 2


def test_a_part_that_comes_short_without_an_error_is_asked_for_again(storage, monkeypatch):
    system = fsspec.filesystem("memory")
    system.pipe_file("/short/a.mp4", BYTES)
    real, asked = type(system).cat_file, []

    def short(self, path, start=None, end=None, **options):
        asked.append(start)
        data = real(self, path, start=start, end=end, **options)
        return data[:-1] if len(asked) == 2 else data

    monkeypatch.setattr(type(system), "cat_file", short)
    with storage.fetch("memory://short/a.mp4") as (path,):
        assert path.read_bytes() == BYTES
    assert asked == [0, 100_000, 100_000, 200_000, 300_000]


def test_a_store_that_always_cuts_ends_in_one_line_and_leaves_no_half_file(store, tmp_path):
    storage = Storage(tmp_path / "cache", 10**6, Patience(1, 0.01, 5.0, 20.0))
    store.fault = lambda _, method, path: "cut" if method == "GET" and "vis" in path else None
    with pytest.raises(StorageError, match=r"s3://archive/day 1/vis\.mp4: could not read it in 1 try") as caught:
        storage.fetch(VIS).__enter__()
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "cache").rglob("*.mp4*")] == []


def test_a_store_that_says_nothing_is_left_at_the_deadline(store, tmp_path):
    storage = Storage(tmp_path / "cache", 10**6, Patience(2, 0.01, 0.3, 20.0))
    store.fault = lambda *_: "silent"
    with pytest.raises(StorageError, match="could not look it up in 2 tries"):
        storage.fetch(VIS).__enter__()


def test_a_file_that_changes_while_it_is_read_is_refused(store, storage):
    system = fsspec.filesystem("s3", use_listings_cache=False)
    system.pipe_file("archive/b.mp4", BYTES)
    changed = []

    def change(_, method, path):
        if method == "GET" and "b.mp4" in path and not changed:
            changed.append(path)
            system.pipe_file("archive/b.mp4", BYTES[::-1])

    store.fault = change
    with pytest.raises(StorageError, match="changed while it was read"):
        storage.fetch("s3://archive/b.mp4").__enter__()


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("s3://archive/none.mp4", "s3://archive/none.mp4: not there; check the name"),
        ("s3://nowhere/a.mp4", "s3://nowhere/a.mp4: no such bucket"),
        ("s3://archive/day 1", "s3://archive/day 1: a folder; name a file in it"),
        ("memory://a/none.mp4", "memory://a/none.mp4: not there; check the name"),
        ("nosuch://a/b.mp4", "nosuch:// is not known"),
        ("s3://AKIA:hush@archive/a.mp4", "s3:// address: a login in it; give keys by the environment"),
        ("zip://a.mp4::s3://archive/a.zip", "another one inside it"),
        ("s3://", "no bucket or host in it"),
    ],
)
def test_what_cannot_be_fetched_is_told_at_once(store, storage, place, told):
    with pytest.raises(InputError) as caught:
        storage.fetch(place).__enter__()
    assert told in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_bucket_that_is_not_there_takes_nothing(store, storage, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"abc")
    with pytest.raises(InputError, match=r"s3://nowhere/a\.mp4: no such bucket"):
        storage.put(tmp_path / "a.mp4", "s3://nowhere/a.mp4")


def test_a_store_without_atomic_writes_gets_the_file_by_a_move(storage, tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(BYTES)
    system = fsspec.filesystem("memory")
    moved = []
    real = type(system).mv
    monkeypatch.setattr(type(system), "mv", lambda self, a, b, **k: (moved.append((a, b)), real(self, a, b, **k)))
    storage.put(tmp_path / "a.mp4", "memory://out/deep/a.mp4")
    assert system.cat_file("/out/deep/a.mp4") == BYTES
    assert len(moved) == 1
    assert moved[0][0].endswith(".part")
    assert storage.names("memory://out") == ["deep/a.mp4"]


def test_a_web_server_is_read_with_and_without_ranges_and_never_written(storage, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web/a.mp4").write_bytes(BYTES)
    (tmp_path / "web/small.mp4").write_bytes(b"small")

    class Quiet(http.server.SimpleHTTPRequestHandler):  # knows no ranges
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        with storage.fetch(f"{base}/a.mp4?sig=secret1", f"{base}/small.mp4") as (large, small):
            assert large.read_bytes() == BYTES
            assert small.read_bytes() == b"small"
        with storage.fetch(f"{base}/a.mp4?sig=tomorrow2") as (again,):
            assert again == large  # another signature, the same file
        with pytest.raises(InputError, match="can only be read"):
            storage.check_writable(f"{base}/a.mp4")
        server.shutdown()
    with pytest.raises(StorageError, match="ClientConnectorError") as caught:
        storage.fetch(f"{base}/b.mp4?sig=secret1").__enter__()
    assert "secret1" not in str(caught.value)


def test_paths_are_passed_on_and_written_whole(storage, tmp_path):
    source = tmp_path / "a.mp4"
    source.write_bytes(BYTES)
    with storage.fetch(str(source), "not there") as (path, missing):
        assert (path, str(missing)) == (source, "not there")
    storage.put(source, str(tmp_path / "deep/out.mp4"))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.mp4"]
    assert (tmp_path / "deep/out.mp4").read_bytes() == BYTES
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="File exists; make room or name another place"):
        storage.put(source, str(tmp_path / "file/out.mp4"))


@pytest.mark.parametrize("login", ["u:p@ss w%40rd/?#", "user:geheim:zwei", "joe:x%2Fy"])
def test_no_login_is_told(login, caplog):
    caplog.set_level(logging.DEBUG, "pipeline")
    spelt = login.replace("@", "%40").replace("/", "%2F").replace("?", "%3F").replace("#", "%23").replace(" ", "%20")
    with Spoiler(9, lambda *_: "500") as bad:
        place = parse_place(f"http://{spelt}@127.0.0.1:{bad.port}/a.mp4?t=tick-tock")
        with pytest.raises(StorageError, match="500") as caught:
            remote.Remote(place, Patience(2, 0.01, 5.0, 20.0)).facts()
    told = f"{caught.value} {caplog.text} {place!r} {place}"
    password = login.partition(":")[2]
    assert caplog.text
    for secret in (password, spelt.partition(":")[2], "tick-tock"):
        assert secret not in told
    assert os.linesep not in str(caught.value)
