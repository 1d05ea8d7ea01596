"""One kernel over one batch: memory laid out, tables filled, launches chunk by chunk of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..lang.dims import POSITION
from ..layout import Layout, Sources
from ..plan.model import Plan, Product
from . import target
from .copies import ROW, in_blocks
from .geometry import Geometry, Shape, chosen
from .rows import kept
from .space import Stay, put, xp
from .weights import Code, Prepared
from .writer import Kernel, padded

__all__ = ["Launch", "TapeParts", "device", "of_a_share", "shape_of", "shared_out"]

WORK_BYTES = 2**24  # of a chunk's rows: they stay in the cache that all blocks share
_ALIGN = 32  # numbers
_MOST = 2**31 - 1  # of a size: quotients are those of 32 bits
_share: ContextVar[int] = ContextVar("share", default=1)  # how many there are of the current device


def device() -> target.Properties:
    """What launches may take of the current device (see `of_a_share`)."""
    return shared_out(target.properties(), _share.get())


def shared_out(whole: target.Properties, many: int) -> target.Properties:
    """One of so many equal shares of a device: of its multiprocessors."""
    return replace(whole, multiprocessors=max(1, whole.multiprocessors // many))


@contextmanager
def of_a_share(many: int) -> Iterator[None]:
    """Launches within take one of so many equal shares of what they may take: as many blocks all run at once."""
    token = _share.set(_share.get() * many)
    try:
        yield
    finally:
        _share.reset(token)


class _Dims:
    """Numbers of size symbols, and of columns side by side, each of which begins at a multiple of four."""

    def __init__(self, sizes: Mapping[Any, int], positions: int = 0):
        self.sizes = {**sizes, POSITION: positions}

    def number(self, dim: Any) -> int:
        return dim if isinstance(dim, int) else self.sizes.get(dim, 0)

    def columns(self, of: Mapping[str, Any]) -> tuple[dict[str, int], int]:
        """Where columns begin, and how many numbers a row has."""
        places, at = {}, 0
        for name, dim in of.items():
            places[name] = at
            at += padded(self.number(dim))
        return places, at


class TapeParts:
    """Where states and saved columns lie in the array that a forward pass keeps."""

    def __init__(self, plan: Plan, sizes: Mapping[Any, int], layout: Layout, positions: int):
        dims = _Dims(sizes, positions)
        self.widths = {s: dims.number(dim) for s, dim in plan.states.items()}
        self.batch, self.many = layout.batch, layout.rows
        self.rows = {s: self.batch + (self.many if s in plan.history else self.batch) for s in plan.states}
        self.places, at = {}, 0
        for s, n in self.widths.items():
            self.places[f"state.{s}"] = at
            at += self.rows[s] * padded(n)
        self.places["saved"] = at
        self.offsets, self.saved = dims.columns(plan.saved)
        self.size = at + self.many * self.saved

    def states(self, tape: Any, s: str) -> Any:
        at, n = self.places[f"state.{s}"], padded(self.widths[s])
        return tape[at : at + self.rows[s] * n].reshape(self.rows[s], n)[:, : self.widths[s]]

    def columns(self, tape: Any) -> Any:
        at = self.places["saved"]
        return tape[at : at + self.many * self.saved].reshape(self.many, self.saved)


@dataclass(eq=False)
class _Frame:
    """What every call of a kernel with one layout has in common."""

    geometry: Geometry
    kernel: Kernel
    dims: _Dims
    offsets: dict[str, int]  # of columns of work
    work: int  # numbers of a row of work
    starts: np.ndarray
    places: dict[str, int]
    sizes: dict[str, int]
    filled: int
    table: Stay | None = None


def _framed(prepared: Prepared, layout: Layout, positions: int, parts, given) -> _Frame:
    code, dims = prepared.code, _Dims(prepared.sizes, positions)
    shape = shape_of(code, prepared.sizes, layout, prepared.rounding.products, positions)
    geometry = chosen(shape, device())
    kernel = code.kernel(geometry.tiling)
    offsets, work = dims.columns(kernel.columns)
    starts, most = layout.starts(max(1, WORK_BYTES // max(work * np.dtype(code.dtype).itemsize, 1)))
    places, at = {}, 0
    copies = _copied(kernel, geometry, dims)
    for name, (rows, columns) in {"work": (most, work), **parts, **copies}.items():
        places[name] = at
        at += -(-rows * columns // _ALIGN) * _ALIGN
    _, wide = dims.columns(code.plan.saved)
    table = {"members": geometry.members, "slices": geometry.slices, "batch": layout.batch, "tile": geometry.tile,
             "room": geometry.room, "ld.work": work, "ld.saved": wide}  # fmt: skip
    table |= {f"split.{k}": n for k, n in enumerate(geometry.splits)}
    table |= {f"near.{k}": n for k, n in enumerate(geometry.near)}
    table |= {f"n{k}": dims.number(d) for k, d in enumerate(kernel.dims)}
    return _Frame(geometry, kernel, dims, offsets, work, starts, places, table | given, at)


def _copied(kernel: Kernel, geometry: Geometry, dims: _Dims) -> dict[str, tuple[int, int]]:
    """Room for the copies of operands, of two turns each."""
    rows, kind = 2 * geometry.slices * -(-geometry.room // 16), kernel.tiling.tensor
    wide = [sum(in_blocks(dims.number(d), kind) for d in operands) for operands in kernel.copies]
    return {f"copy.{c}": (rows, n * ROW) for c, n in enumerate(wide)}


def shape_of(code: Code, sizes: Mapping[Any, int], layout: Layout, products: str, positions: int = 0) -> Shape:
    """What the layout of a launch depends on."""
    plain, dims = code.plain, _Dims(sizes, positions)
    index = {id(p): k for k, p in enumerate(plain.products)}
    each = tuple(
        (tuple(dims.number(v.shape[0]) for v in p.operands), tuple(dims.number(s.dim) for s in p.slots))
        for p in plain.products
    )
    waves = tuple(tuple(index[id(p)] for p in wave) for wave in code.plan.waves)
    units = max([dims.number(d) for d in plain.dims if d != POSITION], default=1)
    return Shape(each, waves, max(layout.batch, 1), units, len(plain.sums), np.dtype(code.dtype).itemsize, products)


class Launch:
    """A kernel's call.

    Parameters
    ----------
    prepared : Prepared
    layout : Layout
    sources : Sources or None
    tape : TapeParts
    parts : mapping of str to (rows, columns)
        Of `memory`, besides the rows of work.
    sizes : mapping of str to int
        That the kernel's table has besides those that follow from the layout.
    """

    def __init__(
        self, prepared: Prepared, layout: Layout, sources: Sources | None, tape: TapeParts,
        parts: Mapping[str, tuple[int, int]], sizes: Mapping[str, int],
    ):  # fmt: skip
        self.prepared, self.layout, self.sources, self.parts = prepared, layout, sources, parts
        self.plan, self.dtype = prepared.code.plan, np.dtype(prepared.code.dtype)
        longest = 0 if sources is None else sources.longest
        items = (tuple(of.items()) for of in (prepared.sizes, parts, sizes))
        key = (prepared.code, prepared.rounding, longest, _share.get(), *items)
        frame = kept(layout, key, lambda: _framed(prepared, layout, longest, parts, sizes))
        self.frame, self.tape_parts = frame, tape
        self.packed = prepared.weights.packed(frame.geometry.members, frame.geometry.tiling)
        self.tape: Any = None
        self.memory = self.room(frame.filled)

    def room(self, numbers: int) -> Any:
        """Memory; tensor cores read up to the ends of rows, which must hold numbers then."""
        make = xp.zeros if self.prepared.rounding.products else xp.empty
        return make(numbers, self.dtype)

    def number(self, dim: Any) -> int:
        return self.frame.dims.number(dim)

    # memory
    def part(self, name: str) -> Any:
        """A part of `memory` as (rows, columns)."""
        at, (rows, columns) = self.frame.places[name], self.parts[name]
        return self.memory[at : at + rows * columns].reshape(rows, columns)

    def work(self, rows: int, name: str, numbers: int) -> Any:
        """Columns, from that of a name on, of the rows of a chunk."""
        at, wide, first = self.frame.places["work"], self.frame.work, self.frame.offsets[name]
        return self.memory[at : at + rows * wide].reshape(rows, wide)[:, first : first + numbers]

    def slots(self, product: Product, rows: int) -> list[tuple[Any, int]]:
        """The columns of a product's slots, and how many: all at once where they lie side by side."""
        widths = [self.number(s.dim) for s in product.slots]
        if all(padded(n) == n for n in widths[:-1]):
            return [(self.work(rows, product.slots[0].name, sum(widths)), sum(widths))]
        return [(self.work(rows, s.name, n), n) for s, n in zip(product.slots, widths)]

    # the launches
    def go(self, before: Callable[[int, int], None], after: Callable[[int, int], None]) -> None:
        """Launch chunk by chunk, the last first going back; both are told its first row and its end."""
        frame = self.frame
        geometry, table, loaded = frame.geometry, self._table(), target.load(frame.kernel.text)
        chunks = range(len(frame.starts) - 1)
        for chunk in reversed(chunks) if self.plan.reverse else chunks:
            r0, r1 = (int(self.layout.offsets[frame.starts[k]]) for k in (chunk, chunk + 1))
            before(r0, r1)
            counters = xp.zeros(geometry.slices, np.int32)
            arrays = [self.tape, self.packed.flat, self.memory, table, counters, chunk]
            loaded.launch(geometry.blocks, geometry.threads, geometry.shared_bytes, arrays, geometry.members > 1)
            after(r0, r1)

    def _table(self) -> Any:
        """The kernel's numbers on the device; those of a layout without sources are kept."""
        if self.sources is not None:
            return put(self._numbers())
        if self.frame.table is None:
            self.frame.table = Stay(self._numbers(), self.layout.shared)
        return self.frame.table.array()

    def _numbers(self) -> np.ndarray:
        """Pointers, sizes, then the lists that some pointers point to."""
        kernel, layout = self.frame.kernel, self.layout
        lists = {"counts": layout.counts, "offsets": layout.offsets, "starts": self.frame.starts}
        if (seen := self.sources) is not None:
            lists |= {"base.source": layout.sorted(seen.base), "count.source": layout.sorted(seen.counts)}
        places = self.frame.places | self.tape_parts.places | self.packed.places
        at = len(kernel.pointers) + len(kernel.sizes)
        for name, values in lists.items():
            places[name] = at
            at += len(values)
        sizes = self.frame.sizes | self.packed.sizes
        if (most := max(sizes.values())) > _MOST:
            raise InputError(f"a kernel counts up to {_MOST} on a GPU, this call needs {most}: give fewer sequences")
        head = [places[n] for n in kernel.pointers] + [sizes[n] for n in kernel.sizes]
        return np.concatenate([np.array(head, np.int64), *lists.values()]).astype(np.int64)
