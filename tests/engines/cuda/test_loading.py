"""Which code the driver is given, and what is said where there is none. pycuda is played by stand-ins."""

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest

from engines import kernels
from engines.base import BackendError
from engines.launches import SIGNATURES, Launch


class FakeError(Exception):
    """Stands for pycuda.driver.Error and its kinds."""


@pytest.fixture
def pycuda(monkeypatch):
    """A pycuda that notes what is asked of it."""
    package, driver, compiler = (ModuleType(f"pycuda{name}") for name in ("", ".driver", ".compiler"))
    package.driver, package.compiler = driver, compiler
    driver.Error = driver.CompileError = FakeError
    calls = SimpleNamespace(compiled=None, image=None, launched=None, prepared={}, driver=driver, compiler=compiler)

    def compile_source(source, **options):
        calls.compiled = source, options
        return b"machine code"

    def get_function(name):
        def prepare(form):
            calls.prepared[name] = form
            return SimpleNamespace(prepared_async_call=lambda *given: setattr(calls, "launched", (name, *given)))

        return SimpleNamespace(prepare=prepare)

    def module_from_buffer(image):
        calls.image = image
        return SimpleNamespace(get_function=get_function)

    compiler.compile, driver.module_from_buffer = compile_source, module_from_buffer
    for module in (package, driver, compiler):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


@pytest.fixture
def no_nvcc(monkeypatch):
    monkeypatch.setattr(kernels, "find_nvcc", lambda: None)


@pytest.fixture
def some_nvcc(monkeypatch):
    monkeypatch.setattr(kernels, "find_nvcc", lambda: "/opt/nvcc")


def fail(error):
    def failing(*_, **__):
        raise error

    return failing


def test_source_is_compiled_for_the_model_where_nvcc_is(pycuda, some_nvcc):
    kernels.Kernels(32)
    source, options = pycuda.compiled
    assert source == kernels.SOURCE.read_text()
    assert options["nvcc"] == "/opt/nvcc"
    assert "-DMAPS=32" in options["options"]
    assert options["no_extern_c"]
    assert pycuda.image == b"machine code"
    assert pycuda.prepared == SIGNATURES


def test_shipped_ptx_is_loaded_where_no_nvcc_is(pycuda, no_nvcc):
    kernels.Kernels(128)
    assert pycuda.compiled is None
    assert pycuda.image == kernels.SHIPPED_PTX.read_bytes()


def test_other_maps_need_nvcc(pycuda, no_nvcc):
    with pytest.raises(BackendError, match=r"no PTX shipped for 64 maps; pip install 'crotalus\[nvcc\]'"):
        kernels.Kernels(64)


def test_compiler_that_fails_is_told_and_the_ptx_taken(pycuda, some_nvcc, caplog):
    pycuda.compiler.compile = fail(FakeError("no host\ncompiler"))
    with caplog.at_level(logging.WARNING):
        kernels.Kernels(128)
    assert "/opt/nvcc cannot compile rules.cu (no host compiler); using the PTX" in caplog.text
    assert pycuda.image == kernels.SHIPPED_PTX.read_bytes()


def test_compiler_that_fails_without_ptx_is_an_error_of_one_line(pycuda, some_nvcc):
    pycuda.compiler.compile = fail(FakeError("no host\ncompiler"))
    with pytest.raises(BackendError, match=r"^[^\n]*no host compiler\); pip install[^\n]*$"):
        kernels.Kernels(64)


def test_a_cache_that_cannot_be_written_is_done_without(pycuda, some_nvcc):
    compiled = pycuda.compiler.compile

    def compile_source(source, *, cache_dir=None, **options):
        if cache_dir is not False:
            raise PermissionError(13, "Permission denied", "/nonexistent/.cache")
        return compiled(source, **options)

    pycuda.compiler.compile = compile_source
    kernels.Kernels(128)
    assert pycuda.image == b"machine code"


