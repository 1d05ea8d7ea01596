"""What runs the program of a step: compiled once for a dtype, it knows no network."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from .chunks import SHARE
from .machine import host
from .store import exported, load_module

__all__ = ["runner"]

FIXED, STATE, ROOM, X, Y, LENGTHS, PARAMS, TAPE, DX, GRADS = range(10)  # places that memory is in
PLACES = 10
LOADED = 16  # onto a place: not an address in it, but the integer that lies there
RUN, ROWS, CALL, TOKENS, TEAM = range(5)  # instructions
COPY, ADD, SCALE = range(3)  # what an instruction does to rows
WORDS = 16  # int64 of an instruction

_FUNCTIONS = ("zero", "clear", "inside", "mirrored", "ordered", "limited", "chunked")

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
    kind = load_int(at)
    if kind >= {loaded}:
        return load_int(load_int(room + 8 * (kind - {loaded})) + load_int(at + 8))
    return load_int(room + 8 * kind) + load_int(at + 8)


@lowered
def together(at, job, boxes, workers):
    if workers:
        call_launch(load_int(at + 64), (boxes, workers, load_int(at + 8), job))
    else:
        call_kernel(load_int(at + 8), (job, 0))


@lowered
def team(room, at, boxes, workers):
    table, job = load_int(at + 16), room + load_int(at + 48)
    for k in range(load_int(at + 24)):
        store_int(job + 8 * k, place(room, table + 16 * k))
    together(at, job, boxes, min(workers, load_int(at + 56)))


@lowered
def run(room, at, boxes, workers):
    table, many, job = load_int(at + 16), load_int(at + 24), room + load_int(at + 48)
    for k in range(many):
        store_int(job + 24 + 8 * k, place(room, table + 16 * k))
    store_int(job, job + 24)
    sizes, of = load_int(at + 32), load_int(at + 72)
    if of:
        for k in range(of):
            store_int(job + 24 + 8 * (many + k), place(room, sizes + 16 * k))
        sizes = job + 24 + 8 * many
    store_int(job + 8, sizes)
    store_int(job + 16, load_int(at + 40))
    together(at, job, boxes, min(workers, load_int(at + 56)))


@lowered
def rows(room, at):
    source, target = place(room, at + 16), place(room, at + 40)
    by_source, by_target = place(room, at + 96), place(room, at + 112)
    columns, how = load_int(at + 80), load_int(at + 8)
    for r in range(place(room, at + 64)):
        a = source + (load_int(by_source + 8 * r) if by_source else r) * load_int(at + 32)
        c = target + (load_int(by_target + 8 * r) if by_target else r) * load_int(at + 56)
        for j in range(0, columns, COUNT):
            value = load_n(a + j * ITEM, columns - j)
            if how == {add}:
                value = add(load_n(c + j * ITEM, columns - j), value)
            elif how == {scale}:
                value = mul(value, load_one(load_int(at + 88)))
            store_n(c + j * ITEM, value, columns - j)


@lowered
def library(room, at):
    table = load_int(at + 16)
    call_library(load_int(at + 8), (
{arguments}))


@lowered
def within(room, at):
    tokens, listed = place(room, at + 16), place(room, at + 48)
    for r in range(place(room, at + 32)):
        token = load_int(tokens + 8 * load_int(listed + 8 * r))
        if token < 0 or token >= load_int(at + 8):
            return False
    return True


@lowered
def steps(program, room, boxes, workers):
    for k in range(load_int(program)):
        at = program + 16 + {words} * 8 * k
        what = load_int(at)
        if what == {run}:
            run(room, at, boxes, workers)
        elif what == {rows}:
            rows(room, at)
        elif what == {call}:
            library(room, at)
        elif what == {team}:
            team(room, at, boxes, workers)
        elif not within(room, at):
            return 1
    return 0


@lowered
def enter(program, memory):
    room = (memory + load_int(program + 8) + 63) // 64 * 64
    store_int(room, 0)
    store_int(room + 8, memory)
    store_int(room + 16, room)
    return room


@lowered
def advance(program, memory, x, y, boxes, workers):
    room = enter(program, memory)
    store_int(room + 24, x)
    store_int(room + 32, y)
    return steps(program, room, boxes, workers)


@lowered
def go(r):
    room = enter(load_int(r), load_int(r + 24))
    for k in range(3, {places}):
        store_int(room + 8 * k, load_int(r + 8 * k + 8))
    return steps(load_int(r), room, load_int(r + 8), load_int(r + 16))


@lowered
def narrow(source, target, many):
    for k in range(many):
        store_one(target + k * ITEM, load_wide(source + 8 * k))


@lowered
def zero(at, nbytes, u0, u1, u2, u3, u4, u5, u6, u7, u8, u9, u10, u11, u12, u13):
    nothing = load_n(at, 0)
    for k in range(0, nbytes // ITEM, COUNT):
        store_n(at + k * ITEM, nothing, nbytes // ITEM - k)


@lowered
def clear(y, row, lengths, batch, stride, u0, u1, u2, u3, u4, u5, u6, u7, u8, u9, u10):
    for b in range(batch):
        n = load_int(lengths + 8 * b)
        zero(y + (b * stride + n) * row, (stride - n) * row, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@lowered
def inside(lengths, batch, stride, listed, many, u0, u1, u2, u3, u4, u5, u6, u7, u8, u9, u10):
    row = 0
    for b in range(batch):
        for t in range(load_int(lengths + 8 * b)):
            store_int(listed + 8 * row, b * stride + t)
            row += 1
    store_int(many, row)


@lowered
def mirrored(lengths, batch, stride, listed, u0, u1, u2, u3, u4, u5, u6, u7, u8, u9, u10, u11):
    row = 0
    for b in range(batch):
        n = load_int(lengths + 8 * b)
        for t in range(n):
            store_int(listed + 8 * row, b * stride + n - 1 - t)
            row += 1


@lowered
def ordered(lengths, batch, time, stride, order, finals, turns, forth, back, counts, offsets, places, u0, u1, u2, u3):
    for n in range(time + 1):
        store_int(places + 8 * n, 0)
    for b in range(batch):
        at = places + 8 * load_int(lengths + 8 * b)
        store_int(at, load_int(at) + 1)
    longer = 0
    for n in range(time, -1, -1):
        many = load_int(places + 8 * n)
        store_int(places + 8 * n, longer)
        if n < time:
            store_int(counts + 8 * n, longer)
        longer += many
    total = 0
    for t in range(time):
        store_int(offsets + 8 * t, total)
        total += load_int(counts + 8 * t)
    store_int(offsets + 8 * time, total)
    for b in range(batch):
        n = load_int(lengths + 8 * b)
        at = places + 8 * n
        r = load_int(at)
        store_int(at, r + 1)
        store_int(order + 8 * r, b)
        store_int(finals + 8 * r, r + (batch + load_int(offsets + 8 * n - 8) if n > 0 else 0))
        store_int(turns + 8 * r, r + n % 2 * batch)
        store_int(forth + 8 * r, b * stride)
        store_int(back + 8 * r, b * stride + n - 1)


@lowered
def limited(total, fixed, each, width, least, most, to, u0, u1, u2, u3, u4, u5, u6, u7, u8):
    work = max(least, (fixed + each * total) // {share})
    store_int(to, max(1, min(most, work // width)))


@lowered
def chunked(offsets, time, limit, starts, many, u0, u1, u2, u3, u4, u5, u6, u7, u8, u9, u10):
    t, chunks = 0, 0
    while t < time:
        store_int(starts + 8 * chunks, t)
        most = load_int(offsets + 8 * t) + limit
        t += 1
        while t < time and load_int(offsets + 8 * t + 8) <= most:
            t += 1
        chunks += 1
    store_int(starts + 8 * chunks, t)
    store_int(many, chunks)


write_addresses = addresses(advance, go, narrow, zero, clear, inside, mirrored, ordered, limited, chunked)


@cfunc("void(int64)", error_model="numpy", fastmath={{"contract", "nsz"}})
def functions(to):
    write_addresses(to)
"""


