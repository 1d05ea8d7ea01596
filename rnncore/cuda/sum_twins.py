"""Numbers of vectors, and sums of products in registers, as plain Python: twins of `rnncore.cuda.sums`."""

from __future__ import annotations

import numpy as np

from .running import WARP, Lane, now

__all__ = ["lane_term", "lane_terms4", "load", "set_own_sums", "set_sums", "store", "term", "terms4"]


def load(array, i):
    """``array[i]``; an index from the end is an error, as it is one on a device."""
    if i < 0:
        raise IndexError(f"an index of {i}")
    return array[i]


def store(array, i, value) -> None:
    """``array[i] = value``; an index from the end is an error, as it is one on a device."""
    if i < 0:
        raise IndexError(f"an index of {i}")
    array[i] = value


def _four(array, i):
    """Four neighbours from ``array[i]``, for an index that is a multiple of four."""
    if i % 4:
        raise IndexError(f"four numbers cannot be read at once from index {i}")
    return load(array, i), load(array, i + 1), load(array, i + 2), load(array, i + 3)


def _fma(a, b, c):
    """a b + c; of float32 numbers rounded as if once."""
    if type(a) is np.float32:
        return np.float32(float(a) * float(b) + float(c))
    return a * b + c


def _one(array, i):
    return (load(array, i),)


def _added(acc, x, y):
    """The terms of every sum, one after the other: of each row in `x`, of each column in `y`."""
    made = []
    for totals, row in zip(acc, x):
        totals = list(totals)
        for j, column in enumerate(y):
            for a, b in zip(row, column):
                totals[j] = _fma(a, b, totals[j])
        made.append(tuple(totals))
    return tuple(made)


def _columns(w, at, wide):
    """Neighbours, four at a time as far as that goes: a device reads them so."""
    whole = wide // 4 * 4
    fours = [number for j in range(0, whole, 4) for number in _four(w, at + j)]
    return fours + [load(w, at + j) for j in range(whole, wide)]


def _terms(many, read, acc, x, at_x, k, w, at_w, pad):
    rows = [read(x, at + k) for at in at_x]
    columns = zip(*[_columns(w, at_w + (k + s) * pad, len(acc[0])) for s in range(many)])
    return _added(acc, rows, list(columns))


def terms4(acc, x, at_x, k, w, at_w, pad):
    """Adds four terms to a thread's sums: ``x[at_x[i] + k + s] * w[at_w + (k + s) * pad + j]`` to ``acc[i][j]``."""
    return _terms(4, _four, acc, x, at_x, k, w, at_w, pad)


def term(acc, x, at_x, k, w, at_w, pad):
    """Adds one term to a thread's sums."""
    return _terms(1, _one, acc, x, at_x, k, w, at_w, pad)


def lane_terms4(acc, x, at_x, k, w, at_w):
    """Adds four terms to a lane's sums: ``x[at_x[i] + k + s] * w[at_w[j] + k + s]`` to ``acc[i][j]``."""
    return _added(acc, [_four(x, at + k) for at in at_x], [_four(w, at + k) for at in at_w])


def lane_term(acc, x, at_x, k, w, at_w):
    """Adds one term to a lane's sums."""
    return _added(acc, [_one(x, at + k) for at in at_x], [_one(w, at + k) for at in at_w])


def set_own_sums(out, at, pitch, top, tops, many, acc):
    """Sets ``out[at + i * pitch + j] = acc[i][j]`` where ``top + i * tops`` is less than `many`."""
    for i, totals in enumerate(acc):
        if top + i * tops < many:
            for j, total in enumerate(totals):
                store(out, at + i * pitch + j, total)


def set_sums(lane, out, at, pitch, top, tops, many, acc):
    """Sums over a warp of what each lane has, as `rnncore.cuda.device.set_sums` says: some of them by each lane."""
    yield Lane(acc)
    wide = len(acc[0])
    for k in range(lane, len(acc) * wide, WARP):
        row, column = divmod(k, wide)
        if top + row * tops < many:
            values = [lane[row][column] for lane in now.lanes]
            while len(values) > 1:
                values = [a + b for a, b in zip(values[::2], values[1::2])]
            store(out, at + row * pitch + column, values[0])