def test_an_nvcc_that_cannot_be_run_is_told_and_the_ptx_taken(pycuda, some_nvcc, caplog):
    pycuda.compiler.compile = fail(PermissionError(13, "Permission denied", "/opt/nvcc"))
    with caplog.at_level(logging.WARNING):
        kernels.Kernels(128)
    assert "Permission denied" in caplog.text
    assert pycuda.image == kernels.SHIPPED_PTX.read_bytes()


def test_a_driver_older_than_nvcc_is_given_the_ptx(pycuda, some_nvcc, caplog):
    load = pycuda.driver.module_from_buffer

    def refuse_machine_code(image):
        if image == b"machine code":
            raise FakeError("device kernel image is invalid")
        return load(image)

    pycuda.driver.module_from_buffer = refuse_machine_code
    with caplog.at_level(logging.WARNING):
        kernels.Kernels(128)
    assert "device kernel image is invalid; using the PTX" in caplog.text
    assert pycuda.image == kernels.SHIPPED_PTX.read_bytes()
    with pytest.raises(BackendError, match="device kernel image is invalid; update the NVIDIA driver"):
        kernels.Kernels(64)


def test_code_that_the_driver_refuses_is_a_backend_error(pycuda, no_nvcc):
    pycuda.driver.module_from_buffer = fail(FakeError("unsupported toolchain"))
    with pytest.raises(BackendError, match="unsupported toolchain; update the NVIDIA driver"):
        kernels.Kernels(128)


def test_missing_pycuda_is_said_with_its_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(BackendError, match=r"pycuda.*; pip install 'crotalus\[cuda\]', or use --backend cpu"):
        kernels.Kernels(128)


def test_missing_driver_is_said_with_its_fix(monkeypatch):
    class NoDriver:
        def find_spec(self, name, path=None, target=None):
            if name == "pycuda.driver":
                raise ImportError("libcuda.so.1: cannot open shared object file")

    package = ModuleType("pycuda")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.delitem(sys.modules, "pycuda.driver", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoDriver(), *sys.meta_path])
    with pytest.raises(BackendError, match=r"libcuda\.so\.1.*; install an NVIDIA driver"):
        kernels.Kernels(128)


def test_launch_goes_to_the_stream_with_its_sizes_and_arguments(pycuda, no_nvcc):
    kernels.Kernels(128).run(Launch("crotalus_decide", (3, 1, 1), (128, 1, 1), (1, 2, 3, 4, 0.5, 0.5, 0.5)), "stream")
    assert pycuda.launched == ("crotalus_decide", (3, 1, 1), (128, 1, 1), "stream", 1, 2, 3, 4, 0.5, 0.5, 0.5)


def test_nothing_heavy_is_imported_until_a_kernel_is_loaded():
    assert not any(hasattr(kernels, name) for name in ("pycuda", "driver", "compiler"))


def executable(path):
    path.parent.mkdir(parents=True)
    path.write_text("")
    path.chmod(0o755)
    return path


def test_nvcc_is_found_on_the_path_then_where_cuda_home_says(tmp_path, monkeypatch):
    first, second = executable(tmp_path / "first" / "nvcc"), executable(tmp_path / "cuda" / "bin" / "nvcc")
    monkeypatch.setenv("PATH", str(first.parent))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert kernels.find_nvcc() == first
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kernels.find_nvcc() == second


def test_nvcc_is_found_in_the_wheel(tmp_path, monkeypatch):
    nvcc = executable(tmp_path / "nvidia" / "cu13" / "bin" / "nvcc")
    monkeypatch.setattr(kernels, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert kernels.find_nvcc() == nvcc
    nvcc.unlink()
    assert kernels.find_nvcc() is None


def test_writing_ptx_without_nvcc_says_what_to_install(no_nvcc, capsys):
    assert kernels.main() == 2
    assert capsys.readouterr().err == "nvcc: not found; pip install 'crotalus[nvcc]'\n"
