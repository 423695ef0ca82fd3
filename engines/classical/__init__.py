"""Fusion without a trained model: published formulas behind the protocol of `engines.base.Fuser`, one a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from engines.base import BackendError
from engines.classical.fuser import FormulaFuser

ClassicalMethod = Literal["mean", "max", "laplacian", "lpsr", "gff", "gtf", "csr"]
"""By the names that `--method` takes, from the plainest to the slowest."""


def _mean() -> FormulaFuser:
    from engines.classical.mean import mean

    return FormulaFuser("plain mean", mean)


def _max() -> FormulaFuser:
    from engines.classical.max import maximum

    return FormulaFuser("plain max", maximum)


def _laplacian() -> FormulaFuser:
    from engines.classical.laplacian import laplacian

    return FormulaFuser("Laplacian pyramid", laplacian)


def _lpsr() -> FormulaFuser:
    from engines.classical.lpsr import lpsr

    return FormulaFuser("LPSR", lpsr)


def _gff() -> FormulaFuser:
    from engines.classical.gff import gff

    return FormulaFuser("GFF", gff)


def _gtf() -> FormulaFuser:
    from engines.classical.gtf import gtf

    return FormulaFuser("GTF", gtf)


def _csr() -> FormulaFuser:
    from engines.classical.csr import csr, need_sporco

    need_sporco()  # before any file is opened
    return FormulaFuser("CSR", csr)


CLASSICAL: dict[str, Callable[[], FormulaFuser]] = {
    "mean": _mean, "max": _max, "laplacian": _laplacian, "lpsr": _lpsr, "gff": _gff, "gtf": _gtf, "csr": _csr,
}  # fmt: skip
"""What opens each method; its code, and the libraries that it needs, are imported only then."""
assert tuple(CLASSICAL) == get_args(ClassicalMethod)


def open_classical(method: str) -> FormulaFuser:
    """The fuser of a method by its name. Raises BackendError for an unknown one, or one whose library is missing."""
    if method not in CLASSICAL:
        raise BackendError(f"method {method!r}: not known; use {', '.join(CLASSICAL)}")
    return CLASSICAL[method]()
