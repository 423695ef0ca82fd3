"""docs/gpu_profile.py without a GPU: what it adds up, and that pairs go through in full."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engines.base import SerialFlight
from engines.device import DeviceError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def profile(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import gpu_profile

    return gpu_profile


class Fuser:
    """Takes pairs as a flight of some depth hands them over."""

    name = "jcae on torch"

    def __init__(self, depth=1):
        self.pairs, self.depth = [], depth

    def start(self, *, follows):
        flight = SerialFlight(self, follows=follows)
        flight.depth = self.depth
        return flight

    def fuse_next(self, ir, vis, state):
        self.pairs.append((ir, vis))
        return ir, None

    def close(self):
        pass


@pytest.mark.parametrize("depth", [1, 3])
def test_so_many_pairs_go_through_in_their_size_and_none_like_the_one_before(profile, depth):
    fuser = Fuser(depth)
    profile.fuse_pairs(fuser, (7, 5), 6)
    assert [(ir.shape, vis.dtype) for ir, vis in fuser.pairs] == [((5, 7), np.uint8)] * 6
    assert not any((a[0] == b[0]).all() for a, b in zip(fuser.pairs, fuser.pairs[1:], strict=False))


def test_kernels_are_added_up_by_pair_and_the_longest_comes_first(profile):
    spans = [profile.Span(*span) for span in (("copy", 10, 14), ("count", 20, 30), ("count", 30, 60), ("copy", 58, 70))]
    assert profile.table(spans, 2) == [
        " us a pair  calls  us each  kernel or copy",
        "      20.0    1.0     20.0  count",
        "       8.0    1.0      8.0  copy",
        "30.0 us a pair, 90% of it busy",  # 4 + 40 + 10 of 60: what runs at once counts once
    ]
    assert profile.table([], 2) == ["No kernel was seen: is CUPTI there?"]


def test_what_ran_is_read_from_the_profiler_of_torch(profile):
    torch = pytest.importorskip("torch")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.ones(1000, 1000).sum()
    spans = profile.spans_of(profiler, torch.autograd.DeviceType.CPU)
    assert {"aten::ones", "aten::sum"} <= {span.name for span in spans}
    assert all(0 <= span.start_us <= span.end_us for span in spans)
    assert profile.spans_of(profiler, torch.autograd.DeviceType.CUDA) == []


def test_a_gpu_that_fails_is_told_in_one_line(profile, monkeypatch, capsys):
    from engines import torch_cuda

    def lost():
        raise DeviceError("NVIDIA H200: it is lost")

    monkeypatch.setattr(torch_cuda, "open_runtime", lost)
    monkeypatch.setattr(sys, "argv", ["gpu_profile.py", "--backend", "torch"])
    assert profile.main() == 1
    assert capsys.readouterr().err == "error: NVIDIA H200: it is lost\n"


def test_what_is_profiled_comes_after_the_warm_up(profile, monkeypatch, capsys):
    """On a stand-in for torch: the pairs in the profiler's time are those asked for."""
    from engines import torch_cuda

    fuser, seen = Fuser(), []

    class Profiler:
        def __init__(self, activities):
            assert activities == ["CUDA"]

        def __enter__(self):
            seen.append(len(fuser.pairs))
            return self

        def __exit__(self, *_):
            seen.append(len(fuser.pairs))

        def events(self):
            return [SimpleNamespace(device_type=1, name="count", time_range=SimpleNamespace(start=0.0, end=8.0))]

    torch = SimpleNamespace(
        profiler=SimpleNamespace(profile=Profiler, ProfilerActivity=SimpleNamespace(CUDA="CUDA")),
        cuda=SimpleNamespace(synchronize=lambda: None),
        autograd=SimpleNamespace(DeviceType=SimpleNamespace(CUDA=1)),
    )
    monkeypatch.setattr(torch_cuda, "open_runtime", lambda: SimpleNamespace(torch=torch))
    monkeypatch.setattr(profile, "open_parts", lambda info, backend: (None, None))
    monkeypatch.setattr(profile, "DeviceFuser", lambda *_: fuser)
    monkeypatch.setattr(sys, "argv", ["gpu_profile.py", "--backend", "torch", "--size", "8x6", "--pairs", "4"])
    assert profile.main() == 0
    assert seen == [profile.WARM_UP, profile.WARM_UP + 4]
    assert capsys.readouterr().out.splitlines()[::2] == ["jcae on torch", "       2.0    0.2      8.0  count"]
