"""A network's steps as one call of compiled code: a program, with loops over layers among its instructions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ..layout import Layout, Rows, layout_of
from .advance import COPY, FIXED, ROOM, RUN, TEAM, TOKENS
from .back import reverse_call, sums_are_gradients
from .bfloat16 import products, upper_halves
from .call import Call, Prepared
from .dense import packed_map
from .instructions import ALIGN, Instructions, Listed, NotWritten, Run
from .loop import PARALLEL_BYTES, LoopWeights, compiled, functions, packing_of
from .machine import host
from .memory import address_of, take
from .pool import available_threads, launch_address, room_address
from .run import LoopTape, forward_call, forward_sequences, row_bytes, threads_for
from .varied import Varied

__all__ = ["NotWritten", "Program", "Readout", "Run"]

_PACKED_BYTES = 2**23  # of the weights of a layer: with more, what a call prepares is no part of its time


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


def _from(array: np.ndarray, rows: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    """As many rows and columns of an array as `like` has, the first of them the first of `rows`."""
    first = 0 if rows is None else int(rows[0])
    return array[first : first + len(like), : like.shape[1]]


class Program(Instructions):
    """The instructions of `time` steps of `batch` sequences."""

    def __init__(
        self, dtype: str, batch: int, parallel: bool, time: int = 1, varied: bool = False, tables: int = ROOM,
        beside: Program | None = None,
    ):  # fmt: skip
        """With `parallel`, loops that are worth it are shared out among threads; `varied`: each run brings lengths.

        `tables`: the place of what follows from these; a program `beside` has them already.
        """
        super().__init__(dtype, batch * time, beside)
        self.batch, self.time, self._parallel = batch, time, parallel
        self.lengths = np.full(batch, time, np.int64)
        self.rows = Rows(np.arange(batch, dtype=np.int64) * time, 1)
        self._layout: Varied | None = None
        if varied:
            self._layout = Varied(self, batch, time, tables, None if beside is None else beside._layout)
            self.lengths, self.rows = self._layout.lengths, Rows(self._layout.forth, 1)

    @property
    def varied(self) -> bool:
        """Whether each run brings its lengths."""
        return self._layout is not None

    # instructions
    def tokens(self, x: np.ndarray, size: int) -> None:
        """End here, with status 1, unless all tokens are in 0..size - 1."""
        listed, many = self._named(len(x))
        self._put(TOKENS, size, *self._of(x), *many, *self._of(listed))

    def _listed(self, rows: int, turned: bool = False) -> tuple[Listed, tuple[int, int]]:
        """Those within lengths, of arrays that have a row for each step; such arrays alone can be `turned`."""
        batch, time = self.batch, self.time
        if self._layout is not None and rows == batch * time:
            return self._layout.mirrored if turned else self._layout.listed, self.loaded(self._layout.total)
        numbers = np.arange(rows).reshape(batch, time)[:, ::-1].ravel() if turned else 0
        return numbers, (FIXED, rows)

    def _named(self, rows: int) -> tuple[np.ndarray, tuple[int, int]]:
        """As `_listed`, of which a list is always made."""
        listed, many = self._listed(rows)
        return listed if isinstance(listed, np.ndarray) else np.arange(rows), many

    def affine(self, rows: np.ndarray, readout: Readout, out: np.ndarray) -> None:
        """out = rows @ V.T + c, of rows for each step or for each sequence."""
        many, k, n = *rows.shape, out.shape[1]
        gemm = products()["gemm"] if readout.halved else functions(str(self.dtype))["gemm"]
        self._held.append(readout)
        self.flops += 2 * n * k * many
        listed, counted = self._named(many)
        self.library(gemm, rows, rows.strides[0], listed, 0, readout.packed, out, out.strides[0], listed, 0, counted,
                     n, k, 0, readout.start)  # fmt: skip

    def clear(self, array: np.ndarray) -> None:
        """array = 0 past the lengths, where these vary."""
        if self._layout is not None:
            self.own("clear", array, array.strides[0], self.lengths, self.batch, self._layout.stride)

    # a layer's loop
    def reversed(self, rows: Rows) -> Rows:
        """The same rows read backward within each length."""
        if self._layout is None:
            return rows.reversed(self.lengths)
        return Rows(self._layout.back, -1) if rows.step > 0 else Rows(self._layout.forth, 1)

    @property
    def layout(self) -> Layout:
        """Of the batch."""
        return layout_of(self.lengths, True) if self._layout is None else self._layout

    def loop(self, layer, sizes, prepared, xs, rows: Rows, out, states, tokens=False, sources=None, extras=None,
             keep: int | None = None) -> LoopTape | None:  # fmt: skip
        """A layer's loop: `states` by name are (batch, size), before it and after it.

        `rows` of `xs` are its steps; `out` is an array and its rows, or None where nobody reads the outputs. `keep` is
        the place of what BPTT needs; None: nothing is kept.
        """
        step, layout = layer.step, self.layout
        threads = threads_for(layer, sizes, layout, prepared.packing) if self._parallel else 1
        call, kept, arrays = forward_call(layer, sizes, prepared, layout, {}, threads, sources, keep is not None)
        forward_sequences(call, step, xs, rows, out and (out[0], 0, out[1]), tokens, extras or {})
        for buffer in kept.values():
            self._lend(buffer, ROOM if keep is None else keep)
        for s in step.states:
            self._sorted(states[s], arrays[s][: self.batch])
        self._begin(call)
        self._run(call, layer, 1)
        for s in step.states:
            full = s in prepared.code.plan.history
            self._unsorted(arrays[s], layout.finals if full else layout.turns, states[s])
        if keep is None:
            return None
        y_rows, each = rows if out is None else out[1], row_bytes(prepared, step)
        return LoopTape(layer, sizes, layout, dict(xs), rows, y_rows, kept, tokens, self.dtype, None, each)

    def back(self, tape: LoopTape, prepared: Prepared, dy: np.ndarray | None, states, dxs, grads) -> None:
        """The way back through a loop: `states` are adjoints of the final states, then those of the initial ones.

        `dxs` are written, to `grads` is added.

        Raises
        ------
        NotWritten
            Gradients of parameters do not come from the loop as they are.
        """
        step, plan = tape.layer.step, prepared.code.plan
        if not sums_are_gradients(step, plan):
            raise NotWritten
        nothing = np.zeros(tape.sizes[step.output.shape[0]], self.dtype)
        adjoints = {f"d{n}": (nothing, 0) for n in step.seeded} | {"dy": (nothing if dy is None else dy, 0)}
        tape = replace(tape, layout=self.layout)
        call, carried = reverse_call(tape, prepared, adjoints, dxs, grads, {}, {})
        self._begin(call)
        for s in step.states:
            self._sorted(states[s], carried[s], tape.layout.turns)
        self._run(call, tape.layer, 2)
        for s in step.states:
            self._unsorted(carried[s], None, states[s])

    def packed(self, layer, which: str, sizes, params) -> Prepared:
        """Kernel and weights of a layer, packed by each run (see `rnncore.cpu.run.prepare`).

        Raises
        ------
        NotWritten
            Weights are many, or go through a function of their own before.
        """
        code = compiled(layer.step, which, str(self.dtype))
        packing = packing_of(code, layer.step, sizes)
        if packing.computed or packing.bytes > _PACKED_BYTES:
            raise NotWritten
        memory = take(packing.bytes)
        self._lend(memory)
        raw = memory.array((packing.bytes,), np.uint8)
        for first, end in packing.bare:
            self.zero(raw[first // ALIGN * ALIGN : end])  # what is no padding is written next
        if packing.first is not None:
            self._pack(packing.table, raw, params[packing.first])
        addresses = {name: memory.address + at for name, at in packing.places.items()}
        return Prepared(code, LoopWeights(memory, addresses, packing.constants), packing)

    def _pack(self, table: np.ndarray, to: np.ndarray, source: np.ndarray) -> None:
        known, workers = functions(str(self.dtype)), available_threads() - 1
        if to.nbytes <= PARALLEL_BYTES or not workers:
            self.library(known["pack"], table, len(table), to, source)
            return
        turn = self.ints(1)
        self.zero(turn)
        given = table, len(table), to, turn, room_address(), source
        job = np.array([self._of(one) for one in given], np.int64)
        self._held.append(job)
        self.workers = max(self.workers, workers)
        self._put(TEAM, known["team_pack"], address_of(job), len(job), 0, 0, self._reserve(job.nbytes), workers,
                  launch_address())  # fmt: skip

    def packed_map(self, w: np.ndarray, by_k: int, by_n: int, k: int, n: int, start: np.ndarray | None) -> Readout:
        """A (k, n) matrix and a row, zero if there is none, packed by each run (see `rnncore.cpu.dense.packed_map`)."""
        wide = -(-n // host().lanes(str(self.dtype))) * host().lanes(str(self.dtype))
        packed, origin = (self.array(ROOM, many, rows=1) for many in (max(k * wide, 1), wide))
        self.zero(packed)
        self._pack(np.array([[0, 0, by_k, by_n, k, n, 0, 0, k, n]], np.int64), packed, w)
        self.zero(origin)
        if start is not None:
            self.copy(start[None], origin)
        return Readout(packed, origin, False)

    def affine_back(self, d: np.ndarray, rows: np.ndarray, v: np.ndarray, dv: np.ndarray, dc: np.ndarray) -> np.ndarray:
        """The adjoint of the rows of an affine map (see `affine`, and `rnncore.cpu.dense.affine_backward`)."""
        (many, n), k = d.shape, v.shape[1]
        table, (listed, counted) = functions(str(self.dtype)), self._named(many)
        scratch = self.array(ROOM, many * 16 + 16, rows=1)
        self.flops += 2 * n * k * many
        self.library(table["outer"], d, d.strides[0], listed, 0, rows, rows.strides[0], listed, 0, dv, dv.strides[0],
                     counted, n, k, scratch, 0, 1)  # fmt: skip
        self.library(table["colsum"], d, d.strides[0], listed, 0, dc, counted, n, 0, 1)
        found = self.array(ROOM, k, rows=many)
        self.affine(d, self.packed_map(v, v.strides[0], v.strides[1], n, k, None), found)
        return found

    def _begin(self, call: Call) -> None:
        self._lend(call.buffer)
        self.zero(call.buffer.array((call.zeros,), np.uint8))

    def _run(self, call: Call, layer, times: int) -> None:
        self.workers = max(self.workers, call.threads - 1)
        weights = sum(prod(call.packing.sizes[d] for d in p.shape) for p in layer.step.params)
        self.flops += 2 * times * self.batch * self.time * weights
        p, s = call.tables()
        table = np.array([self._where(address) for address in p], np.int64).reshape(-1, 2)
        if self._layout is not None:
            s = np.stack([np.full(len(s), FIXED), s], 1)
            s[call.kernel.sizes.index("chunks")] = self.loaded(self._layout.many[call.chunk])
        self._held += [call, table, s]
        self._put(RUN, call.code.run, address_of(table), len(p), address_of(s), address_of(call.constants),
                  self._reserve(24 + 8 * (len(p) + len(s))), call.threads - 1, launch_address(),
                  0 if self._layout is None else len(s))  # fmt: skip

    def _sorted(self, given: np.ndarray, to: np.ndarray, rows: np.ndarray | None = None) -> None:
        """States in the caller's order to `rows` of an array in sorted order, by default its first."""
        if self._layout is None:
            self.copy(given, _from(to, rows, given))
        else:
            self._rows(COPY, given, to, self._layout.order, 0 if rows is None else rows, (FIXED, self.batch))

    def _unsorted(self, given: np.ndarray, rows: np.ndarray | None, to: np.ndarray) -> None:
        """`rows` of an array in sorted order, by default its first, to states in the caller's order."""
        if self._layout is None:
            self.copy(_from(given, rows, to), to)
        else:
            self._rows(COPY, given, to, 0 if rows is None else rows, self._layout.order, (FIXED, self.batch))
