"""Add rows to the columns of a matrix that tokens name: in the order of the rows, whatever the device does first."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import target
from .space import xp

__all__ = ["add_rows"]

_THREADS = 128


def add_rows(columns: Any, rows: Any, tokens: Any) -> None:
    """``columns[:, tokens[r]] += rows[r]`` for every r; `columns` is (n, classes), `rows` (many, n)."""
    n, classes = columns.shape
    order = xp.argsort(tokens, kind="stable")
    starts = xp.searchsorted(tokens[order], xp.arange(classes + 1))
    table = xp.concatenate([xp.asarray(np.array([n, classes])), starts, order])
    found = xp.zeros(columns.size, columns.dtype)
    device = target.properties()
    threads = min(_THREADS, device.threads)
    blocks = max(1, min(4 * device.multiprocessors, -(-columns.size // threads)))
    arrays = [xp.ascontiguousarray(rows).ravel(), rows[:0].ravel(), found, table, xp.zeros(1, np.int32), 0]
    target.load(_TEXT.format(dtype=columns.dtype)).launch(blocks, threads, 0, arrays, False)
    columns += found.reshape(classes, n).T


_TEXT = '''\
from rnncore.cuda.device import block, blocks, entry, load, store, thread, threads


@entry("{dtype}")
def kernel(tape, weights, memory, numbers, counters, chunk):
    n, classes = numbers[0], numbers[1]
    for item in range(block() * threads() + thread(), n * classes, blocks() * threads()):
        u, token = item % n, item // n
        total = load(memory, item)
        for k in range(numbers[2 + token], numbers[3 + token]):
            total += load(tape, numbers[3 + classes + k] * n + u)
        store(memory, item, total)
    return
'''
