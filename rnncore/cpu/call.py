"""The tables of one kernel call: addresses, sizes and constants, and the working memory behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..layout import Layout, Rows, Sources
from ..plan.model import ROWWISE
from .board import BOARD
from .chunks import Chunk
from .drawing import rowwise
from .emit import TURN
from .loop import Compiled, LoopWeights, Packing, functions
from .memory import address_of, take
from .pool import room_address, run_team

__all__ = ["Prepared", "Call", "slices_of"]

_SLICES = 2  # of the batch for each thread: threads that share a core with others take fewer
_SLICE_ROWS = 4  # as long as a slice has so many rows, which fill a register tile
_NEAR = 2**20  # bytes of weights that stay near a core
_SHARES = 4  # of a chunk's gradients for each thread


def slices_of(batch: int, threads: int, weights: int) -> int:
    """Slices of the batch that threads take one after another; each reads all `weights`, in bytes."""
    if threads == 1:
        return 1
    many = 1 if weights > _NEAR else _SLICES
    return many * threads if batch >= many * threads * _SLICE_ROWS else min(threads, batch)


@lru_cache(maxsize=64)
def _counted(n: int, dtype: str) -> np.ndarray:
    return np.arange(n, dtype=dtype)


@dataclass(eq=False)
class Prepared:
    """A kernel of a layer's step and the weights packed for it."""

    code: Compiled
    weights: LoopWeights
    packing: Packing
    functions: dict[str, int] = field(default_factory=dict)  # that multiply by these weights, where they are stored

    def packing_for(self, sources: Sources | None) -> Packing:
        """The packing table with room for as many positions as the sources have."""
        return self.packing if sources is None else self.packing.with_positions(sources.longest)


@dataclass(eq=False)
class _Frame:
    """What every call of a kernel with one layout has in common: sizes, addresses, places of the working memory."""

    sizes: dict[str, int]
    addresses: dict[str, int]
    places: dict[str, int]
    nbytes: int
    zeros: int
    held: tuple[Any, ...]


def _frame(
    code: Compiled, packing: Packing, layout: Layout, chunk: Chunk, threads: int, carried: Mapping[str, int]
) -> _Frame:
    return layout.kept((packing, chunk, threads), lambda: _framed(code, packing, layout, chunk, threads, carried))


def _framed(code, packing, layout: Layout, chunk: Chunk, threads: int, carried) -> _Frame:
    starts, most = layout.chunked(chunk)
    batch, item, chunks = layout.batch, packing.item, len(starts) - 1
    slices = slices_of(batch, threads, packing.bytes)
    work = most * packing.work_width
    list_stride, scratch_stride = 8 * (3 * batch + 6 * most) + 64, most * 16 * item + 64
    sizes = {
        "slices": slices, "waiting": threads if slices == 1 else 1, "shares": 1 if threads == 1 else _SHARES * threads,
        "chunks": chunks, "batch": batch, "list_rows": most, "step": 1, "step_y": 1,
        "work_stride": work, "list_stride": list_stride, "scratch_stride": scratch_stride,
    } | packing.counts  # fmt: skip
    addresses = {f"fn.{name}": address for name, address in functions(code.dtype).items()}
    if any(node.op in ROWWISE for node in code.plan.nests):
        addresses |= {f"fn.{name}": address for name, address in rowwise(code.dtype).items()}
    addresses |= {"starts": address_of(starts), "room": room_address()}
    addresses |= {"counts": address_of(layout.counts), "offsets": address_of(layout.offsets)}
    wanted = {"tasks": TURN * max(chunks, 1), "board": BOARD, **carried}
    wanted |= {"lists": list_stride * threads, "scratch": scratch_stride * threads}
    wanted["work"] = work if code.plan.sums else work * threads
    places, at, zeros = {}, 0, 0
    for name, n in wanted.items():
        places[name] = at
        at += -(-n // 64) * 64
        if name in ("tasks", "board") or name in carried:  # these come first, and start as zeros
            zeros = at
    return _Frame(sizes, addresses, places, at, zeros, (starts, packing))


class Call:
    """The tables of one kernel call."""

    def __init__(
        self, prepared: Prepared, layout: Layout, chunk: Chunk, threads: int, carried: Mapping[str, int],
        sources: Sources | None,
    ):  # fmt: skip
        """`carried` names further working memory and its bytes (zeroed)."""
        self.code, self.layout, self.threads, self.chunk = prepared.code, layout, threads, chunk
        self.packing = prepared.packing_for(sources)
        self.kernel = prepared.code.kernel
        self.constants = prepared.weights.constants
        frame = _frame(self.code, self.packing, layout, chunk, threads, carried)
        self.held: list[Any] = [prepared, frame]
        self.sizes = dict(frame.sizes)
        self.addresses = {**frame.addresses, **prepared.weights.addresses}
        self.addresses |= {f"fn.{name}": address for name, address in prepared.functions.items()}
        table = self.functions = functions(self.code.dtype) | prepared.functions
        self.inputs_as(table["gemm"], table["outer"])
        self.buffer, self.zeros = take(frame.nbytes), frame.zeros
        self.buffer.array((self.zeros,), np.uint8).fill(0)
        for name, place in frame.places.items():
            self.addresses[name] = self.buffer.address + place
        if threads == 1 or self.sizes["slices"] > 1:  # nobody waits who has no slice of its own
            self.addresses["board"] = 0
        if sources is not None:
            self._sources(sources)

    def _sources(self, sources: Sources) -> None:
        self.ints("base.source", self.layout.sorted(sources.base))
        self.ints("count.source", self.layout.sorted(sources.counts))
        self.ints("positions", _counted(self.packing.pad(sources.longest), self.code.dtype))
        for name, array in sources.arrays.items():
            self.held.append(array)
            self.addresses[f"source.{name}"] = address_of(array)
            self.sizes[f"ld.source.{name}"] = array.strides[0]

    def carried_array(self, name: str, rows: int, row_bytes: int) -> np.ndarray:
        """Working memory `name` as (rows, padded size)."""
        first = self.addresses[name] - self.buffer.address + self.buffer.offset
        raw = self.buffer.raw[first : first + rows * row_bytes]
        return raw.view(self.code.dtype).reshape(rows, row_bytes // self.packing.item)

    def inputs_as(self, gemm: int, outer: int) -> None:
        """The functions that multiply inputs, and sum their weights' gradient."""
        self.addresses["fn.gemm.in"], self.addresses["fn.outer.in"] = gemm, outer

    def ints(self, name: str, array: np.ndarray) -> None:
        self.held.append(array)
        self.addresses[name] = address_of(array)

    def rows(self, name: str, rows: Rows) -> None:
        self.ints(f"base.{name}", self.layout.sorted(rows.base))
        self.sizes["step" if name == "in" else "step_y"] = rows.step

    def sequence(self, name: str, array: np.ndarray, column: int = 0) -> None:
        """An outside array of rows (C-contiguous, 2-D), from a column on."""
        self.held.append(array)
        self.addresses[name] = address_of(array) + column * array.itemsize
        self.sizes[f"ld.{name}"] = array.strides[0] if array.ndim == 2 else 0

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Addresses and sizes, as the kernel reads them."""
        p = np.array([self.addresses[n] for n in self.kernel.pointers], np.int64)
        return p, np.array([self.sizes[n] for n in self.kernel.sizes], np.int64)

    def go(self) -> None:
        p, s = self.tables()
        job = np.array([address_of(p), address_of(s), address_of(self.constants)], np.int64)
        run_team(self.code.run, address_of(job), self.threads)

    def release(self) -> None:
        """Give the working memory back."""
        self.buffer.give_back()
