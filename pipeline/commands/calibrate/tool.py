"""What wrote a rig, its findings or a report, as they name it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from engines.model import version

PROJECT = Path(__file__).parents[3] / "pyproject.toml"
"""Beside the packages where they run from a folder, without being installed."""


def own_name() -> str:
    """`crotalus 0.1.0`: the version of what is installed, else of the folder that this runs from."""
    number = version("crotalus")
    if number == "not installed":
        number = tomllib.loads(PROJECT.read_text())["project"]["version"] if PROJECT.exists() else ""
    return f"crotalus {number}".strip()
