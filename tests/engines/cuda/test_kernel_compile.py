"""rules.cu compiled for GPUs by nvcc: for each architecture, without spilling registers; and the PTX that we ship.

That it compiles is all that this shows: nothing here runs on a GPU.
"""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from engines import kernels
from engines.launches import SIGNATURES

ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 120)
MOST_REGISTERS = 64
"""65536 registers of a multiprocessor / 64 = 4 blocks of 256 threads: half of what it holds at most."""
USAGE = re.compile(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers", re.DOTALL)
PARAMETER_TYPES = {"P": "u64", "Q": "u64", "I": "u32", "i": "u32", "f": "f32"}


@pytest.fixture(scope="module")
def nvcc():
    found = kernels.find_nvcc()
    if found is None:
        pytest.skip(f"no nvcc; {kernels.FIX}")
    return found


@pytest.fixture(scope="module")
def usages(nvcc, tmp_path_factory):
    """For each (architecture, maps) a future of (spilled bytes, registers) of each kernel; two at a time."""
    folder = tmp_path_factory.mktemp("cubins")
    wanted = [(a, 128) for a in ARCHITECTURES] + [(75, maps) for maps in (8, 16, 32, 64, 256)]
    with ThreadPoolExecutor(2) as pool:
        yield {key: pool.submit(register_usage, nvcc, folder, *key) for key in wanted}
        pool.shutdown(cancel_futures=True)


def register_usage(nvcc, folder, architecture, maps):
    out = folder / f"{architecture}_{maps}.cubin"
    options = [*kernels.compile_options(maps), f"-arch=sm_{architecture}", "-Xptxas", "-v,-warn-spills", "-cubin"]
    done = subprocess.run([nvcc, *options, "-o", out, kernels.SOURCE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    return {name: (int(spilled), int(registers)) for name, spilled, registers in USAGE.findall(done.stderr)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_register_is_spilled(usages, architecture):
    _check(usages[architecture, 128].result(), f"sm_{architecture}")


@pytest.mark.parametrize("maps", [8, 16, 32, 64, 256])
def test_other_numbers_of_maps_compile(usages, maps):
    _check(usages[75, maps].result(), f"sm_75, {maps} maps")


def _check(usage, what):
    print(what, *(f"{name.removeprefix('crotalus_')} {registers}" for name, (_, registers) in sorted(usage.items())))
    assert set(usage) == set(SIGNATURES)
    assert all(spilled == 0 and registers <= MOST_REGISTERS for spilled, registers in usage.values()), usage


def test_shipped_ptx_belongs_to_the_source():
    assert kernels.shipped_ptx(128), "rules.cu or its options changed: run `python -m engines.kernels`"


def test_shipped_ptx_is_what_drivers_since_cuda_11_read():
    text = kernels.SHIPPED_PTX.read_text()
    assert re.search(r"(?m)^\.version 7\.0$", text)
    assert re.search(r"(?m)^\.target sm_75$", text)
    assert text.isascii()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shipped_ptx_assembles(nvcc, architecture, tmp_path):
    ptxas = nvcc.resolve().with_name("ptxas")
    if not ptxas.exists():
        pytest.skip(f"no ptxas beside {nvcc}; {kernels.FIX}")
    command = [ptxas, f"-arch=sm_{architecture}", "-o", tmp_path / "out.cubin", kernels.SHIPPED_PTX]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_product_and_sum_are_rounded_as_one():
    assert not re.search(r"\bfma\.", kernels.SHIPPED_PTX.read_text())


@pytest.mark.parametrize("kernel", SIGNATURES)
def test_parameters_are_those_that_we_pack(kernel):
    text = kernels.SHIPPED_PTX.read_text()
    parameters = re.search(rf"\.entry {kernel}\((.*?)\)", text, re.DOTALL)
    assert re.findall(r"\.param \.(\w+)", parameters[1]) == [PARAMETER_TYPES[c] for c in SIGNATURES[kernel]]


def test_features_move_sixteen_bytes_at_a_time():
    text = kernels.SHIPPED_PTX.read_text()
    count, fuse = (
        re.search(rf"\.entry {name}\(.*?\n}}", text, re.DOTALL)[0] for name in ("crotalus_count", "crotalus_fuse")
    )
    assert len(re.findall(r"ld\.global\S*\.v4\.u32", count)) == 4  # in flight at once
    assert len(re.findall(r"ld\.global\S*\.v4\.u32", fuse)) == 4  # two private, two common
    assert len(re.findall(r"st\.global\S*\.v4\.u32", fuse)) == 2


def test_writing_the_ptx_ties_it_to_the_source(nvcc, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kernels, "SHIPPED_PTX", tmp_path / "kernels.ptx")
    assert kernels.main() == 0
    assert kernels.shipped_ptx(128) == (tmp_path / "kernels.ptx").read_bytes()
    assert "bytes" in capsys.readouterr().out
    changed = tmp_path / "rules.cu"
    changed.write_text(kernels.SOURCE.read_text() + "\n")
    monkeypatch.setattr(kernels, "SOURCE", changed)
    assert kernels.shipped_ptx(128) is None
