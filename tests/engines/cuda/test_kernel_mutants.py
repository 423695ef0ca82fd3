"""Bugs put into rules.cu on purpose: each must fail the fixed checks, or these checks prove nothing."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.kernels import SOURCE
from tests.engines.cuda.harness import build

MAPS = 128
ROOT = Path(__file__).parents[3]
CLIPPED = "fminf(fmaxf(rintf(unit * 255.0f), 0.0f), 255.0f)"
INSIDE = "fminf(fmaxf(at.x, 0.0f), (float)(width - 1))"
OTHER = "__shfl_xor_sync(ALL_LANES, sum_ir, distance)"
READ = "picture[(size_t)y * pitch + x]"
SUM = "sum_ir += a.of[k], sum_vis += b.of[k]"
MUTANTS = {
    # crotalus_count
    "missing barrier before adding": ("    __syncthreads();  // of_block is clear\n", ""),
    "missing barrier before reading": ("    __syncthreads();  // of_block is complete\n", ""),
    "shared counters not cleared": ("i += THREADS) of_block[i] = 0;", "i += THREADS) ;"),
    "count past the tail": ("loaded[k] = position < area ?", "loaded[k] = position <= area ?"),
    "wrong distance of the count": ("distance = LANES; distance < 32", "distance = 1; distance < LANES"),
    "lanes counted twice": ("if (threadIdx.x % 32 < LANES)\n", ""),
    "minus zero counted": ("& 0x7fffu", "& 0xffffu"),
    "blocks count the same positions": ("step = gridDim.x * POSITIONS", "step = POSITIONS"),
    "count of the first picture only": ("common_ir) + (size_t)blockIdx.y * area * LANES", "common_ir)"),
    "ir counted twice": ("(blockIdx.z ? common_vis : common_ir)", "(blockIdx.z ? common_ir : common_ir)"),
    # crotalus_decide
    "threshold not counted when reached": ("activity >= threshold", "activity > threshold"),
    "the more active picture decides": ("*ir < *vis ? *ir : *vis", "*ir > *vis ? *ir : *vis"),
    "counts not cleared": ("    *ir = *vis = 0;", "    "),
    "hysteresis upside down": ("rule == 0u ? if_not : rule == 1u ?", "rule == 1u ? if_not : rule == 0u ?"),
    "state of the first picture only": ("before[map]", "before[threadIdx.x]"),
    # crotalus_fuse
    "wrong distance of the sum": ("distance = LANES / 2;", "distance = LANES / 4;"),
    "sum of seven channels of eight": (f"k < 8; ++k) {SUM}", f"k < 7; ++k) {SUM}"),
    "lane summed in half precision": (SUM, SUM + ", sum_ir = from_half(to_half(sum_ir))"),
    "lanes summed in half precision": (f"sum_ir += {OTHER};", f"sum_ir = from_half(to_half(sum_ir + {OTHER}));"),
    "weights swapped": ("share * a.of[k] + (1.0f - share) * b.of[k]", "share * b.of[k] + (1.0f - share) * a.of[k]"),
    "nothing divided by nothing": ("total > 0.0f ? sum_ir / total : 0.5f", "sum_ir / total"),
    "last position not written": ("is_inside = position < area", "is_inside = position + 1 < area"),
    "idle lanes write": ("        if (is_inside) {\n", "        {\n"),
    "idle lanes leave the shuffle": ("float sum_ir = 0.0f", "if (!is_inside) break;\n        float sum_ir = 0.0f"),
    "flags of four maps used for eight": ("k < 4 ? rule.x : rule.y", "rule.x"),
    "flags of the first picture only": ("averaged[(size_t)blockIdx.y * LANES + lane]", "averaged[lane]"),
    "private rule takes the minimum": ("fused.of[k] = fmaxf", "fused.of[k] = fminf"),
    "positions fused twice in place": ("first += gridDim.x * POSITIONS) {", "first += POSITIONS) {"),
    # crotalus_to_unit
    "border repeated": ("period = 2 * (length - 1)", "period = 2 * length - 1"),
    "no second bounce": ("(position < 0 ? -position : position) % period", "(position < 0 ? -position : position)"),
    "margin off by one": ("reflect(column - margin, width)", "reflect(column - margin + 1, width)"),
    "pitch taken for the width": ("picture[(size_t)y * pitch + x]);", "picture[(size_t)y * width + x]);"),
    "warp read past the border": ("right = left + 1 < width ? left + 1 : left", "right = left + 1"),
    "warp turned over": ("fmaxf(at.x, 0.0f)", "fmaxf(at.y, 0.0f)"),
    "not-a-number followed": (INSIDE, "(at.x < 0 ? 0 : at.x > width - 1 ? width - 1 : at.x)"),
    "tail of the row written": ("if (column >= columns || row", "if (column > columns || row"),
    "second picture not found": ("luma + blockIdx.z * stride", "luma"),
    "levels of the source not looked up": (f"through(table, {READ})", f"({READ})"),
    "one of four samples not looked up": ("(float)through(table, lower[right])", "(float)lower[right]"),
    "a table that is not there is read": ("return table ? table[stored] : stored;", "return table[stored];"),
    # crotalus_*_to_bytes
    "levels of the result not looked up": ("through(table, to_byte(value))", "to_byte(value)"),
    "rounded half up": ("rintf(unit * 255.0f)", "(float)(int)(unit * 255.0f + 0.5f)"),
    "not clipped": (CLIPPED, "fmaxf(rintf(unit * 255.0f), 0.0f)"),
    "not-a-number is white": (CLIPPED, "fmaxf(fminf(rintf(unit * 255.0f), 255.0f), 0.0f)"),
    "written without pitch": ("(size_t)y * pitch + x] = through", "(size_t)y * width + x] = through"),
    # crotalus_copy
    "read at the pitch of the target": ("y * source_pitch + x", "y * target_pitch + x"),
    "written at the pitch of the source": ("y * target_pitch + x", "y * source_pitch + x"),
    "copied beside the picture": ("if (x < width && y < height) target", "if (x < width + 3 && y < height) target"),
    "fill not cropped": ("if (x >= width || y >= height) return;", "if (x >= columns || y >= rows) return;"),
}  # fmt: skip


def run_checks(library):
    """Exit status and error output of the fixed checks in a process of their own, as a mutant may crash it."""
    command = [sys.executable, "-m", "tests.engines.cuda.checks", library, str(MAPS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stderr


def run_mutant(folder, number, found, put):
    source = SOURCE.read_text()
    assert source.count(found) == 1, f"{found!r} occurs {source.count(found)} times in {SOURCE.name}: say it anew"
    mutated = folder / f"mutant_{number}.cu"
    mutated.write_text(source.replace(found, put))
    return run_checks(build(folder, MAPS, mutated, may_warn=True))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, kernel_library):
    """For each mutant a future of its outcome; two at a time."""
    folder = tmp_path_factory.mktemp("mutants")
    kernel_library(MAPS)  # skips where there is no compiler
    with ThreadPoolExecutor(2) as pool:
        futures = {name: pool.submit(run_mutant, folder, i, *pair) for i, (name, pair) in enumerate(MUTANTS.items())}
        yield futures
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", MUTANTS)
def test_bug_is_caught(outcomes, name):
    status, errors = outcomes[name].result()
    assert status < 0 or (status == 1 and "AssertionError" in errors), f"not caught: {status} {errors}"


def test_without_a_bug_the_checks_pass(kernel_library):
    assert run_checks(kernel_library(MAPS)) == (0, "")
