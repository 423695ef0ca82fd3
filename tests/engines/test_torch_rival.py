"""The rival that our speed stands beside does the same work: its pictures are ours."""

import numpy as np
import pytest

from engines import rules
from engines.device import DeviceError
from engines.model import load_model
from engines.onnx_cpu import OnnxFuser
from engines.torch_cuda import open_runtime
from engines.torch_rival import TorchRival

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("flavour", ["eager fp32", "compile fp16"])
def test_a_rival_fuses_as_the_cpu_does(flavour):
    info, rng = load_model("jcae"), np.random.default_rng(3)
    ir, vis = rng.integers(0, 256, (2, 18, 21), np.uint8)
    rival = TorchRival(info, open_runtime("cpu"), flavour, compiler="eager")  # traced whole, not made into machine code
    got = rival(torch.from_numpy(ir), torch.from_numpy(vis)).numpy()
    rival.close()
    cpu = OnnxFuser(info, threads=1)
    wanted = cpu.fuse(ir, vis)
    cpu.close()
    error = np.abs(got.astype(int) - wanted)
    assert got.shape == wanted.shape
    assert got.dtype == np.uint8
    assert error.max() <= (1 if flavour == "compile fp16" else 0), np.bincount(error.ravel())
    assert wanted.std() > 5


def test_both_rules_are_at_work_and_an_empty_position_weighs_half():
    info, rng = load_model("jcae"), np.random.default_rng(4)
    ir, vis = (rng.random((1, info.maps, 6, 7)).astype(np.float32) for _ in range(2))
    ir[:, ::2], vis[:, ::3] = np.maximum(ir[:, ::2] - 0.8, 0), np.maximum(vis[:, ::3] - 0.5, 0)
    ir[..., 2, 3] = vis[..., 2, 3] = 0
    averaged = rules.averaged_maps(rules.activity(ir, vis), np.float32(info.activity_ratio))
    assert 0 < averaged.sum() < info.maps
    rival = TorchRival(info, open_runtime("cpu"), "eager fp32")
    got = rival._common(torch.from_numpy(ir), torch.from_numpy(vis)).numpy()
    np.testing.assert_allclose(got, rules.fuse_common(ir, vis, averaged), rtol=1e-5)


def test_a_compiler_that_fails_is_an_error_of_ours():
    def compiler(graph, inputs):
        raise RuntimeError("no C compiler")

    runtime = open_runtime("cpu")
    rival = TorchRival(load_model("jcae"), runtime, "compile fp16", compiler=compiler)
    luma = torch.zeros(18, 20, dtype=torch.uint8)
    with pytest.raises(DeviceError, match="no C compiler"):
        runtime.run(None, lambda: rival(luma, luma), what="a rival", needed=0)
    rival.close()
