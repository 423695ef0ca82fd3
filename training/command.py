"""What the command lines of this folder share: whatever is told, a line is a line."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from rich.console import Console


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line without the usage; of several processes, one tells."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.fail(2, message)

    def fail(self, code: int, message: str) -> NoReturn:
        """Print `program: message` on stderr, in the first process of torchrun alone, and leave with the exit code."""
        is_first = os.environ.get("RANK", "0") == "0"
        self.exit(code, f"{self.prog}: {' '.join(message.splitlines())}\n" if is_first else None)


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, or its type if it has none: libraries add paragraphs."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def say(console: Console, line: str) -> None:
    """Print a line as it is: not wrapped where the output is no terminal, and no brackets taken for markup."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)
