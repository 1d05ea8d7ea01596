"""Twins of what tensor cores do (`rnncore.cuda.fragments`) and of the products on them (`rnncore.cuda.tiles`)."""

from __future__ import annotations

import numpy as np

from .running import Lane, now

__all__ = ["mma_bf16", "mma_tf32", "pack_bf16", "tile_bf16", "tile_tf32", "to_tf32"]

_WARP = 32  # of the lanes that a fragment is spread over


def _bits(value) -> int:
    return int(np.float32(value).view(np.uint32))


def _number(bits: int) -> float:
    return float(np.uint32(bits & 0xFFFFFFFF).view(np.float32))


def to_tf32(a) -> int:
    """The bits of a float32 number rounded to 10 bits of mantissa, to nearest, ties away from 0."""
    return _bits(a) + 0x1000 & ~0x1FFF if np.isfinite(a) else _bits(a)


def _bf16(a) -> int:
    """The upper half of the bits of a float32 number rounded to bfloat16, to nearest, ties to even."""
    bits = _bits(a)
    if not np.isfinite(a):
        return bits >> 16 if a == a else 0x7FC0
    return bits + 0x7FFF + (bits >> 16 & 1) >> 16


def pack_bf16(a, b) -> int:
    """Two float32 numbers rounded to bfloat16: a in the lower half."""
    return _bf16(a) | _bf16(b) << 16


def _unpacked(register: int) -> list[float]:
    return [_number(register << 16), _number(register & 0xFFFF0000)]


def _product(a, b, c, numbers):
    """c + a b of a warp, from the registers of its 32 lanes; `numbers` are those of a register, along k."""
    lanes = yield from _shown((a, b))
    group, pair = now.thread % _WARP // 4, now.thread % 4 * 2
    sums = []
    for k in range(4):
        row, column = k // 2, pair + k % 2  # of rows `group` and `group + 8`
        total = float(c[k])
        for t in range(4):
            mine, theirs = lanes[group * 4 + t][0], lanes[column * 4 + t][1]
            for half in range(2):
                for p, q in zip(numbers(mine[row + 2 * half]), numbers(theirs[half])):
                    total += p * q
        sums.append(np.float32(total))
    return tuple(sums)


def _shown(value):
    """What all lanes of a warp of 32 hand over, by lane."""
    yield Lane(value, _WARP)
    return now.lanes


def mma_tf32(a, b, c):
    """c + a b, of 16 x 8 and 8 x 8 numbers of tf32; all 32 lanes call it together."""
    return (yield from _product(a, b, c, lambda register: [_number(register)]))


def mma_bf16(a, b, c):
    """c + a b, of 16 x 16 and 16 x 8 numbers of bfloat16; all 32 lanes call it together."""
    return (yield from _product(a, b, c, _unpacked))


def _tile(rounded, x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch):
    """Each lane computes some of the sums: what a warp of any size can do."""
    if any(n % 4 for n in (at, stride, first, step, k0, k1)):
        raise IndexError(f"four numbers cannot be read at once: {at}, {stride}, {first}, {step}, {k0}, {k1}")
    if not 0 <= rows <= 16 or not 0 <= columns <= 32:
        raise IndexError(f"a tile of {rows} x {columns} sums, of 16 x 32 at most")
    yield Lane(None)
    for place in range(now.thread % len(now.lanes), rows * columns, len(now.lanes)):
        r, c = divmod(place, columns)
        pairs = ((x[at + r * stride + k], w[first + c * step + k]) for k in range(k0, k1))
        out[where + r * pitch + c] = np.float32(sum(rounded(a) * rounded(b) for a, b in pairs))


def tile_tf32(x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch):
    """Sums of products of numbers rounded to tf32, as `rnncore.cuda.tiles.tile_tf32` says."""
    yield from _tile(
        lambda a: _number(to_tf32(a)), x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch
    )


def tile_bf16(x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch):
    """Sums of products of numbers rounded to bfloat16, as `rnncore.cuda.tiles.tile_bf16` says."""
    yield from _tile(
        lambda a: _number(_bf16(a) << 16), x, at, stride, rows, w, first, step, columns, k0, k1, out, where, pitch
    )
