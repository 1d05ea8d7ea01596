"""An affine map of rows, forward and back, on the products of the loops: the readout."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .loop import _pack_function, functions
from .machine import host
from .memory import address_of
from .pool import available_parts, run_parts

__all__ = ["affine", "affine_backward"]

_PARALLEL_FLOPS = 4e6


@lru_cache(maxsize=16)
def _call(dtype: str, name: str):
    import ctypes

    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 16)(functions(dtype)[name])


@lru_cache(maxsize=64)
def _positions(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64)


def _product(rows: np.ndarray, w: np.ndarray, by_k: int, by_n: int, k: int, n: int, start: np.ndarray) -> np.ndarray:
    """rows @ M + start, where M is `w` read with strides `by_k` and `by_n`."""
    dtype = str(rows.dtype)
    count = host().lanes(dtype)
    wide = -(-n // count) * count
    packed = np.zeros(max(k * wide, 1), dtype)
    table = np.array([address_of(w), 0, by_k, by_n, k, n, 0, 0, k, n], np.int64)
    _pack_function(dtype)(address_of(table), 1, address_of(packed), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    origin = np.zeros(wide, dtype)
    origin[:n] = start
    out = np.empty((len(rows), n), dtype)
    index = _positions(len(rows))
    gemm = _call(dtype, "gemm")
    a, i, p, c, s = (address_of(v) for v in (rows, index, packed, out, origin))

    def part(at: int, parts: int) -> None:
        first, last = at * len(rows) // parts, (at + 1) * len(rows) // parts
        lists = i + 8 * first
        gemm(a, rows.strides[0], lists, 0, p, c, n * out.itemsize, lists, 0, last - first, n, k, 0, s, 0, 0)

    if len(rows):
        run_parts(part, available_parts() if 2.0 * len(rows) * k * n > _PARALLEL_FLOPS else 1)
    return out


def affine(rows: np.ndarray, v: np.ndarray, c: np.ndarray) -> np.ndarray:
    """rows @ v.T + c for rows (m, k), v (n, k), c (n,)."""
    rows = np.ascontiguousarray(rows)
    n, k = v.shape
    return _product(rows, v, v.strides[1], v.strides[0], k, n, c)


def affine_backward(d: np.ndarray, rows: np.ndarray, v: np.ndarray, dv: np.ndarray, dc: np.ndarray) -> np.ndarray:
    """Adjoint of the rows from that of the result; `dv` and `dc` are added to."""
    d, rows = np.ascontiguousarray(d), np.ascontiguousarray(rows)
    dtype = str(d.dtype)
    n, k = v.shape
    if len(d):
        index = _positions(len(d))
        scratch = np.empty(len(d) * 16 + 16, dtype)
        outer, colsum = _call(dtype, "outer"), _call(dtype, "colsum")
        a, i, b, s = (address_of(x) for x in (d, index, rows, scratch))
        outer(a, d.strides[0], i, 0, b, rows.strides[0], i, 0, address_of(dv), dv.strides[0], len(d), n, k, s, 0, 1)
        colsum(a, d.strides[0], i, 0, address_of(dc), len(d), n, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    return _product(d, v, v.strides[0], v.strides[1], n, k, np.zeros(k, dtype))
