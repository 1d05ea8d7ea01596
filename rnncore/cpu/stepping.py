"""A network's steps as one call of compiled code: a program of a few instructions, kernels among them.

A program names memory by its place: in the state, in the room to work in, in the input, in the output. Where these lie
is said by each call, so any number of threads may run one program, each in memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from ..layout import Rows, layout_of
from .advance import ADD, COPY, FIXED, MAP, ROOM, ROWS, RUN, SCALE, STATE, TOKENS, WORDS, X, Y, runner
from .bfloat16 import products, upper_halves
from .dense import packed_map
from .loop import functions
from .memory import Buffer, address_of
from .pool import launch_address, with_team
from .run import forward_call, forward_sequences, threads_for

__all__ = ["Program", "Readout", "Run"]

_ALIGN = 64
_SHORT_FLOPS = 1e6  # what is shorter keeps the interpreter's lock: another thread may hold what was let go for 5 ms


@dataclass(eq=False)
class Readout:
    """The map ``c + V h`` in the order in which products read it; `halved`: its matrix is stored as bfloat16."""

    packed: np.ndarray
    start: np.ndarray
    halved: bool

    @classmethod
    def of(cls, v: np.ndarray, c: np.ndarray, halved: bool) -> Readout:
        """V is (outputs, features), c (outputs,)."""
        packed, start = packed_map(v, v.strides[1], v.strides[0], v.shape[1], v.shape[0], c)
        return cls(upper_halves(packed) if halved else packed, start, halved)


class Program:
    """The instructions of `time` steps of `batch` sequences, and how much memory each place needs.

    `array` makes arrays that stand for places while the program is written; any other array that an instruction is
    given is itself what it reads or writes, and is kept. `finish` ends the writing.
    """

    def __init__(self, dtype: str, batch: int, parallel: bool, time: int = 1):
        """With `parallel`, loops that are worth it are shared out among threads."""
        self.dtype, self.batch, self.time, self._parallel = np.dtype(dtype), batch, time, parallel
        self.lengths = np.full(batch, time, np.int64)
        self.rows = Rows(np.arange(batch, dtype=np.int64) * time, 1)
        self.flops = self.workers = 0
        self._code: list[list[int]] = []
        self._ranges: list[tuple[int, int, int, int]] = []
        self._bytes = {STATE: 0, ROOM: _ALIGN, X: 0, Y: 0}
        self._lent: list[Buffer] = []
        self._held: list[object] = []
        self._listed = np.arange(batch * time, dtype=np.int64)

    # places
    def array(self, kind: int, columns: int, dtype=None, rows: int | None = None) -> np.ndarray:
        """A new array of a place, (rows, columns): a row for each step of each sequence if nothing else is said."""
        made = np.zeros((self.batch * self.time if rows is None else rows, columns), dtype or self.dtype)
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
        return FIXED, address

    def _reserve(self, nbytes: int) -> int:
        at = self._bytes[ROOM]
        self._bytes[ROOM] += -(-nbytes // _ALIGN) * _ALIGN
        return at

    def offset(self, array: np.ndarray) -> int:
        """Bytes from the beginning of its place to an array."""
        return self._where(address_of(array))[1]

    # instructions
    def _put(self, *words: int) -> None:
        self._code.append([*words, *[0] * (WORDS - len(words))])

    def _rows(self, how: int, source: np.ndarray, target: np.ndarray, factor: np.ndarray | None = None) -> None:
        at = 0 if factor is None else address_of(factor)
        self._held += [source, target, factor]
        self._put(ROWS, how, *self._where(address_of(source)), source.strides[0], *self._where(address_of(target)),
                  target.strides[0], *target.shape, at)  # fmt: skip

    def copy(self, source: np.ndarray, target: np.ndarray) -> None:
        """target = source, row by row."""
        self._rows(COPY, source, target)

    def add(self, source: np.ndarray, target: np.ndarray) -> None:
        """target += source, row by row."""
        self._rows(ADD, source, target)

    def scale(self, target: np.ndarray, factor: float) -> None:
        """target *= factor."""
        self._rows(SCALE, target, target, np.array([factor], self.dtype))

    def tokens(self, x: np.ndarray, size: int) -> None:
        """End here, with status 1, unless all tokens are in 0..size - 1."""
        self._put(TOKENS, 0, *self._where(address_of(x)), 0, len(x), size)

    def affine(self, rows: np.ndarray, readout: Readout, out: np.ndarray) -> None:
        """out = rows @ V.T + c."""
        many, k, n = *rows.shape, out.shape[1]
        gemm = products()["gemm"] if readout.halved else functions(str(self.dtype))["gemm"]
        self._held.append(readout)
        self.flops += 2 * n * k * many
        self._put(MAP, gemm, *self._where(address_of(rows)), rows.strides[0], *self._where(address_of(out)),
                  out.strides[0], address_of(self._listed), address_of(readout.packed), many, n, k,
                  address_of(readout.start))  # fmt: skip

    def loop(self, layer, sizes, prepared, xs, rows: Rows, out, states, tokens=False, sources=None, extras=None):
        """A layer's loop: `states` by name are (batch, size), before it and after it.

        `rows` of `xs` are its steps; `out` is an array and its rows, or None where nobody reads the outputs.
        """
        step, layout = layer.step, layout_of(self.lengths, True)
        threads = threads_for(layer, sizes, layout) if self._parallel else 1
        self.workers = max(self.workers, threads - 1)
        self.flops += 2 * layout.rows * sum(prod(sizes[d] for d in p.shape) for p in step.params)
        call, kept, arrays = forward_call(layer, sizes, prepared, layout, {}, threads, sources)
        forward_sequences(call, step, xs, rows, out and (out[0], 0, out[1]), tokens, extras or {})
        for buffer in (call.buffer, *kept.values()):
            self._lend(buffer)
        for s in step.states:
            self.copy(states[s], arrays[s][: self.batch, : states[s].shape[1]])
        p, s = call.tables()
        table = np.array([self._where(address) for address in p], np.int64).reshape(-1, 2)
        zeros = self._where(call.buffer.address)[1]
        self._held += [call, table, s]
        self._put(RUN, call.code.run, address_of(table), len(p), address_of(s), address_of(call.constants),
                  self._reserve(24 + 8 * len(p)), zeros, call.zeros, threads - 1, launch_address())  # fmt: skip
        for s in step.states:
            last = (layout.finals if s in prepared.code.plan.history else layout.turns)[0]
            self.copy(arrays[s][last:][: self.batch, : states[s].shape[1]], states[s])

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
        run = runner(str(self.dtype))
        self.short = self.flops < _SHORT_FLOPS
        self._go = run.held if self.short else run.go

    def runs(self, record: np.ndarray) -> Callable[[], int]:
        """What runs it: `record` holds the program's address, those of memory, input and output, and two numbers."""
        alone = partial(self._go, address_of(record))

        def together(boxes: int, workers: int) -> int:
            record[4:] = boxes, workers
            return alone()

        return alone if self.short else partial(with_team, self.workers + 1, together)

    def once(self, memory: int, x: np.ndarray, y: np.ndarray) -> int:
        """Run it in memory at an address (see `Run`)."""
        record = np.array([self.address, memory, address_of(x), address_of(y), 0, 0], np.int64)
        return self.runs(record)()


class Run:
    """A program with its memory, input and output, for one thread at a time.

    As long as it is kept, ``go()`` makes one step. It returns 1, with nothing written, where a token is out of range,
    else 0.
    """

    def __init__(self, program: Program, memory: np.ndarray, x: np.ndarray | None = None, y: np.ndarray | None = None):
        places = [0 if a is None else address_of(a) for a in (memory, x, y)]
        record = np.array([program.address, *places, 0, 0], np.int64)
        self._held = program, memory, x, y, record
        self.go = program.runs(record)
