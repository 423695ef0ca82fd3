"""What tests of engines share: a small untrained model, exported once, and the kernels as a CPU library."""

import shutil

import pytest

from tests.engines.cuda.harness import build


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    torch = pytest.importorskip("torch")
    from training.export import export
    from training.network import JCAE

    torch.manual_seed(0)
    network = JCAE()
    with torch.no_grad():  # about the brightness of its inputs, so that clipping hides nothing
        network.decoder.conv3.bias.fill_(0.25)
    folder = tmp_path_factory.mktemp("models") / "small"
    export(network, folder, name="small", training={"data": "none"}, metrics={})
    return folder


@pytest.fixture(scope="session")
def kernel_library(tmp_path_factory):
    """A function from a number of maps to the library of its kernels."""
    if shutil.which("g++") is None:
        pytest.skip("no g++; apt-get install g++ to test the CUDA kernels on the CPU")
    folder, built = tmp_path_factory.mktemp("kernels"), {}

    def library(maps):
        if maps not in built:
            built[maps] = build(folder, maps)
        return built[maps]

    return library


@pytest.fixture
def one_thread():
    """torch on one thread: on more, tests that run side by side wait for each other at every operation."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
