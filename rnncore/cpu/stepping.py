"""One step of a network as one call of compiled code: a program of a few instructions, kernels among them.

A program names memory by its place: in the state, in the room to work in, in the input, in the output. Where these lie
is said by each call, so any number of threads may run one program, each in memory of its own.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from .dense import packed_map
from .layout import Rows, layout_of
from .loop import functions
from .machine import host
from .memory import Buffer, address_of
from .pool import launch_address
from .run import forward_call, forward_sequences
from .store import load_module

__all__ = ["Program", "runner"]

_FIXED, STATE, ROOM, X, Y = range(5)
_RUN, _ROWS, _MAP, _TOKENS = range(4)
_COPY, _ADD, _SCALE = range(3)
_WORDS = 16  # int64 of an instruction
_ALIGN = 64

_TEXT = """\
from numba import cfunc, njit, types
from rnncore.cpu.laneops import OPS
from rnncore.cpu.lanes import call, lanes, load_int, store_int

F, WIDE = lanes("{dtype}", {count}), lanes("float64", {count})
load_n, store_n, load_one, store_one, load_wide = F.load_n, F.store_n, F.load_one, F.store_one, WIDE.load_one
add, mul = OPS["add"], OPS["mul"]
COUNT, ITEM = {count}, {item}
call_kernel, call_launch, call_library = call(2), call(4), call(16)
OPTIONS = dict(cache=True, error_model="numpy")
HELPER = dict(error_model="numpy", inline="never")


@njit(**HELPER)
def place(room, at):
    return load_int(room + 8 * load_int(at)) + load_int(at + 8)


@njit(**HELPER)
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


@njit(**HELPER)
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


@njit(**HELPER)
def map_rows(room, at):
    a, c, listed = place(room, at + 16), place(room, at + 40), load_int(at + 64)
    call_library(load_int(at + 8), (
        a, load_int(at + 32), listed, 0, load_int(at + 72), c, load_int(at + 56), listed, 0,
        load_int(at + 80), load_int(at + 88), load_int(at + 96), 0, load_int(at + 104), 0, 0))


@njit(**HELPER)
def within(room, at):
    tokens = place(room, at + 16)
    for r in range(load_int(at + 40)):
        token = load_int(tokens + 8 * r)
        if token < 0 or token >= load_int(at + 48):
            return False
    return True


@cfunc(types.int64(*[types.int64] * 6), **OPTIONS)
def advance(program, memory, x, y, boxes, workers):
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


@cfunc(types.int64(types.int64), **OPTIONS)
def go(record):
    r = record
    return advance(load_int(r), load_int(r + 8), load_int(r + 16), load_int(r + 24), load_int(r + 32), load_int(r + 40))


@cfunc(types.void(types.int64, types.int64, types.int64), **OPTIONS)
def narrow(source, target, many):
    for k in range(many):
        store_one(target + k * ITEM, types.{dtype}(load_wide(source + 8 * k)))
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
        dtype=dtype, count=host().lanes(dtype), item=np.dtype(dtype).itemsize, add=_ADD, scale=_SCALE, run=_RUN,
        rows=_ROWS, map=_MAP, words=_WORDS,
    )  # fmt: skip
    module = load_module(text)
    integer = ctypes.c_int64
    return SimpleNamespace(
        advance=module.advance.address,
        go=ctypes.CFUNCTYPE(integer, integer)(module.go.address),
        held=ctypes.PYFUNCTYPE(integer, integer)(module.go.address),
        narrow=ctypes.PYFUNCTYPE(None, integer, integer, integer)(module.narrow.address),
    )


