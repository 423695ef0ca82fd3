"""What fuses, as the user chose it: a model on a backend, or a method without a model."""

from __future__ import annotations

from collections.abc import Callable

from engines.base import Backend, Fuser, open_fuser
from engines.classical import ClassicalMethod, open_classical
from engines.trt import Precision
from pipeline.frames import InputError


def check_chosen(method: ClassicalMethod | None, model: str, backend: Backend) -> None:
    """Raises InputError for a method beside a model or a backend that were asked for by name."""
    for option, value in (("--model", model), ("--backend", backend)):
        if method and value != "auto":
            raise InputError(
                f"--method {method} {option} {value}: a method has no model and no backend; give one of them"
            )


def open_chosen(
    method: ClassicalMethod | None,
    model: str,
    backend: Backend,
    *,
    threads: int = 0,
    precision: Precision = "fp16",
    on_progress: Callable[[str], None] = lambda line: None,
) -> Fuser:
    """The fuser of a method, or, without one, of a model; see `engines.base.open_fuser`.

    Raises InputError, ModelError, BackendError.
    """
    check_chosen(method, model, backend)
    if method:
        return open_classical(method)
    return open_fuser(model, backend=backend, threads=threads, precision=precision, on_progress=on_progress)
