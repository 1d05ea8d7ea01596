"""Twins of what tensor cores do (`rnncore.cuda.fragments`) and of the products on them (`rnncore.cuda.tiles`).

A float32 vector holds words here, whose halves may be numbers of their own: who is at which is watched by the half.
"""

from __future__ import annotations

import numpy as np

from .running import Lane, now

__all__ = ["mma_bf16", "mma_tf32", "store2", "store_bf16", "store_tf32", "tile_bf16", "tile_tf32", "words4"]

_WARP = 32  # of the lanes that a fragment is spread over


def _bits(value) -> int:
    return int(np.float32(value).view(np.uint32))


def _number(bits: int) -> float:
    return float(np.uint32(bits & 0xFFFFFFFF).view(np.float32))


def to_tf32(a) -> int:
    """The bits of a float32 number rounded to 10 bits of mantissa, to nearest, ties away from 0."""
    return _bits(a) + 0x1000 & ~0x1FFF if np.isfinite(a) else _bits(a)


def to_bf16(a) -> int:
    """The upper half of the bits of a float32 number rounded to bfloat16, to nearest, ties to even."""
    bits = _bits(a)
    if not np.isfinite(a):
        return bits >> 16 if a == a else 0x7FFF
    return bits + 0x7FFF + (bits >> 16 & 1) >> 16


def _set(array, index, kind, bits) -> None:
    """Set part `index` of a vector that is seen as one of another type."""
    if index < 0:
        raise IndexError(f"an index of {index}")
    if hasattr(array, "set_part"):
        array.set_part(index, kind, bits)
    else:
        array.view(kind)[index] = bits


def store_bf16(array, index, value) -> None:
    """Round a float32 number to bfloat16, into half `index` of a vector of words."""
    _set(array, index, np.uint16, to_bf16(value))


def store_tf32(array, index, value) -> None:
    """Round a float32 number to tf32, into word `index` of a vector."""
    _set(array, index, np.uint32, to_tf32(value))


def store2(array, index, a, b) -> None:
    """``array[index], array[index + 1] = a, b``, for an even index."""
    if index % 2 or index < 0:
        raise IndexError(f"two numbers cannot be stored at once from index {index}")
    array[index], array[index + 1] = a, b


def _words(array, index, many) -> np.ndarray:
    """The bits of neighbouring words."""
    if index % 4 or index < 0 or index + many > len(array):
        raise IndexError(f"{many} words cannot be read at once from index {index} of {len(array)}")
    part = array.words(index, many) if hasattr(array, "words") else array[index : index + many]
    return part.view(np.uint32)


def words4(array, index) -> tuple:
    """The bits of four neighbours from ``array[index]``, for an index that is a multiple of four."""
    return tuple(_words(array, index, 4).tolist())


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


def _numbers(words, half) -> np.ndarray:
    """The float64 numbers that words hold along their last axis."""
    if half:
        words = words.view(np.uint16).astype(np.uint32) << np.uint32(16)
    return words.view(np.float32).astype(np.float64)


def _tile(half, tall, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch):
    """Each lane computes some of the columns: what a warp of any size can do."""
    if not 1 <= rows <= (32 if tall else 16) or not 1 <= eights <= 8 or where % 2 or pitch % 2:
        raise IndexError(f"a tile of {rows} x {8 * eights} sums at {where}, {pitch} apart")
    yield Lane(None)
    mine = range(now.thread % len(now.lanes), 8 * eights, len(now.lanes))
    a = [[_words(x, at + r // 16 * stride + k * 256 + r % 16 * 16, 16) for k in range(k0, k1)] for r in range(rows)]
    b = [[_words(w, first + c // 8 * step + k * 128 + c % 8 * 16, 16) for k in range(k0, k1)] for c in mine]
    shape = max(k1 - k0, 0) * 16
    left, right = (_numbers(np.array(m, np.uint32).reshape(len(m), shape), half) for m in (a, b))
    for c, column in zip(mine, right):
        for r, row in enumerate(left):
            out[where + r * pitch + c] = np.float32(row @ column)


def tile_bf16(tall, ahead, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch):
    """Sums of products of bfloat16 numbers, as `rnncore.cuda.tiles.tile_bf16` says."""
    yield from _tile(True, tall, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch)


def tile_tf32(tall, ahead, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch):
    """Sums of products of tf32 numbers, as `rnncore.cuda.tiles.tile_tf32` says."""
    yield from _tile(False, tall, eights, x, at, stride, rows, w, first, step, k0, k1, out, where, pitch)
