"""Another program, waited for until it ends or the user has had enough."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping

POLL = 0.05
"""s between looks at whether the user has had enough."""


def run_program(
    command: list[str], stop: threading.Event, *, env: Mapping[str, str] | None = None
) -> tuple[int, str, str] | None:
    """Its exit code and what it wrote to stdout and stderr; None if `stop` was set, and it was ended. Raises OSError.

    env: its environment, ours if not given.
    """
    # A session of its own: Ctrl-C is for us, who end it.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
        env=env,
    )  # fmt: skip
    try:
        while True:
            try:
                out, said = process.communicate(timeout=POLL)
                return process.returncode, out, said
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    return None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