@lru_cache(maxsize=2)
def runner(dtype: str) -> SimpleNamespace:
    """What runs the programs of a dtype.

    ``advance``: the address of ``advance(program, memory, x, y, boxes, workers)``, which returns 1 where a token is out
    of range, else 0; ``go(record)`` and ``held(record)`` take the program, boxes, workers, memory, and the places from
    `X` on, without and with the interpreter's lock held; ``narrow(source, target, many)`` makes float64 numbers those
    of the dtype; `functions`: addresses of what programs call, in the manner of `rnncore.cpu.library`: ``zero``;
    ``clear``, which zeros what is past lengths; ``inside``, which lists the rows that are not, and
    ``mirrored``, which lists them backward within each length; ``ordered`` and
    ``chunked``, which make the tables of a `rnncore.layout.Layout`; ``limited``: the rows of a
    `rnncore.cpu.chunks.Chunk`.
    """
    import ctypes

    arguments = ",\n".join(f"        place(room, table + {16 * k})" for k in range(16))
    text = _TEXT.format(
        dtype=dtype, count=host().lanes(dtype), item=np.dtype(dtype).itemsize, add=ADD, scale=SCALE, run=RUN,
        rows=ROWS, share=SHARE, call=CALL, team=TEAM, words=WORDS, loaded=LOADED, places=PLACES, arguments=arguments,
    )  # fmt: skip
    advance, go, narrow, *others = exported(load_module(text), 3 + len(_FUNCTIONS))
    integer = ctypes.c_int64
    return SimpleNamespace(
        advance=advance,
        go=ctypes.CFUNCTYPE(integer, integer)(go),
        held=ctypes.PYFUNCTYPE(integer, integer)(go),
        narrow=ctypes.PYFUNCTYPE(None, integer, integer, integer)(narrow),
        functions=dict(zip(_FUNCTIONS, others)),
    )
