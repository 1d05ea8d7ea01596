"""What runs the program of a step: compiled once for a dtype, it knows no network."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from .machine import host
from .store import exported, load_module

__all__ = ["runner"]

FIXED, STATE, ROOM, X, Y = range(5)  # places that memory is in
RUN, ROWS, MAP, TOKENS = range(4)  # instructions
COPY, ADD, SCALE = range(3)  # what an instruction does to rows
WORDS = 16  # int64 of an instruction

_TEXT = """\
from numba import cfunc
from rnncore.cpu.laneops import OPS
from rnncore.cpu.lanes import call, lanes, load_int, store_int
from rnncore.cpu.lower import addresses, lowered

F, WIDE = lanes("{dtype}", {count}), lanes("float64", {count})
load_n, store_n, load_one, store_one, load_wide = F.load_n, F.store_n, F.load_one, F.store_one, WIDE.load_one
add, mul = OPS["add"], OPS["mul"]
COUNT, ITEM = {count}, {item}
call_kernel, call_launch, call_library = call(2), call(4), call(16)


@lowered
def place(room, at):
    return load_int(room + 8 * load_int(at)) + load_int(at + 8)


@lowered
def run(room, at, boxes, workers):
    table, many, job = load_int(at + 16), load_int(at + 24), room + load_int(at + 48)
    for k in range(many):
        store_int(job + 24 + 8 * k, place(room, table + 16 * k))
    store_int(job, job + 24)
    store_int(job + 8, load_int(at + 32))
    store_int(job + 16, load_int(at + 40))
    zeros = room + load_int(at + 56)
    for k in range(0, load_int(at + 64), 8):
        store_int(zeros + k, 0)
    workers = min(workers, load_int(at + 72))
    if workers:
        call_launch(load_int(at + 80), (boxes, workers, load_int(at + 8), job))
    else:
        call_kernel(load_int(at + 8), (job, 0))


@lowered
def rows(room, at):
    source, target = place(room, at + 16), place(room, at + 40)
    columns, how = load_int(at + 72), load_int(at + 8)
    for r in range(load_int(at + 64)):
        for j in range(0, columns, COUNT):
            value = load_n(source + j * ITEM, columns - j)
            if how == {add}:
                value = add(load_n(target + j * ITEM, columns - j), value)
            elif how == {scale}:
                value = mul(value, load_one(load_int(at + 80)))
            store_n(target + j * ITEM, value, columns - j)
        source += load_int(at + 32)
        target += load_int(at + 56)


@lowered
def map_rows(room, at):
    a, c, listed = place(room, at + 16), place(room, at + 40), load_int(at + 64)
    call_library(load_int(at + 8), (
        a, load_int(at + 32), listed, 0, load_int(at + 72), c, load_int(at + 56), listed, 0,
        load_int(at + 80), load_int(at + 88), load_int(at + 96), 0, load_int(at + 104), 0, 0))


@lowered
def within(room, at):
    tokens = place(room, at + 16)
    for r in range(load_int(at + 40)):
        token = load_int(tokens + 8 * r)
        if token < 0 or token >= load_int(at + 48):
            return False
    return True


@lowered
def steps(program, memory, x, y, boxes, workers):
    room = (memory + load_int(program + 8) + 63) // 64 * 64
    store_int(room, 0)
    store_int(room + 8, memory)
    store_int(room + 16, room)
    store_int(room + 24, x)
    store_int(room + 32, y)
    for k in range(load_int(program)):
        at = program + 16 + {words} * 8 * k
        what = load_int(at)
        if what == {run}:
            run(room, at, boxes, workers)
        elif what == {rows}:
            rows(room, at)
        elif what == {map}:
            map_rows(room, at)
        elif not within(room, at):
            return 1
    return 0


@lowered
def advance(program, memory, x, y, boxes, workers):
    return steps(program, memory, x, y, boxes, workers)


@lowered
def go(r):
    return steps(load_int(r), load_int(r + 8), load_int(r + 16), load_int(r + 24), load_int(r + 32), load_int(r + 40))


@lowered
def narrow(source, target, many):
    for k in range(many):
        store_one(target + k * ITEM, load_wide(source + 8 * k))


write_addresses = addresses(advance, go, narrow)


@cfunc("void(int64)", error_model="numpy", fastmath={{"contract", "nsz"}})
def functions(to):
    write_addresses(to)
"""


@lru_cache(maxsize=2)
def runner(dtype: str) -> SimpleNamespace:
    """What runs the programs of a dtype.

    ``advance``: the address of ``advance(program, memory, x, y, boxes, workers)``, which returns 1 where a token is out
    of range, else 0; ``go(record)`` and ``held(record)`` take the six in memory, without and with the interpreter's
    lock held; ``narrow(source, target, many)`` makes float64 numbers those of the dtype.
    """
    import ctypes

    text = _TEXT.format(
        dtype=dtype, count=host().lanes(dtype), item=np.dtype(dtype).itemsize, add=ADD, scale=SCALE, run=RUN,
        rows=ROWS, map=MAP, words=WORDS,
    )  # fmt: skip
    advance, go, narrow = exported(load_module(text), 3)
    integer = ctypes.c_int64
    return SimpleNamespace(
        advance=advance,
        go=ctypes.CFUNCTYPE(integer, integer)(go),
        held=ctypes.PYFUNCTYPE(integer, integer)(go),
        narrow=ctypes.PYFUNCTYPE(None, integer, integer, integer)(narrow),
    )
