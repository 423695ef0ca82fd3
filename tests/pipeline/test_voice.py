"""What is said: names as they are, and no run ended by a listener who left."""

import os

import pytest

from pipeline.voice import WIDTH, Voice


@pytest.mark.parametrize("name", ["br[a]cket [bold]x.mp4", "a[/b].mp4", ":smile:.mp4", "two  blanks.mp4"])
def test_names_are_printed_as_they_are(name, capsys):
    Voice().print(f"{name}: 3 frames")
    assert capsys.readouterr().out == f"{name}: 3 frames\n"


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device")])
def test_a_listener_who_left_is_no_error(error):
    reading, writing = os.pipe()

    class Gone:
        encoding = "utf-8"

        def write(self, text):
            raise error

        def flush(self):
            raise error

        def isatty(self):
            return False

        def fileno(self):
            return writing

    voice = Voice()
    voice.file = Gone()
    voice.print("a")
    voice.print("b")
    assert voice.quiet
    os.write(writing, b"now into nothing")
    os.close(writing)
    assert os.read(reading, 10) == b""
    os.close(reading)


def test_tables_get_room_where_there_is_no_terminal():
    assert Voice().width == WIDTH
