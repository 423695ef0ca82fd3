"""What the user asked to have measured: a method, or a model on a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from engines.base import Backend, Fuser
from engines.classical import ClassicalMethod
from engines.trt import Precision
from pipeline import chosen


@dataclass(frozen=True, slots=True)
class Spec:
    """One of them."""

    method: str | None
    model: str = "auto"
    backend: str = "auto"

    def open(
        self, *, threads: int = 0, precision: Precision = "fp16", on_progress: Callable[[str], None] = lambda line: None
    ) -> Fuser:
        """The fuser. Raises InputError, ModelError, BackendError."""
        return chosen.open_chosen(
            cast("ClassicalMethod | None", self.method), self.model, cast(Backend, self.backend), threads=threads,
            precision=precision, on_progress=on_progress,
        )  # fmt: skip


def specs(methods: Sequence[str], models: Sequence[str], backends: Sequence[str]) -> Iterator[Spec]:
    """Methods, then every model on every backend, each once; a method alone brings no model along."""
    yield from (Spec(method) for method in dict.fromkeys(methods))
    if methods and not models and not backends:
        return
    for model in dict.fromkeys(models or ["auto"]):
        for backend in dict.fromkeys(backends or ["auto"]):
            yield Spec(None, model, backend)
