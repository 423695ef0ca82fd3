"""What the tests of the GPU's video share with those of its kernels."""

from tests.engines.conftest import kernel_library

__all__ = ["kernel_library"]
