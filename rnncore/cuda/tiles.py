"""Products on tensor cores: a warp's tile of sums, for the texts of kernels.

Both operands lie in blocks of k, of 16 words for each row or column: two bfloat16 numbers or one of tf32 a word
(`rnncore.cuda.tensor`). A lane reads four neighbouring words at once, and a warp 512 neighbouring bytes. They stand for
other k than an instruction's own order has: as they do so in both operands, the sums are the same.
"""

from __future__ import annotations

from .device import float32, function, mma_bf16, mma_tf32, store2, thread, words4

__all__ = ["tile_bf16", "tile_tf32"]


@function
def multiplied(half, a, b, w, second, sums):
    """Sums and products, of a lane's two rows `a` and `b`: of the first two words of four, or the `second`."""
    if second:
        rows, column = (a[2], b[2], a[3], b[3]), (w[2], w[3])
    else:
        rows, column = (a[0], b[0], a[1], b[1]), (w[0], w[1])
    if half:
        return mma_bf16(rows, column, sums)
    return mma_tf32(rows, column, sums)


@function
def both(half, tall, x, w, second, sums):
    """Those of 16 rows, and of 16 more where the tile is `tall`."""
    upper = multiplied(half, x[0], x[1], w, second, sums[0])
    if tall:
        return upper, multiplied(half, x[2], x[3], w, second, sums[1])
    return upper, sums[1]


@function
def columns_of(eights, w, at, step):
    """A lane's words of so many times eight columns, which begin `step` apart."""
    a = b = c = d = e = f = g = h = words4(w, at)
    if eights > 1:
        b = words4(w, at + step)
    if eights > 2:
        c = words4(w, at + 2 * step)
    if eights > 3:
        d = words4(w, at + 3 * step)
    if eights > 4:
        e = words4(w, at + 4 * step)
    if eights > 5:
        f = words4(w, at + 5 * step)
    if eights > 6:
        g = words4(w, at + 6 * step)
    if eights > 7:
        h = words4(w, at + 7 * step)
    return a, b, c, d, e, f, g, h


@function
def halfway(half, tall, eights, x, w, second, sums):
    """Sums and half of the products of a block of k."""
    a, b, c, d, e, f, g, h = sums
    a = both(half, tall, x, w[0], second, a)
    if eights > 1:
        b = both(half, tall, x, w[1], second, b)
    if eights > 2:
        c = both(half, tall, x, w[2], second, c)
    if eights > 3:
        d = both(half, tall, x, w[3], second, d)
    if eights > 4:
        e = both(half, tall, x, w[4], second, e)
    if eights > 5:
        f = both(half, tall, x, w[5], second, f)
    if eights > 6:
        g = both(half, tall, x, w[6], second, g)
    if eights > 7:
        h = both(half, tall, x, w[7], second, h)
    return a, b, c, d, e, f, g, h


@function
def added(half, tall, eights, x, w, at, step, sums):
    """Sums and products of a block of k."""
    columns = columns_of(eights, w, at, step)
    sums = halfway(half, tall, eights, x, columns, False, sums)
    return halfway(half, tall, eights, x, columns, True, sums)


@function
def row_at(stride, row):
    """Where a row begins: blocks of 16 rows are `stride` apart."""
    return (row >> 4) * stride + (row & 15) * 16


@function
def rows_of(tall, x, at, shift):
    """A lane's words of its rows."""
    a, b = words4(x, at[0] + shift), words4(x, at[1] + shift)
    if tall:
        return a, b, words4(x, at[2] + shift), words4(x, at[3] + shift)
    return a, b, a, b


@function
def set_row(out, at, eights, a, b, first):
    """A lane's two sums of every eight columns, the `first` two of four or the last, from a tuple of eights."""
    store2(out, at, a[0][first], a[0][first + 1])
    if eights > 1:
        store2(out, at + 8, a[1][first], a[1][first + 1])
    if eights > 2:
        store2(out, at + 16, a[2][first], a[2][first + 1])
    if eights > 3:
        store2(out, at + 24, a[3][first], a[3][first + 1])
    if eights > 4:
        store2(out, at + 32, b[0][first], b[0][first + 1])
    if eights > 5:
        store2(out, at + 40, b[1][first], b[1][first + 1])
    if eights > 6:
        store2(out, at + 48, b[2][first], b[2][first + 1])
    if eights > 7:
        store2(out, at + 56, b[3][first], b[3][first + 1])


