"""Products on tensor cores, of all warps at once (PTX ISA, "Matrix Fragments for mma.m16n8k8" and "m16n8k16").

Sums are of float64 numbers, rounded at the end: a device's are at least as exact as float32 ones, in no known order.
"""

from __future__ import annotations

import numpy as np

__all__ = ["mma_bf16", "mma_tf32"]

_GROUP, _THREAD = np.arange(32) >> 2, np.arange(32) % 4  # groupID and threadID_in_group of the lanes
_SUMS = [(_GROUP + 8 * (k >= 2), 2 * _THREAD + k % 2) for k in range(4)]  # row and column of c0 to c3


def _multiplied(a, b, c):
    """Registers of d = a b + c: c and d have those of a warp's lanes, a and b are matrices."""
    sums = np.zeros((len(a), 16, 8))
    for (row, column), values in zip(_SUMS, c):
        sums[:, row, column] = values
    sums += a @ b
    return [sums[:, row, column].astype(np.float32) for row, column in _SUMS]


def mma_tf32(a, b, c):
    """``mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32``; of registers (warps, 32). Lower bits are not read."""
    left, right = np.zeros((len(a[0]), 16, 8)), np.zeros((len(a[0]), 8, 8))
    for k, bits in enumerate(a):
        left[:, _GROUP + 8 * (k in (1, 3)), _THREAD + 4 * (k >= 2)] = _tf32(bits)
    for k, bits in enumerate(b):
        right[:, _THREAD + 4 * k, _GROUP] = _tf32(bits)
    return _multiplied(left, right, c)


def mma_bf16(a, b, c):
    """``mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32``; of registers (warps, 32), two numbers in each."""
    left, right = np.zeros((len(a[0]), 16, 16)), np.zeros((len(a[0]), 16, 8))
    for i in range(8):
        row = _GROUP + (0 if i < 2 or 4 <= i < 6 else 8)
        left[:, row, 2 * _THREAD + i % 2 + 8 * (i >= 4)] = _half(a[i // 2], i % 2)
    for i in range(4):
        right[:, 2 * _THREAD + i % 2 + 8 * (i >= 2), _GROUP] = _half(b[i // 2], i % 2)
    return _multiplied(left, right, c)


def _tf32(bits):
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def _half(bits, upper):
    return (bits & np.uint32(0xFFFF0000) if upper else bits << np.uint32(16)).view(np.float32)
