"""Ctrl-C outside a run, and what is left of a terminal."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.interrupt import Interrupt, leaving_at_once

ROOT = Path(__file__).parents[2]


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with leaving_at_once(), Interrupt():
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with leaving_at_once(), Interrupt() as interrupt:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            assert not interrupt.stop.is_set()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_import_the_command_line():
    errors = []

    def enter():
        try:
            with leaving_at_once():
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors == []


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.3, 0.4])
def test_an_interrupt_while_starting_is_one_line(tmp_path, delay):
    """Raised inside an import, KeyboardInterrupt was a traceback, or `pip install onnxruntime`."""
    code = (
        "import threading, time, os, signal, run_stream, sys\n"
        f"threading.Timer({delay}, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "import engines.model\n"
        "engines.model.sha256 = lambda path: time.sleep(5)\n"  # a start-up that lasts
        "sys.argv = ['run_stream.py', 'fuse', 'a.mp4', 'b.mp4', '-o', 'out.mp4']\n"
        "run_stream.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_an_import_that_is_interrupted_ends_in_one_line(tmp_path):
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_stream.py"), "--help"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_leaving_at_once_gives_the_cursor_back():
    code = "from pipeline.interrupt import Interrupt\nimport os, time\n"
    code += "with Interrupt() as i:\n    print('ready', flush=True)\n    time.sleep(20)"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", code])
    shown = os.read(terminal, 100)
    assert b"ready" in shown
    for _ in range(2):
        os.kill(pid, signal.SIGINT)
        time.sleep(0.2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert b"\x1b[?25h" in os.read(terminal, 100)
    os.close(terminal)
