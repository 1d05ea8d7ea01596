"""Products on tensor cores: a warp's tile of sums, for the texts of kernels.

A lane reads four neighbours of k at once, and they stand for other k than an instruction's own order has: as they do so
in both operands, the sums are the same.
"""

from __future__ import annotations

from .device import float32, function, load4, mma_bf16, mma_tf32, pack_bf16, store, thread, to_tf32

__all__ = ["tile_bf16", "tile_tf32"]


@function
def four(array, at, there):
    """Four neighbours, or zeros where they are not `there`."""
    if there:
        return load4(array, at)
    return float32(0), float32(0), float32(0), float32(0)


@function
def multiplied(half, low, high, w, sums):
    """Sums and 16 products each, of rows `low` and `high`; of bfloat16 numbers (`half`), else of tf32 ones, 8 by 8."""
    if half:
        a = (
            pack_bf16(low[0], low[1]),
            pack_bf16(high[0], high[1]),
            pack_bf16(low[2], low[3]),
            pack_bf16(high[2], high[3]),
        )
        return mma_bf16(a, (pack_bf16(w[0], w[1]), pack_bf16(w[2], w[3])), sums)
    a = to_tf32(low[0]), to_tf32(high[0]), to_tf32(low[1]), to_tf32(high[1])
    sums = mma_tf32(a, (to_tf32(w[0]), to_tf32(w[1])), sums)
    a = to_tf32(low[2]), to_tf32(high[2]), to_tf32(low[3]), to_tf32(high[3])
    return mma_tf32(a, (to_tf32(w[2]), to_tf32(w[3])), sums)


@function
def set_two(out, at, first, columns, a, b):
    """Two neighbouring sums, of the columns that there are."""
    if first < columns:
        store(out, at + first, a)
    if first + 1 < columns:
        store(out, at + first + 1, b)


@function
def set_tile(out, where, pitch, rows, first, columns, sums):
    """A lane's four sums."""
    row = thread() % 32 // 4
    if row < rows:
        set_two(out, where + row * pitch, first, columns, sums[0], sums[1])
    if row + 8 < rows:
        set_two(out, where + (row + 8) * pitch, first, columns, sums[2], sums[3])


@function
def tile(half, x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch):
    """A warp's sums: see `tile_tf32`."""
    group, own = thread() % 32 // 4, thread() % 4 * 4
    low, high, column = at + group * stride, at + (group + 8) * stride, first + group * step
    a = b = c = d = float32(0), float32(0), float32(0), float32(0)
    base = k0
    while base < k1:
        k = base + own
        upper = four(x, low + k, group < rows and k < k1)
        lower = four(x, high + k, group + 8 < rows and k < k1)
        a = multiplied(half, upper, lower, four(w, column + k, group < columns and k < k1), a)
        if columns > 8:
            near = four(w, column + 8 * step + k, group + 8 < columns and k < k1)
            b = multiplied(half, upper, lower, near, b)
        if columns > 16:
            near = four(w, column + 16 * step + k, group + 16 < columns and k < k1)
            c = multiplied(half, upper, lower, near, c)
        if columns > 24:
            near = four(w, column + 24 * step + k, group + 24 < columns and k < k1)
            d = multiplied(half, upper, lower, near, d)
        base += 16
    two = thread() % 4 * 2
    set_tile(out, where, pitch, rows, two, columns, a)
    set_tile(out, where, pitch, rows, two + 8, columns, b)
    set_tile(out, where, pitch, rows, two + 16, columns, c)
    set_tile(out, where, pitch, rows, two + 24, columns, d)


@function
def tile_tf32(x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch):
    """Sets ``out[where + r * pitch + c]`` to the sum over k of ``x[at + r * stride + k] * w[first + c * step + k]``.

    Operands are rounded to tf32, sums are of float32. All lanes of a warp call it together; it holds no barrier.

    Parameters
    ----------
    x : float32 vector
        Rows, up to 16, `stride` apart; `at` and `stride` are multiples of 4.
    w : float32 vector
        Columns, up to 32, `step` apart; `first` and `step` are multiples of 4.
    k0, k1 : int
        Multiples of 4: what lies between the true size and k1 is read.
    out : float32 vector
    """
    tile(False, x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch)


@function
def tile_bf16(x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch):
    """As `tile_tf32`, with operands rounded to bfloat16."""
    tile(True, x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch)
