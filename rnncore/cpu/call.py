"""The tables of one kernel call: addresses, sizes and constants, and the working memory behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layout import Layout, Rows
from .loop import Compiled, LoopWeights, functions
from .machine import host
from .memory import Buffer, address_of, take
from .pool import run_parts

__all__ = ["Prepared", "Call"]


@dataclass(eq=False)
class Prepared:
    """A kernel of a layer's step and the weights packed for it."""

    code: Compiled
    weights: LoopWeights
    sizes: Mapping[Any, int]


class Call:
    """The tables of one kernel call."""

    def __init__(self, prepared: Prepared, layout: Layout, limit: int, parts: int):
        self.code, self.layout, self.parts = prepared.code, layout, parts
        self.kernel, self.sizes_of = prepared.code.kernel, prepared.sizes
        self.item = 4 if self.code.dtype == "float32" else 8
        self.addresses = dict(prepared.weights.addresses)
        self.constants = prepared.weights.constants
        self.held: list[Any] = [prepared]
        self.scratch: list[Buffer] = []
        starts, most = layout.starts(max(limit, 1))
        batch = layout.batch
        self.sizes = {"chunks": len(starts) - 1, "batch": batch, "list_rows": most, "step": 1, "step_y": 1}
        for k, dim in enumerate(self.kernel.dims):
            self.sizes[f"n{k}"] = dim if isinstance(dim, int) else self.sizes_of[dim]
        self.ints("starts", starts)
        self.ints("counts", layout.counts)
        self.ints("offsets", layout.offsets)
        work = most * self.width(self.code.plan.columns)
        self.sizes["work_stride"] = work
        self.temporary("work", work if self.code.plan.sums else work * parts)
        stride = 8 * (3 * batch + 6 * most) + 64
        self.sizes["list_stride"] = stride
        self.temporary("lists", stride * parts)
        self.sizes["scratch_stride"] = most * 16 * self.item + 64
        self.temporary("scratch", (most * 16 * self.item + 64) * parts)
        self.ints("sync", np.zeros(16, np.int64))
        table = functions(self.code.dtype)
        for name in ("gemm", "outer", "colsum", "barrier"):
            self.addresses[f"fn.{name}"] = table[name]
        self.inputs_as(table["gemm"], table["outer"])

    def inputs_as(self, gemm: int, outer: int) -> None:
        self.addresses["fn.gemm.in"], self.addresses["fn.outer.in"] = gemm, outer

    def width(self, columns: Mapping[str, Any]) -> int:
        """Bytes of a row of padded columns."""
        return sum(self.padded(d) for d in columns.values())

    def padded(self, dim) -> int:
        count = host().lanes(self.code.dtype)
        n = dim if isinstance(dim, int) else self.sizes_of[dim]
        return -(-n // count) * count * self.item

    def ints(self, name: str, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array, np.int64)
        self.held.append(array)
        self.addresses[name] = address_of(array)

    def temporary(self, name: str, nbytes: int) -> Buffer:
        buffer = take(nbytes)
        self.scratch.append(buffer)
        self.addresses[name] = buffer.address
        return buffer

    def rows(self, name: str, rows: Rows) -> None:
        self.ints(f"base.{name}", rows.base[self.layout.order])
        self.sizes["step" if name == "in" else "step_y"] = rows.step

    def sequence(self, name: str, array: np.ndarray, column: int = 0) -> None:
        """An outside array of rows (C-contiguous, 2-D), from a column on."""
        self.held.append(array)
        self.addresses[name] = address_of(array) + column * array.itemsize
        self.sizes[f"ld.{name}"] = array.strides[0] if array.ndim == 2 else 0

    def go(self) -> None:
        p = np.array([self.addresses[n] for n in self.kernel.pointers], np.int64)
        s = np.array([self.sizes[n] for n in self.kernel.sizes], np.int64)
        run, pa, sa, ka = self.code.run, address_of(p), address_of(s), address_of(self.constants)
        run_parts(lambda part, parts: run(pa, sa, ka, part, parts), self.parts)

    def release(self) -> None:
        """Give the working memory back."""
        for buffer in self.scratch:
            buffer.give_back()
