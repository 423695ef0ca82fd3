"""Threads by the cores at hand, and that those who use them ask for them."""

import os

import pytest

from engines import cores
from engines.model import load_model
from engines.onnx_cpu import OnnxFuser


@pytest.mark.parametrize(
    ("count", "network", "decoder"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 2), (8, 8, 4), (64, 64, 4)]
)
def test_the_network_gets_all_cores_and_two_decoders_share_them_up_to_a_limit(monkeypatch, count, network, decoder):
    monkeypatch.setattr(cores, "cores", lambda: count)
    assert (cores.network_threads(), cores.decoder_threads()) == (network, decoder)


def test_threads_that_were_asked_for_are_taken():
    assert (cores.network_threads(7), cores.decoder_threads(7)) == (7, 7)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_only_cores_that_the_process_may_use_count():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores.cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores.cores() == len(allowed)


def test_the_network_s_threads_do_not_spin():
    fuser = OnnxFuser(load_model("jcae-lite"), threads=3)
    options = fuser._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 3
    fuser.close()
