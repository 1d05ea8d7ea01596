"""One kernel over one batch: memory laid out, tables filled, launches chunk by chunk of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..lang.dims import POSITION
from ..layout import Layout, Sources
from ..plan.model import Product
from . import target
from .geometry import Geometry, Shape, chosen
from .rows import kept, sorted_to
from .space import put, xp
from .weights import Prepared
from .writer import Kernel, padded

__all__ = ["Launch"]

WORK_BYTES = 2**24  # of a chunk's rows: they stay in the cache that all blocks share


class Launch:
    """A kernel's call: `memory` is an array whose parts are named, `tape` what a forward pass keeps."""

    def __init__(self, prepared: Prepared, layout: Layout, sources: Sources | None):
        self.prepared, self.layout, self.sources = prepared, layout, sources
        self.code, self.plan, self.dtype = prepared.code, prepared.code.plan, np.dtype(prepared.code.dtype)
        self.dims: dict[Any, int] = {**prepared.sizes, POSITION: 0 if sources is None else sources.longest}
        self.geometry = self._geometry()
        self.kernel: Kernel = self.code.kernel(self.geometry.tiling)
        self.packed = prepared.weights.packed(self.geometry.members, self.geometry.tiling)
        self.places: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.work_width = self.width(self.kernel.columns)
        self.starts, self.most = layout.starts(max(1, WORK_BYTES // max(self.work_width * self.dtype.itemsize, 1)))
        self.filled = 0
        self.reserve("work", self.most * self.work_width)

    # sizes
    def number(self, dim: Any) -> int:
        return dim if isinstance(dim, int) else self.dims.get(dim, 0)

    def width(self, columns: Mapping[str, Any]) -> int:
        return sum(padded(self.number(d)) for d in columns.values())

    def column(self, columns: Mapping[str, Any], name: str) -> int:
        """Where a column begins."""
        at = 0
        for known, dim in columns.items():
            if known == name:
                return at
            at += padded(self.number(dim))
        raise KeyError(name)

    def _geometry(self) -> Geometry:
        plain = self.code.plain
        inner = [tuple(self.number(v.shape[0]) for v in p.operands) for p in plain.products]
        wide = [tuple(self.number(s.dim) for s in p.slots) for p in plain.products]
        index = {id(p): k for k, p in enumerate(plain.products)}
        waves = tuple(tuple(index[id(p)] for p in wave) for wave in self.plan.waves)
        units = [self.number(d) for d in plain.dims if d != POSITION]
        shape = Shape(tuple(zip(inner, wide)), waves, self.layout.batch, max(units, default=1), len(plain.sums),
                      self.dtype.itemsize)  # fmt: skip
        return chosen(shape, target.properties())

    # memory
    def reserve(self, name: str, numbers: int) -> None:
        """Room in `memory`, which `allocate` makes."""
        self.places[name] = self.filled
        self.filled += -(-numbers // 32) * 32

    def allocate(self, tape: Any) -> None:
        self.tape, self.memory = tape, xp.empty(self.filled, self.dtype)

    def part(self, name: str, rows: int, columns: int) -> Any:
        """A part of `memory` as (rows, columns)."""
        at = self.places[name]
        return self.memory[at : at + rows * columns].reshape(rows, columns)

    def work(self, rows: int, first: int, columns: int) -> Any:
        """Columns of the rows of a chunk."""
        return self.part("work", rows, self.work_width)[:, first : first + columns]

    def slots(self, product: Product, rows: int) -> list[Any]:
        """The columns of each of a product's slots."""
        columns = self.kernel.columns
        return [self.work(rows, self.column(columns, s.name), self.number(s.dim)) for s in product.slots]

    # the launches
    def go(self, before: Callable[[int, int, int], None], after: Callable[[int, int, int], None]) -> None:
        """Launch chunk by chunk, the last first going back; both are told (first row, end, first step)."""
        table, geometry = self._table(), self.geometry
        loaded, flat = target.load(self.kernel.text), self.packed.flat
        chunks = range(len(self.starts) - 1)
        for chunk in reversed(chunks) if self.plan.reverse else chunks:
            t = int(self.starts[chunk])
            r0, r1 = int(self.layout.offsets[t]), int(self.layout.offsets[self.starts[chunk + 1]])
            before(r0, r1, t)
            counters = xp.zeros(geometry.slices, np.int32)
            arrays = [self.tape, flat, self.memory, table, counters, chunk]
            loaded.launch(geometry.blocks, geometry.threads, geometry.shared_bytes, arrays, geometry.members > 1)
            after(r0, r1, t)

    def _table(self) -> Any:
        """The kernel's numbers on the device; those of a layout without sources are kept with it."""
        if self.sources is not None:
            return put(self._numbers())
        key = "table", self.kernel, tuple(self.places.items()), tuple(self.sizes.items())
        found = self.layout.frames.get(key)
        return kept(self.layout, key, put(self._numbers())) if found is None else found

    def _numbers(self) -> np.ndarray:
        """Pointers, sizes, then the lists that some pointers point to."""
        kernel, layout = self.kernel, self.layout
        lists = {"counts": layout.counts, "offsets": layout.offsets, "starts": self.starts}
        if (seen := self.sources) is not None:
            lists |= {"base.source": layout.sorted(seen.base), "count.source": layout.sorted(seen.counts)}
        places = {**self.places, **self.packed.places}
        at = len(kernel.pointers) + len(kernel.sizes)
        for name, values in lists.items():
            places[name] = at
            at += len(values)
        sizes = self._sizes()
        head = [places[n] for n in kernel.pointers] + [sizes[n] for n in kernel.sizes]
        return np.concatenate([np.array(head, np.int64), *lists.values()]).astype(np.int64)

    def _sizes(self) -> dict[str, int]:
        g, kernel = self.geometry, self.kernel
        sizes = {"members": g.members, "slices": g.slices, "batch": self.layout.batch, "tile": g.tile, "room": g.room,
                 "ld.work": self.work_width, "ld.saved": self.width(self.plan.saved)}  # fmt: skip
        sizes |= {f"split.{k}": n for k, n in enumerate(g.splits)}
        sizes |= {f"pad.{k}": n for k, n in enumerate(self.packed.pads)}
        sizes |= {f"n{k}": self.number(d) for k, d in enumerate(kernel.dims)}
        for kind, columns in (("work", kernel.columns), ("saved", self.plan.saved)):
            at = 0
            for name, dim in columns.items():
                sizes[f"o.{kind}.{name}"] = at
                at += padded(self.number(dim))
        return sizes | self.sizes

    # sources
    def reserve_sources(self, adjoints: Mapping[str, Any]) -> None:
        if self.sources is None:
            return
        self.reserve("positions", self.dims[POSITION])
        for name, array in self.sources.arrays.items():
            self.sizes[f"ld.source.{name}"] = array.shape[1]
            self.reserve(f"source.{name}", array.size)
            if name in adjoints:
                self.reserve(f"adj.source.{name}", array.size)

    def fill_sources(self, adjoints: Mapping[str, Any]) -> None:
        if self.sources is None:
            return
        n = self.dims[POSITION]
        self.part("positions", 1, n)[0] = put(np.arange(n, dtype=self.dtype))
        for name, array in self.sources.arrays.items():
            self.part(f"source.{name}", *array.shape)[...] = array
            if name in adjoints:
                self.part(f"adj.source.{name}", *array.shape)[...] = adjoints[name]

    def sorted(self, array: Any) -> Any:
        return sorted_to(self.layout, array)
