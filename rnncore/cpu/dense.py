"""An affine map of rows, forward and back, on the products of the loops: the readout."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .loop import functions, native
from .machine import host
from .memory import address_of, empty
from .pool import available_threads, room_address, run_team

__all__ = ["affine", "affine_backward", "packed_map"]

_PARALLEL_FLOPS = 4e6
_SLICES = 4  # of the rows for each thread


@lru_cache(maxsize=64)
def _positions(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64)


def packed_map(w: np.ndarray, by_k: int, by_n: int, k: int, n: int, start) -> tuple[np.ndarray, np.ndarray]:
    """A (k, n) matrix, `w` read with strides `by_k` and `by_n`, in panels; and the row `start`, padded."""
    dtype = str(w.dtype)
    count = host().lanes(dtype)
    wide = -(-n // count) * count
    packed = np.zeros(max(k * wide, 1), dtype)
    table = np.array([address_of(w), 0, by_k, by_n, k, n, 0, 0, k, n], np.int64)
    native(dtype, "pack")(address_of(table), 1, address_of(packed))
    origin = np.zeros(wide, dtype)
    origin[:n] = start
    return packed, origin


def _threads(m: int, k: int, n: int) -> int:
    return available_threads() if 2.0 * m * k * n > _PARALLEL_FLOPS else 1


def _product(rows: np.ndarray, w: np.ndarray, by_k: int, by_n: int, k: int, n: int, start: np.ndarray) -> np.ndarray:
    """rows @ M + start, where M is `w` read with strides `by_k` and `by_n`."""
    dtype = str(rows.dtype)
    packed, origin = packed_map(w, by_k, by_n, k, n, start)
    out = empty((len(rows), n), dtype)
    index = _positions(len(rows))
    if not len(rows):
        return out
    threads = _threads(len(rows), k, n)
    slices = 1 if threads == 1 else _SLICES * threads
    turn, code = np.zeros(1, np.int64), functions(dtype)
    a, i, p, c, o, t = (address_of(v) for v in (rows, index, packed, out, origin, turn))
    ends = (t, slices, code["gemm"], room_address())
    job = np.array([a, rows.strides[0], i, p, c, n * out.itemsize, o, len(rows), n, k, *ends], np.int64)
    run_team(code["team"], address_of(job), threads)
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
        index, threads, code = _positions(len(d)), _threads(len(d), k, n), functions(dtype)
        scratch, turn = empty((threads, len(d) * 16 + 16), dtype), np.zeros(1, np.int64)
        a, i, b, c, sums, s, t = (address_of(x) for x in (d, index, rows, dv, dc, scratch, turn))
        parts = 1 if threads == 1 else _SLICES * threads
        ends = (t, parts, code["outer"], code["colsum"], room_address())
        where = (a, d.strides[0], i, b, rows.strides[0], c, dv.strides[0], sums)
        job = np.array([*where, len(d), n, k, s, scratch.strides[0], *ends], np.int64)
        run_team(code["team_sums"], address_of(job), threads)
    return _product(d, v, v.strides[0], v.strides[1], n, k, np.zeros(k, dtype))
