"""What a number was measured on: the machine, and the versions of what ran on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from engines.cores import decoder_threads, network_threads, pairs_abreast
from engines.model import version

INSTRUCTIONS = (
    "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8",
    "amx_bf16", "asimd", "asimddp", "sve", "i8mm", "bf16",
)  # fmt: skip
"""Flags of /proc/cpuinfo that network runtimes choose their code by."""
PACKAGES = ("crotalus", "numpy", "opencv-python-headless", "av", "onnxruntime")


def machine() -> dict[str, str]:
    """Processor, cores it may use, instructions, memory, system, Python."""
    return {
        "processor": _processor(),
        "cores": str(cores()),
        "instructions": " ".join(flag for flag in INSTRUCTIONS if flag in _flags()) or "not told",
        "memory": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of the packages that a frame passes through, and of FFmpeg's codecs inside one of them."""
    from av import library_versions

    codec = ".".join(map(str, library_versions["libavcodec"]))
    return {**{package: version(package) for package in PACKAGES}, "libavcodec": codec}


def threads(given: int = 0) -> str:
    """Of each part of a run on a CPU, for so many that were asked for; 0 for none: what suits the cores."""
    network, encoder = network_threads(given), str(given) if given else "its own"
    abreast = f" ({pairs} pairs abreast if it is light)" if (pairs := pairs_abreast(network)) > 1 else ""
    return f"network {network}{abreast}, each decoder {decoder_threads(given)}, encoder {encoder}"


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _flags() -> set[str]:
    return set(_cpuinfo("flags").split() or _cpuinfo("Features").split())


def _cpuinfo(key: str) -> str:
    """The first value of a key of /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key), "")


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (ValueError, OSError, AttributeError):
        return "not told"
