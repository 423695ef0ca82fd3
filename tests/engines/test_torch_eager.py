"""The model in torch beside ours: the same picture, and a line where it cannot run."""

import sys

import numpy as np
import pytest

from engines.base import BackendError
from engines.model import ModelError, load_model
from engines.onnx_cpu import OnnxFuser


def test_torch_makes_the_picture_that_we_make():
    pytest.importorskip("torch", reason="torch comes with the extra train")
    pytest.importorskip("onnx", reason="onnx comes with the extra train")
    from engines.torch_eager import EagerFuser

    info, (ir, vis) = load_model("jcae"), np.random.default_rng(0).integers(0, 256, (2, 38, 46), np.uint8)
    ir.setflags(write=False)  # as a decoder's planes are
    ours, theirs = OnnxFuser(info), EagerFuser(info, threads=1)
    error = np.abs(ours.fuse(ir, vis).astype(int) - theirs.fuse(ir, vis))
    assert error.max() <= 1, np.bincount(error.ravel())  # sums of float32 in another order
    flight = theirs.start(follows=True)
    flight.put(ir, vis)
    assert (flight.get() == theirs.fuse(ir[None], vis[None])[0]).all()
    assert theirs.name == "jcae in torch"
    with pytest.raises(BackendError, match="8x38 is within the model's margin of 8 px"):
        theirs.fuse(ir[:, :8], vis[:, :8])
    theirs.close()
    ours.close()


def test_without_torch_it_says_so(monkeypatch):
    from engines.torch_eager import EagerFuser

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=r"torch eager: .*; pip install torch"):
        EagerFuser(load_model("jcae"))


def test_a_model_of_one_graph_is_refused():
    pytest.importorskip("torch", reason="torch comes with the extra train")
    from engines.torch_eager import EagerFuser

    with pytest.raises(ModelError, match="one whole graph"):
        EagerFuser(load_model("deepfuse"))
