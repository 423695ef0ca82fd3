"""Libraries of the kernels, compiled once per number of maps."""

import shutil

import pytest

from tests.engines.cuda.harness import build


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
