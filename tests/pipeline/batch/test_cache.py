"""Copies are bounded, shared, and never taken from under a reader."""

import subprocess
import sys
import threading

import pytest

from pipeline.batch.cache import Cache, Entry
from pipeline.batch.remote import StorageError
from pipeline.frames import InputError


def entry(letter, size=100, filled=None):
    """A file of one letter. filled: a list that gets its letter each time it is made."""

    def fill(path):
        path.write_bytes(letter.encode() * size)
        if filled is not None:
            filled.append(letter)

    return Entry(f"{ord(letter):08x}", f"{letter}.mp4", size, fill)


def kept(cache):
    return sorted(path.name for path in cache.folder.glob("*/*.mp4"))


def use(cache, *letters, filled=None):
    with cache.held([entry(letter, filled=filled) for letter in letters], 0.0) as paths:
        assert [path.read_bytes() for path in paths] == [letter.encode() * 100 for letter in letters]


def test_the_copy_unused_for_longest_makes_room(tmp_path):
    cache, filled = Cache(tmp_path / "c", 300), []
    for letters in ("a", "b", "c", "a", "d"):
        use(cache, *letters, filled=filled)
    assert kept(cache) == ["a.mp4", "c.mp4", "d.mp4"]
    assert filled == ["a", "b", "c", "d"]
    assert len(list(cache.folder.glob("*.lock"))) == 3


def test_a_copy_in_use_stays_and_others_wait_for_room_in_vain(tmp_path):
    cache = Cache(tmp_path, 200)
    with cache.held([entry("a"), entry("b")], 0.0) as paths:
        with pytest.raises(StorageError, match="all 200 bytes of the cache are in use; give --cache-size more"):
            use(cache, "c")
        assert all(path.exists() for path in paths)
        use(cache, "a", "b")
    use(cache, "c")
    assert len(kept(cache)) == 2


def test_who_waits_for_room_gets_it_when_another_is_done(tmp_path):
    cache = Cache(tmp_path, 100)
    got = threading.Event()

    def later():
        with cache.held([entry("b")], 20.0):
            got.set()

    with cache.held([entry("a")], 0.0):
        thread = threading.Thread(target=later)
        thread.start()
        assert not got.wait(0.3)
    thread.join(10)
    assert got.is_set()


def test_files_that_can_never_fit_together_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.mp4 and b\.mp4: 200 bytes together; the cache takes 150"):
        use(Cache(tmp_path, 150), "a", "b")


def test_of_many_that_want_one_file_one_makes_it(tmp_path):
    cache, filled = Cache(tmp_path, 1000), []
    threads = [threading.Thread(target=use, args=(cache, "a"), kwargs={"filled": filled}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert filled == ["a"]


def test_a_copy_that_failed_takes_no_room_and_is_made_anew(tmp_path):
    cache = Cache(tmp_path, 100)

    def fail(path):
        raise StorageError("store: gone; try again")

    with pytest.raises(StorageError, match="store: gone"):
        cache.held([Entry("61", "a.mp4", 100, fail)], 0.0).__enter__()
    use(cache, "b")
    use(cache, "a")


def test_what_a_killed_process_held_or_had_begun_is_free(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from pipeline.batch.cache import Cache, Entry\n"
        "def fill(path):\n    path.write_bytes(b'half'); print('filling', flush=True); sys.stdin.read()\n"
        "Cache(Path(sys.argv[1]), 100).held([Entry('00000061', 'a.mp4', 100, fill)], 0.0).__enter__()"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=-1, stdout=-1, text=True)
    assert child.stdout.readline() == "filling\n"
    with pytest.raises(StorageError, match="in use"):
        use(Cache(tmp_path, 100), "b")
    child.kill()
    child.wait(10)
    child.stdin.close()
    child.stdout.close()
    use(Cache(tmp_path, 100), "b")
    assert kept(Cache(tmp_path, 100)) == ["b.mp4"]
    use(Cache(tmp_path, 100), "a")


def test_an_error_of_the_body_is_passed_on_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="mine"), Cache(tmp_path, 100).held([entry("a")], 0.0):
        raise FileNotFoundError("mine")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cache: Not a directory; give another folder"):
        use(Cache(tmp_path / "file" / "c", 100), "a")
