"""Pointers in and out of other libraries by DLPack (dmlc.github.io/dlpack, before version 1.0), with ctypes alone."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

CPU, CUDA = 1, 2
"""kDLCPU and kDLCUDA."""

_NAME = b"dltensor"
_UNSIGNED = 1  # kDLUInt


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("index", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)

_lent: dict[int, tuple[Any, ...]] = {}
"""What capsules handed out point into, by address, until their taker gives them back."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """Memory of uint8 that another library holds."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """bytes"""
    kind: int
    """CPU or CUDA."""
    index: int
    """Of the device of that kind."""
    owner: object
    """Keeps the memory alive."""


def borrow(plane: Any) -> Tensor:
    """Where an object with `__dlpack__` has its bytes. What writes them must be waited for by the caller.

    Raises ValueError if it is not of uint8.
    """
    capsule = plane.__dlpack__()
    tensor = ctypes.cast(_pointer_of(capsule, _NAME), ctypes.POINTER(_Managed)).contents.tensor
    kind = tensor.type.code, tensor.type.bits, tensor.type.lanes
    if kind != (_UNSIGNED, 8, 1):
        raise ValueError(f"DLPack type (code, bits, lanes) {kind}: only uint8 is taken; give 8-bit video")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else _packed(shape)
    address = (tensor.data or 0) + tensor.byte_offset
    return Tensor(address, shape, strides, tensor.device.kind, tensor.device.index, capsule)


class Lent:
    """Memory of uint8 for a library that takes DLPack; the owner lives until that gives the memory back."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor.kind, self._tensor.index

    def __dlpack__(self, *, stream: int | None = None) -> object:
        """A capsule, to be taken by exactly one. stream: not used, the memory must be ready."""
        tensor, count = self._tensor, len(self._tensor.shape)
        shape, strides = ((ctypes.c_int64 * count)(*numbers) for numbers in (tensor.shape, tensor.strides))
        device, kind = _Device(tensor.kind, tensor.index), _Type(_UNSIGNED, 8, 1)
        managed = _Managed(_Tensor(tensor.address, device, count, kind, shape, strides, 0), None, _give_back)
        _lent[ctypes.addressof(managed)] = managed, shape, strides, tensor.owner
        return _new_capsule(ctypes.addressof(managed), _NAME, None)


@_Deleter
def _give_back(managed: Any) -> None:
    """Called by the taker, from any thread."""
    _lent.pop(ctypes.addressof(managed.contents), None)


def _packed(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1]
    for side in reversed(shape[1:]):
        strides.insert(0, strides[0] * side)
    return tuple(strides)
