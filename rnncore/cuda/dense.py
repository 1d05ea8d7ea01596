"""Products over all steps, and affine maps of rows: cuBLAS's, which may round what it multiplies where it is asked to.

The same call gives the same bits again, on any stream: each thread has a handle of its own for every stream, as cuBLAS
asks of those who want that (cuBLAS's documentation, "Results Reproducibility"), and its products have no other state.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
import weakref
from typing import Any

from . import target
from .space import here, xp

__all__ = ["affine", "affine_backward", "multiply"]

_OP_N, _OP_T = 0, 1  # of cublas_api.h, as all numbers here; those of types are library_types.h's
_DEFAULT_ALGORITHM = -1
_KEPT = 16  # handles of a thread, each with tens of MiB of the device: programs make streams without end
_TYPES = {"float32": 0, "float64": 1}
_COMPUTE = {("float32", ""): 68, ("float32", "tf32"): 77, ("float32", "bf16"): 75}
_COMPUTE_64F = 70
_SCALARS = {"float32": (ctypes.c_float(0), ctypes.c_float(1)), "float64": (ctypes.c_double(0), ctypes.c_double(1))}


def multiply(a: Any, b: Any, out: Any, products: str = "", add: bool = False) -> None:
    """``out = a @ b``, or ``out += a @ b``.

    Parameters
    ----------
    a, b : array, (m, k) and (k, n), float32 or float64
        Views are read where they lie, if the numbers of their rows or of their columns are side by side.
    out : array, (m, n), of the same dtype
        A view too; the numbers of its rows are side by side.
    products : {"", "tf32", "bf16"}
        How float32 operands may be rounded: see `rnncore.Params.to`.
    add : bool
    """
    (m, n), k = out.shape, a.shape[1]
    if not (m and n and k):
        if not add:
            out[...] = 0
        return
    a, op_a, wide_a = _laid_out(a)
    b, op_b, wide_b = _laid_out(b)
    dtype = str(out.dtype)
    zero, one = map(ctypes.addressof, _SCALARS[dtype])
    # In the library columns are contiguous: it sees every matrix transposed, and so multiplies in the other order.
    _blas().gemmEx(
        _handle(), op_b, op_a, n, m, k, one, b.data.ptr, _TYPES[str(b.dtype)], wide_b, a.data.ptr,
        _TYPES[str(a.dtype)], wide_a, one if add else zero, out.data.ptr, _TYPES[dtype], _wide(out),
        _COMPUTE.get((dtype, products), _COMPUTE_64F), _DEFAULT_ALGORITHM,
    )  # fmt: skip


def affine(rows: Any, v: Any, c: Any, products: str = "") -> Any:
    """rows @ v.T + c for rows (m, k), v (n, k), c (n,)."""
    out = xp.empty((len(rows), len(v)), v.dtype)
    out[...] = c
    multiply(rows, v.T, out, products, add=True)
    return out


def affine_backward(d: Any, rows: Any, v: Any, dv: Any, dc: Any, products: str = "") -> Any:
    """Adjoint of the rows from that of the result; `dv` and `dc` are added to."""
    multiply(d.T, rows, dv, products, add=True)
    dc += d.sum(0)
    out = xp.empty((len(d), v.shape[1]), v.dtype)
    multiply(d, v, out, products)
    return out


def _laid_out(matrix: Any) -> tuple[Any, int, int]:
    """The matrix, how the library has to take it, and from one row, or column, to the next; a copy if need be."""
    for turned, op in ((matrix, _OP_N), (matrix.T, _OP_T)):
        wide = _wide(turned)
        if wide:
            return matrix, op, wide
    return xp.ascontiguousarray(matrix), _OP_N, matrix.shape[1]


def _wide(matrix: Any) -> int:
    """Numbers from a row to the next where those of a row are side by side; 0 where they are not."""
    (rows, columns), (down, along) = matrix.shape, matrix.strides
    if columns > 1 and along != matrix.itemsize or rows > 1 and (down < columns * matrix.itemsize):
        return 0
    return down // matrix.itemsize if rows > 1 else columns


# the library
def _blas() -> Any:
    return importlib.import_module(".standin_blas", __package__) if target.simulated else xp.cuda.cublas


class _Handle:
    """A handle of the library, given back when the thread that made it ends, or for others.

    Not by a forked child, which has nothing of the library; nor at the end of the process, which gives back all.
    """

    def __init__(self):
        blas = _blas()
        self.number = blas.create()
        weakref.finalize(self, _given_back, blas, self.number, os.getpid()).atexit = False


def _given_back(blas: Any, number: int, process: int) -> None:
    if os.getpid() == process:
        blas.destroy(number)


class _Handles(threading.local):
    def __init__(self):
        self.of: dict[tuple[int, int], _Handle] = {}


_handles = _Handles()


def _handle() -> int:
    """This thread's handle for the current device and stream."""
    key, kept = (here(), xp.cuda.get_current_stream().ptr), _handles.of
    found = kept.pop(key, None) or _Handle()
    kept[key] = found  # the last that was used
    if len(kept) > _KEPT:
        del kept[next(iter(kept))]
    return found.number
