"""cuBLAS's product over the host's memory, for machines without a GPU: what CuPy's module of it offers, and no more.

It takes addresses, as the library does, and refuses what the library refuses or what would read or write outside of an
array. Types, operations and kinds of computing are the numbers of cublas_api.h and library_types.h.
"""

from __future__ import annotations

import ctypes
import itertools

import numpy as np

from .accesses import made, ran
from .standin import Address
from .streams import Stream, get_current_stream

__all__ = ["create", "destroy", "gemmEx", "rounded"]

_TYPES: dict[int, np.dtype] = {0: np.dtype("float32"), 1: np.dtype("float64")}
_COMPUTE = {68: (0, ""), 70: (1, ""), 75: (0, "bf16"), 77: (0, "tf32")}  # the type, and how operands are rounded
_numbers = itertools.count(1)
_handles: dict[int, Stream | None] = {}  # and the streams that they are used on


def create() -> int:
    """A handle."""
    handle = next(_numbers)
    _handles[handle] = None
    return handle


def destroy(handle: int) -> None:
    """Give a handle back."""
    del _handles[handle]


def gemmEx(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: Address, Atype: int, lda: int,
    B: Address, Btype: int, ldb: int, beta: int, C: Address, Ctype: int, ldc: int, computeType: int, algo: int,
) -> None:  # fmt: skip
    """``C = alpha op(A) op(B) + beta C``, of matrices whose columns are contiguous.

    Raises
    ------
    ValueError
        For what the library refuses, and memory that is not that of an array.
    """
    if handle not in _handles or algo != -1 or computeType not in _COMPUTE:
        raise ValueError(f"handle {handle}, algorithm {algo}, computing {computeType}: one of them is none")
    kind, rounding = _COMPUTE[computeType]
    if {Atype, Btype, Ctype} != {kind}:
        raise ValueError(f"matrices of types {Atype}, {Btype}, {Ctype}, computed in {kind}")
    scalar = ctypes.c_double if kind else ctypes.c_float
    by, keeps = scalar.from_address(alpha).value, scalar.from_address(beta).value
    a, b = _read("A", A, kind, transa, m, k, lda), _read("B", B, kind, transb, k, n, ldb)
    c = _matrix("C", C, kind, m, n, ldc)
    if _handles[handle] not in (None, get_current_stream()):
        raise ValueError(f"handle {handle} is of another stream, whose products may run at once with this one")
    _handles[handle] = get_current_stream()
    for at in (A, B, C):
        made(at.whole, here=False)
    ran([a, b], [c])
    found = by * (rounded(a, rounding) @ rounded(b, rounding))
    c[...] = found + keeps * c if keeps else found  # without it C is not read


def _read(name: str, at: Address, kind: int, op: int, rows: int, columns: int, wide: int) -> np.ndarray:
    if op not in (0, 1):
        raise ValueError(f"{name}: operation {op}")
    return _matrix(name, at, kind, columns, rows, wide).T if op else _matrix(name, at, kind, rows, columns, wide)


def _matrix(name: str, at: Address, kind: int, rows: int, columns: int, wide: int) -> np.ndarray:
    dtype = _TYPES[kind]
    if min(rows, columns) < 1 or wide < rows:
        raise ValueError(f"{name}: {columns} columns of {rows} numbers, {wide} from one to the next")
    many = ((columns - 1) * wide + rows) * dtype.itemsize
    if not isinstance(at, Address) or not at.first <= at <= at.end - many:
        raise ValueError(f"{name}: {many} bytes from {at} on are not all of one array")
    memory = memoryview((ctypes.c_char * many).from_address(at))
    return np.ndarray((rows, columns), dtype, memory, strides=(dtype.itemsize, wide * dtype.itemsize))


def rounded(numbers: np.ndarray, kind: str) -> np.ndarray:
    """float32 numbers as tensor cores round them: to nearest, ties away from 0 for tf32, to even for bfloat16."""
    if not kind:
        return numbers
    bits = np.ascontiguousarray(numbers).view(np.uint32)
    if kind == "tf32":
        near = bits + np.uint32(0x1000) & np.uint32(0xFFFFE000)
    else:
        near = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(numbers), near.view(np.float32), numbers)
