"""The CUDA kernels: compiled by g++ and run on fibers, compiled by nvcc, and run on a GPU where there is one."""
