"""What the command lines of this folder share: whatever is told, a line is a line."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line without the usage; of several processes, one tells."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.fail(2, message)

    def fail(self, code: int, message: str) -> NoReturn:
        """Print `program: message` on stderr, once for all processes of torchrun, and leave with the exit code."""
        _tell_once(f"{self.prog}: {' '.join(message.splitlines())}\n")
        self.exit(code)


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, or its type if it has none: libraries add paragraphs."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def say(console: Console, line: str) -> None:
    """Print a line as it is: not wrapped where the output is no terminal, and no brackets taken for markup."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def progress_bar(console: Console) -> Progress:
    """A bar on a terminal, nothing elsewhere. Its tasks have a field `loss`, shown behind the count."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _tell_once(line: str) -> None:
    """Print a line on stderr, unless another process of this start has told of a failure already.

    Whichever fails first tells, for torchrun ends all others as soon as it is gone. torchrun has a folder for each
    start; there lies the mark, locked until the line is out. Without such a folder the first process tells.
    """
    own = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not own:
        if os.environ.get("RANK", "0") == "0":
            sys.stderr.write(line)
        return
    try:
        with (Path(own).parents[1] / "told").open("ab", buffering=0) as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            if not os.fstat(mark.fileno()).st_size:
                print(line, end="", file=sys.stderr, flush=True)
                mark.write(b"1")
    except OSError:  # told twice is better than never
        sys.stderr.write(line)
