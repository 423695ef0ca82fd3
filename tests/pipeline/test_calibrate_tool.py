"""What wrote a rig is named with its version, installed or not."""

import tomllib
from pathlib import Path

import pytest

from pipeline.commands.calibrate import tool

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(("installed", "named"), [("7.8.9", "7.8.9"), ("not installed", PROJECT["version"])])
def test_the_version_is_that_of_the_package(monkeypatch, installed, named):
    monkeypatch.setattr(tool, "version", lambda package: installed if package == PROJECT["name"] else "no")
    assert tool.own_name() == f"crotalus {named}"


def test_without_either_it_is_the_name_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(tool, "version", lambda package: "not installed")
    monkeypatch.setattr(tool, "PROJECT", tmp_path / "pyproject.toml")
    assert tool.own_name() == "crotalus"
