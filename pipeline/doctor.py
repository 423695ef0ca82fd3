"""What this machine can run: versions, codecs, hardware, backends and why not, models and their hashes."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av import library_versions

from engines.base import CrotalusError, open_fuser
from engines.classical import CLASSICAL, open_classical
from engines.model import DEFAULT, LIGHT, load_model, shipped_models, version
from pipeline import doctor_gpu
from pipeline.bench import machine
from pipeline.encoding import FORMATS

PACKAGES = (
    "crotalus",
    "numpy",
    "av",
    "opencv-python-headless",
    "onnx",
    "onnxruntime",
    "torch",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "pycuda",
)
DECODERS = ("h264", "hevc", "av1", "vp9", "mjpeg", "ffv1", "mpeg4")
ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "mjpeg", "mpeg4")


def report() -> Iterator[tuple[str, str, str]]:
    """(section, name, finding) of everything worth knowing, in order. Nothing here raises."""
    for name, value in machine().items():
        yield "machine", name, value
    for package in PACKAGES:
        yield "packages", package, version(package)
    yield "video", "ffmpeg", ", ".join(f"{k} {'.'.join(map(str, v))}" for k, v in library_versions.items())
    yield "video", "decoders", _codecs(DECODERS, "r")
    yield "video", "encoders", _codecs(ENCODERS, "w")
    yield "video", "file types", " ".join(FORMATS)
    yield from _models()
    yield "methods", "without a model", " ".join(_method(name) for name in CLASSICAL)
    yield from doctor_gpu.facts()
    yield "backends", "cpu", _cpu()
    yield from doctor_gpu.backends()


def _codecs(names: tuple[str, ...], mode: str) -> str:
    return " ".join(name if _has_codec(name, mode) else f"(no {name})" for name in names)


def _has_codec(name: str, mode: str) -> bool:
    try:
        av.Codec(name, "w" if mode == "w" else "r")
    except ValueError:
        return False
    return True


def _models() -> Iterator[tuple[str, str, str]]:
    yield "models", "auto", f"{LIGHT} on a CPU, {DEFAULT} on a GPU"
    for name in shipped_models():
        try:
            info = load_model(name)
        except CrotalusError as error:
            yield "models", name, f"damaged: {error}"
            continue
        for file, digest in info.files.items():
            yield "models", f"{name}/{file}", f"sha256 {digest}"


def _method(name: str) -> str:
    try:
        open_classical(name)
    except CrotalusError as error:
        return f"(no {error})"
    return name


def _cpu() -> str:
    import numpy as np

    try:
        fuser = open_fuser("auto", backend="cpu")
        picture = np.zeros((32, 32), np.uint8)
        fuser.fuse(picture, picture)
        fuser.close()
    except CrotalusError as error:
        return f"does not run: {error}"
    return f"usable: runs (ONNX Runtime {version('onnxruntime')})"
