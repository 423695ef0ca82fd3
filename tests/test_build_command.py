"""`run_stream.py build`: engines in the user's cache, from the shipped model, without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build(cache, *args):
    command = [sys.executable, str(ROOT / "run_stream.py"), "build", *args]
    environment = {**os.environ, "CROTALUS_CACHE": str(cache)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def test_the_shipped_model_is_built_once_and_then_kept(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="pip install 'crotalus[rtx]'")
    arguments = ("--backend", "rtx", "--target", "sm_86", "--size", "320x240")
    first, second = build(tmp_path / "cache", *arguments), build(tmp_path / "cache", *arguments)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    plans = sorted((tmp_path / "cache" / "engines").glob("*.plan"))
    assert [plan.name.split(".")[0] for plan in plans] == ["decoder", "encoder_common", "encoder_ir", "encoder_vis"]
    assert "built in" in first.stdout
    assert "built in" not in second.stdout
    listed = build(tmp_path / "cache", "--list")
    assert all(plan.name in listed.stdout for plan in plans)


def test_an_empty_cache_is_listed_as_such(tmp_path):
    done = build(tmp_path / "cache", "--list")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "none")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--size", "huge"), "huge"),
        (("--precision", "int4"), "int4"),
        (("--backend", "rtx", "--target", "sm_1"), "sm_1"),
        (("nothing",), "no such model"),
        (("--batch", "0"), "batch"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_two(tmp_path, arguments, reason):
    if "rtx" in arguments:
        pytest.importorskip("tensorrt_rtx", reason="pip install 'crotalus[rtx]'")
    done = build(tmp_path / "cache", *arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
