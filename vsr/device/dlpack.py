"""Where a plane that speaks DLPack is, read from its capsule; nothing is copied and nobody takes it over.

The layout is DLManagedTensor's of DLPack 0.8, which the capsules named "dltensor" hold (dmlc/dlpack, dlpack.h).
"""

from __future__ import annotations

import ctypes
from typing import Protocol

from vsr.surface import Rows

CPU, CUDA = 1, 2  # kDLCPU, kDLCUDA


class Exporting(Protocol):
    def __dlpack__(self) -> object: ...


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("kind", ctypes.c_int32),
        ("number", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


_POINTER = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)


def where(plane: Exporting) -> tuple[tuple[int, int], Rows]:
    """(kind of device, its number) and the rows of a plane; valid as long as who exported it keeps the memory.

    Raises:
        ValueError: samples of a row aren't side by side.
    """
    capsule = plane.__dlpack__()
    tensor = _Tensor.from_address(_POINTER(("PyCapsule_GetPointer", ctypes.pythonapi))(capsule, b"dltensor"))
    shape, strides = tensor.shape[: tensor.ndim], tensor.strides[: tensor.ndim]
    size = tensor.bits // 8 * tensor.lanes
    samples = 1
    for length, stride in zip(shape[:0:-1], strides[:0:-1], strict=True):
        if stride != samples:
            raise ValueError(f"a plane of strides {strides} and shape {shape} has gaps in its rows")
        samples *= length
    rows = Rows(int(tensor.data or 0) + tensor.offset, strides[0] * size, samples * size, shape[0])
    return (tensor.kind, tensor.number), rows
