"""One layer's loop on the CPU: kernels of a step, weights packed for them, memory, and the call."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..forking import renewed
from ..lang.dims import POSITION
from ..lang.graph import Node
from ..lang.trace import Step
from ..plan.kernels import plan_of
from ..plan.model import Plan, Product
from .emit import Kernel, emit
from .library import FUNCTIONS, library_text
from .machine import host
from .memory import Buffer, address_of, take
from .pool import available_threads, room_address, run_team, wait_address
from .store import exported, load_module

__all__ = [
    "PARALLEL_BYTES",
    "Compiled", "LoopWeights", "Packing", "compiled", "functions", "native", "packing_of", "parameter_offsets",
]  # fmt: skip

PARALLEL_BYTES = 2**20  # of packed weights: below, waking threads costs more than they bring


@dataclass(frozen=True, eq=False)
class Compiled:
    """A kernel ready to run, and what its tables must hold."""

    kernel: Kernel
    run: int  # its address
    dtype: str

    @property
    def plan(self) -> Plan:
        return self.kernel.plan


@lru_cache(maxsize=4)
def functions(dtype: str) -> dict[str, int]:
    """Addresses of the functions that kernels call."""
    found = exported(load_module(library_text(dtype, host())), len(FUNCTIONS))
    return dict(zip(FUNCTIONS, found)) | {"wait": wait_address()}


_compiled: dict[tuple, Compiled] = {}
_lock = renewed(threading.RLock())  # a signal may come while it is held, and its handler make a call


def compiled(step: Step, which: str, dtype: str) -> Compiled:
    """The kernel of a step; compiled once, shared by structure."""
    key = (step, which, dtype)
    found = _compiled.get(key)
    if found is None:
        with _lock:
            if key not in _compiled:
                kernel = emit(plan_of(step, which), dtype, host().lanes(dtype))
                _compiled[key] = Compiled(kernel, load_module(kernel.text).entry.address, dtype)
            found = _compiled[key]
    return found


@dataclass(eq=False)
class LoopWeights:
    """What one kernel reads of the parameters: packed matrices, padded vectors, numbers, constants."""

    memory: Buffer
    addresses: dict[str, int]
    constants: np.ndarray

    def release(self) -> None:
        """Give the memory back."""
        self.memory.give_back()


class Packing:
    """Where every matrix, bias and vector of a kernel goes: a table, made once for given sizes."""

    def __init__(self, code: Compiled, step: Step, sizes: Mapping[Any, int]):
        self.count, self.item = host().lanes(code.dtype), np.dtype(code.dtype).itemsize
        self.sizes, self.dtype = sizes, code.dtype
        self.first = step.params[0].name if step.params else None
        self.offsets = parameter_offsets(step, sizes, self.item)
        self.rows: list[tuple[int, ...]] = []
        self.nodes: list[Node] = []
        self.places: dict[str, int] = {}
        self.bytes = 0
        self.placed: dict[int, Packing] = {}
        kernel = code.kernel
        each = {id(product) for wave in kernel.plan.waves for product in wave}
        self.largest = 0  # numbers of the largest matrix by which every step multiplies
        for k, product in enumerate(kernel.packs):
            numbers = self._product(k, product)
            self.largest = max(self.largest, numbers if id(product) in each else 0)
        for name, node in kernel.vectors.items():
            n = sizes[node.shape[0]]
            self._row(node, self._reserve(name, self.pad(n)), 0, self.item, 1, n, 0, 0, 1, self.pad(n))
        for name, node in kernel.numbers.items():
            self._row(node, self._reserve(name, 1), 0, 0, 1, 1, 0, 0, 1, 1)
        self.constants = np.zeros(len(kernel.constants) + 1, code.dtype)
        for k, node in enumerate(kernel.constants):
            self.constants[k] = node.value if node.op == "const" else sizes[node.attrs[0]]
        self.table = np.array(self.rows, np.int64).reshape(-1, 10)
        for k, node in enumerate(self.nodes):
            self.table[k, 0] = self.offsets[node.attrs[1]] if node.op == "leaf" else 0
        self.computed = [(k, node.id) for k, node in enumerate(self.nodes) if node.op != "leaf"]
        self.code = code
        self.bare = self._bare()
        self._measure()

    def _measure(self) -> None:
        dims = self.code.kernel.dims
        self.counts = {f"n{k}": d if isinstance(d, int) else self.sizes.get(d, 0) for k, d in enumerate(dims)}
        self.work_width = self.width(self.code.plan.columns)
        self.saved_width = self.width(self.code.plan.saved)

    def _bare(self) -> list[tuple[int, int]]:
        """Stretches of bytes that no row of the table fills: what is not written there must be zero."""
        written, found = dict.fromkeys(self.places.values(), 0), list[tuple[int, int]]()
        for _, at, _, _, k, n, *_ in self.rows:
            written[at] += k * n * self.item
        ends = [*list(written)[1:], self.bytes]
        for (at, filled), end in zip(written.items(), ends):
            if filled < end - at:
                first = found.pop()[0] if found and found[-1][1] == at else at
                found.append((first, end))
        return found

    def with_positions(self, n: int) -> Packing:
        """The same table where vectors over positions have room for `n`."""
        made = self.placed.get(n)
        if made is None:
            made = copy.copy(self)
            made.sizes = {**self.sizes, POSITION: n}
            made._measure()
            if len(self.placed) > 256:
                self.placed.clear()
            self.placed[n] = made
        return made

    def pad(self, n: int) -> int:
        return -(-n // self.count) * self.count

    def row_bytes(self, dim) -> int:
        """Bytes of a padded row of a size symbol."""
        return self.pad(dim if isinstance(dim, int) else self.sizes.get(dim, 0)) * self.item

    def width(self, columns: Mapping[str, Any]) -> int:
        """Bytes of a row of padded columns."""
        return sum(self.row_bytes(d) for d in columns.values())

    def _reserve(self, name: str, numbers: int) -> int:
        at = self.places[name] = self.bytes
        self.bytes += -(-numbers * self.item // 64) * 64
        return at

    def _row(self, node: Node, *row: int) -> None:
        self.nodes.append(node)
        self.rows.append((0, *row))

    def _product(self, index: int, product: Product) -> int:
        """Where a product's matrix and its bias go; numbers of the matrix."""
        ks = [self.sizes[v.shape[0]] for v in product.operands]
        ns = [self.sizes[s.dim] for s in product.slots]
        several = len(ks) > 1
        total_k = sum(self.pad(k) for k in ks) if several else ks[0]
        total_n = sum(self.pad(n) for n in ns)
        at = self._reserve(f"pack.{index}", total_k * total_n)
        k0 = 0
        for i, k in enumerate(ks):
            n0 = 0
            for j, n in enumerate(ns):
                matrix, transposed = product.blocks[i, j]
                wide = self.sizes[matrix.shape[1]] * self.item
                strides = (wide, self.item) if transposed else (self.item, wide)
                self._row(matrix, at, *strides, k, n, k0, n0, total_k, total_n)
                n0 += self.pad(n)
            k0 += self.pad(k) if several else k
        if not product.first:
            return total_k * total_n
        start, n0 = self._reserve(f"bias.{index}", total_n), 0
        for slot, n in zip(product.slots, ns):
            if slot.bias is not None:
                self._row(slot.bias, start, 0, self.item, 1, n, 0, n0, 1, total_n)
            n0 += self.pad(n)
        return total_k * total_n

    def __call__(self, params: Mapping[str, np.ndarray], values: Mapping[int, np.ndarray]) -> LoopWeights:
        """Pack; padding is zero. `params` are views of one vector in the step's order (see `Params`)."""
        table = self.table.copy()
        if self.first is not None:
            table[:, 0] += address_of(params[self.first])
        for k, node in self.computed:
            table[k, 0] = address_of(values[node])
        memory = take(self.bytes)
        for first, end in self.bare:
            memory.array((end,), np.uint8)[first:] = 0
        self._pack(table, memory.address)
        addresses = {name: memory.address + at for name, at in self.places.items()}
        return LoopWeights(memory, addresses, self.constants)

    def _pack(self, table: np.ndarray, to: int) -> None:
        threads = available_threads() if self.bytes > PARALLEL_BYTES else 1
        if threads == 1:
            native(self.dtype, "pack")(address_of(table), len(table), to)
            return
        turn, code = np.zeros(1, np.int64), functions(self.dtype)
        job = np.array([address_of(table), len(table), to, address_of(turn), room_address(), 0], np.int64)
        run_team(code["team_pack"], address_of(job), threads)


_packings: dict[tuple, Packing] = {}


def parameter_offsets(step: Step, sizes: Mapping[Any, int], item: int) -> dict[str, int]:
    """Bytes from a layer's first parameter to each of them: a layer's parameters lie side by side."""
    offsets, at = {}, 0
    for p in step.params:
        offsets[p.name] = at
        at += prod(sizes[d] for d in p.shape) * item
    return offsets


def packing_of(code: Compiled, step: Step, sizes: Mapping[Any, int]) -> Packing:
    """The packing table of a kernel for given sizes, kept."""
    key = (code, tuple(sizes.items()))
    found = _packings.get(key)
    if found is None:
        if len(_packings) > 256:
            _packings.clear()
        found = _packings[key] = Packing(code, step, sizes)
    return found


@lru_cache(maxsize=16)
def native(dtype: str, name: str):
    """A function of the product library, to be called with up to sixteen integers."""
    import ctypes

    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 16)(functions(dtype)[name])
    return lambda *given: function(*given, *[0] * (16 - len(given)))