@function
def set_rows(out, at, pitch, eights, row, rows, a, b):
    """A lane's sums, of rows `row` and 8 further."""
    if row < rows:
        set_row(out, at + row * pitch, eights, a, b, 0)
    if row + 8 < rows:
        set_row(out, at + (row + 8) * pitch, eights, a, b, 2)


@function
def tile(half, tall, ahead, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch):
    """A warp's sums: see `tile_bf16`."""
    row, four, last = thread() % 32 // 4, thread() % 4 * 4, rows - 1
    low = at + four + row_at(stride, min(row, last)), at + four + row_at(stride, min(row + 8, last))
    high = at + four + row_at(stride, min(row + 16, last)), at + four + row_at(stride, min(row + 24, last))
    own, column = (low[0], low[1], high[0], high[1]), first + thread() % 32 * 4
    zero = float32(0), float32(0), float32(0), float32(0)
    pair = zero, zero
    sums = pair, pair, pair, pair, pair, pair, pair, pair
    k = k0
    if ahead > 2:
        while k + 4 <= k1:
            p, q = rows_of(tall, x, own, k * 256), rows_of(tall, x, own, k * 256 + 256)
            r, s = rows_of(tall, x, own, k * 256 + 512), rows_of(tall, x, own, k * 256 + 768)
            sums = added(half, tall, eights, p, w, column + k * 128, step, sums)
            sums = added(half, tall, eights, q, w, column + k * 128 + 128, step, sums)
            sums = added(half, tall, eights, r, w, column + k * 128 + 256, step, sums)
            sums = added(half, tall, eights, s, w, column + k * 128 + 384, step, sums)
            k += 4
    while k + 2 <= k1:
        p, q = rows_of(tall, x, own, k * 256), rows_of(tall, x, own, k * 256 + 256)
        sums = added(half, tall, eights, p, w, column + k * 128, step, sums)
        sums = added(half, tall, eights, q, w, column + k * 128 + 128, step, sums)
        k += 2
    if k < k1:
        sums = added(half, tall, eights, rows_of(tall, x, own, k * 256), w, column + k * 128, step, sums)
    a, b, c, d, e, f, g, h = sums
    to = where + thread() % 4 * 2
    set_rows(out, to, pitch, eights, row, rows, (a[0], b[0], c[0], d[0]), (e[0], f[0], g[0], h[0]))
    if tall:
        set_rows(out, to, pitch, eights, row + 16, rows, (a[1], b[1], c[1], d[1]), (e[1], f[1], g[1], h[1]))


@function
def tile_bf16(tall, ahead, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch):
    """Sets ``out[where + r * pitch + c]`` to the sum over k of row r of `x` times column c of `w`.

    All lanes of a warp call it together; it holds no barrier.

    Parameters
    ----------
    tall : bool
        Whether there may be more than 16 rows, up to 32.
    ahead : int
        Blocks of k whose rows are asked for at once, as they come from afar: 2 or 4. They take registers.
    eights : int
        Columns, in eights: 1 to 8.
    x : float32 vector
        The words of rows: block k of row r begins at ``at + (r // 16) * stride + k * 256 + r % 16 * 16``.
    rows : int
        What the last of them has stands for those that there are not.
    w : float32 vector
        The words of columns: block k of column c begins at ``first + (c // 8) * step + k * 128 + c % 8 * 16``.
    k0, k1 : int
        Blocks of k, each of 32 numbers.
    out : float32 vector
        `where` and `pitch` are even.
    """
    tile(True, tall, ahead, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch)


@function
def tile_tf32(tall, ahead, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch):
    """As `tile_bf16`, of tf32 numbers: a block of k has 16 of them."""
    tile(False, tall, ahead, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch)