class Program:
    """The instructions of a step of `batch` sequences, and how much memory each place needs.

    `array` makes arrays that stand for places while the program is written; any other array that an instruction is
    given is itself what it reads or writes, and is kept. `finish` ends the writing.
    """

    def __init__(self, dtype: str, batch: int):
        self.dtype, self.batch = np.dtype(dtype), batch
        self.flops = 0
        self._code: list[list[int]] = []
        self._ranges: list[tuple[int, int, int, int]] = []
        self._bytes = {STATE: 0, ROOM: _ALIGN, X: 0, Y: 0}
        self._lent: list[Buffer] = []
        self._held: list[object] = []
        self._one = np.arange(batch, dtype=np.int64)

    # places
    def array(self, kind: int, columns: int, dtype=None) -> np.ndarray:
        """A new array (batch, columns) of a place."""
        made = np.zeros((self.batch, columns), dtype or self.dtype)
        self._place(address_of(made), made.nbytes, kind)
        self._held.append(made)
        return made

    def _place(self, address: int, nbytes: int, kind: int) -> None:
        self._ranges.append((address, address + nbytes, kind, self._bytes[kind]))
        self._bytes[kind] += nbytes if kind in (STATE, X, Y) else -(-nbytes // _ALIGN) * _ALIGN

    def _lend(self, buffer: Buffer) -> None:
        self._lent.append(buffer)
        self._place(buffer.address, buffer.nbytes, ROOM)

    def _where(self, address: int) -> tuple[int, int]:
        for first, end, kind, offset in self._ranges:
            if first <= address < end:
                return kind, offset + address - first
        return _FIXED, address

    def _reserve(self, nbytes: int) -> int:
        at = self._bytes[ROOM]
        self._bytes[ROOM] += -(-nbytes // _ALIGN) * _ALIGN
        return at

    def offset(self, array: np.ndarray) -> int:
        """Bytes from the beginning of its place to an array."""
        return self._where(address_of(array))[1]

    # instructions
    def _put(self, *words: int) -> None:
        self._code.append([*words, *[0] * (_WORDS - len(words))])

    def _rows(self, how: int, source: np.ndarray, target: np.ndarray, factor: np.ndarray | None = None) -> None:
        at = 0 if factor is None else address_of(factor)
        self._held += [source, target, factor]
        self._put(_ROWS, how, *self._where(address_of(source)), source.strides[0], *self._where(address_of(target)),
                  target.strides[0], self.batch, target.shape[1], at)  # fmt: skip

    def copy(self, source: np.ndarray, target: np.ndarray) -> None:
        """target = source, row by row."""
        self._rows(_COPY, source, target)

    def add(self, source: np.ndarray, target: np.ndarray) -> None:
        """target += source, row by row."""
        self._rows(_ADD, source, target)

    def scale(self, target: np.ndarray, factor: float) -> None:
        """target *= factor."""
        self._rows(_SCALE, target, target, np.array([factor], self.dtype))

    def tokens(self, x: np.ndarray, size: int) -> None:
        """End here, with status 1, unless all tokens are in 0..size - 1."""
        self._put(_TOKENS, 0, *self._where(address_of(x)), 0, self.batch, size)

    def affine(self, rows: np.ndarray, v: np.ndarray, c: np.ndarray, out: np.ndarray) -> None:
        """out = rows @ v.T + c."""
        (n, k), gemm = v.shape, functions(str(self.dtype))["gemm"]
        packed, start = packed_map(v, v.strides[1], v.strides[0], k, n, c)
        self._held += [packed, start]
        self.flops += 2 * n * k * self.batch
        self._put(_MAP, gemm, *self._where(address_of(rows)), rows.strides[0], *self._where(address_of(out)),
                  out.strides[0], address_of(self._one), address_of(packed), self.batch, n, k,
                  address_of(start))  # fmt: skip

    def loop(self, layer, sizes, prepared, xs, out, states, threads: int, tokens=False, sources=None, extras=None):
        """A step of a layer's loop: `states` by name are (batch, size), before it and after it."""
        step, rows = layer.step, Rows(self._one, 1)
        layout = layout_of(np.ones(self.batch, np.int64), True)
        call, kept, arrays = forward_call(layer, sizes, prepared, layout, {}, threads, sources)
        forward_sequences(call, step, xs, rows, (out, 0, rows), tokens, extras or {})
        for buffer in (call.buffer, *kept.values()):
            self._lend(buffer)
        for s in step.states:
            self.copy(states[s], arrays[s][: self.batch, : states[s].shape[1]])
        p, s = call.tables()
        table = np.array([self._where(address) for address in p], np.int64).reshape(-1, 2)
        zeros = self._where(call.buffer.address)[1]
        self._held += [call, table, s]
        self._put(_RUN, call.code.run, address_of(table), len(p), address_of(s), address_of(call.constants),
                  self._reserve(24 + 8 * len(p)), zeros, call.zeros, threads - 1, launch_address())  # fmt: skip
        for s in step.states:
            self.copy(arrays[s][self.batch :][: self.batch, : states[s].shape[1]], states[s])

    def finish(self) -> None:
        """End the writing: give memory that stood for places back, and fix the program's `address` and `nbytes`."""
        text = np.array([[len(self._code), self._bytes[STATE]]], np.int64).ravel()
        self._text = np.concatenate([text, np.array(self._code, np.int64).ravel()])
        self.address = address_of(self._text)
        self.state_bytes = self._bytes[STATE]
        self.nbytes = self.state_bytes + self._bytes[ROOM] + _ALIGN
        for buffer in self._lent:
            buffer.give_back()
        self._lent.clear()
