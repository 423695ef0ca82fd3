"""What the driver tells, asked of a driver that a C compiler makes on the spot."""

import subprocess

import pytest

from engines.gpu import NoGpuError, driver_version, find_gpu, flag_primary_context, present_target

DRIVER = r"""
#include <string.h>
#ifndef INIT
#define INIT 0
#endif
#ifndef COUNT
#define COUNT 2
#endif
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7 + ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "NVIDIA Test", length); return device != 7; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 3ul << 32; return device != 7; }
int cuDriverGetVersion(int *version) { *version = 13010; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 12 : 1; return device != 7; }
#ifdef FLAGS
int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) { return device == 7 && flags == 4 ? FLAGS : 1; }
#endif
int cuGetErrorName(int code, const char **name) { *name = code == 100 ? "CUDA_ERROR_NO_DEVICE" : 0; return 0; }
"""


def driver(folder, *options):
    library = folder / "libcuda.so"
    command = ["gcc", "-w", "-shared", "-fPIC", *options, "-x", "c", "-", "-o", str(library)]
    try:
        subprocess.run(command, input=DRIVER.encode(), check=True)
    except FileNotFoundError:
        pytest.skip("no gcc")
    return str(library)


def test_the_first_gpu_is_described(tmp_path):
    gpu = find_gpu(driver(tmp_path))
    assert (gpu.name, gpu.target, gpu.memory_bytes, gpu.cuda) == ("NVIDIA Test", "sm_121", 12 * 2**30, "13.1")
    assert str(gpu).startswith("NVIDIA Test, sm_121, 12.0 GiB, driver ")
    assert present_target(driver(tmp_path)) == "sm_121"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-DINIT=100"], "cannot start: error 100 (CUDA_ERROR_NO_DEVICE)"),
        (["-DINIT=999"], "error 999 (no name)"),
        (["-DCOUNT=0"], "sees no GPU"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_told_with_the_reason(tmp_path, options, reason):
    library = driver(tmp_path, *options)
    with pytest.raises(NoGpuError) as told:
        find_gpu(library)
    assert reason in str(told.value)
    assert present_target(library) is None


def test_a_machine_without_a_driver_has_no_gpu(tmp_path):
    with pytest.raises(NoGpuError, match=r"no NVIDIA driver \(.*missing\.so"):
        find_gpu(str(tmp_path / "missing.so"))


def test_the_primary_context_of_the_first_gpu_is_flagged(tmp_path):
    flag_primary_context(driver(tmp_path, "-DFLAGS=0"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["-DFLAGS=100"], "cannot have a context wait"), ([], "before CUDA 11"), (["-DINIT=100"], "cannot start")],
)
def test_flags_that_a_driver_does_not_take_are_told(tmp_path, options, reason):
    with pytest.raises(NoGpuError, match=reason):
        flag_primary_context(driver(tmp_path, *options))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n", "580.65.06"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n", "570.124.06"),
        ("nothing of the kind", "unknown"),
    ],
)
def test_the_version_of_the_kernel_module_is_read(tmp_path, text, version):
    file = tmp_path / "version"
    file.write_text(text)
    assert driver_version(file) == version
    assert driver_version(tmp_path / "missing") == "unknown"
