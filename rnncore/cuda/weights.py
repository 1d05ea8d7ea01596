"""What one kernel reads of the parameters: packed matrices, vectors, numbers, constants in one array on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InputError
from ..lang.cell import Stepped
from ..lang.graph import Node
from ..plan.kernels import plan_of
from ..plan.model import Plan, Product
from ..reference.parameters import call_values
from ..rounding import EXACT, Rounding
from .copies import eights_of, in_block, in_blocks, pitch
from .emit import emit
from .space import Stay, after, here, mark, put, xp
from .writer import Kernel, Tiling, padded

__all__ = ["Code", "Packed", "Prepared", "Weights", "code_of", "prepare", "rounded_words"]


@dataclass(eq=False)
class Code:
    """The kernels of a step for one purpose: the same tables, a text for each tiling."""

    plan: Plan
    dtype: str
    fast: bool  # exp, tanh, sigmoid and softplus by the device's approximations
    texts: dict[Tiling, Kernel]
    numbers: dict[tuple, Any]

    def constants(self, sizes: Mapping[Any, int]) -> Any:
        """The constants of the equations on the device; those of given sizes are kept."""
        key = here(), *sizes.items()
        found = self.numbers.get(key)
        if found is None:
            values = [n.value if n.op == "const" else sizes[n.attrs[0]] for n in self.plain.constants]
            found = self.numbers[key] = Stay(np.array(values or [0], self.dtype))
        return found.array()

    def kernel(self, tiling: Tiling) -> Kernel:
        """The kernel's text for a tiling."""
        found = self.texts.get(tiling)
        if found is None:
            found = self.texts.setdefault(tiling, emit(self.plan, self.dtype, tiling, fast=self.fast))
        return found

    @property
    def plain(self) -> Kernel:
        """The kernel with nothing kept near: what its tables hold is what those of the others do."""
        none = (False,) * sum(map(len, self.plan.waves))
        return self.kernel(Tiling(1, 1, none, none))


_codes: dict[tuple, Code] = {}


def code_of(step, which: str, dtype: str, fast: bool = False) -> Code:
    """The kernels of a step; kept."""
    key = step, which, dtype, fast
    found = _codes.get(key)
    if found is None:
        found = _codes.setdefault(key, Code(plan_of(step, which), dtype, fast, {}, {}))
    return found


@dataclass(eq=False)
class Prepared:
    """A kernel of a layer's step and the weights packed for it."""

    code: Code
    sizes: Mapping[Any, int]
    weights: Weights
    rounding: Rounding = EXACT


def prepare(
    layer: Stepped, which: str, params: Mapping[str, Any], sizes, dtype: str, stored: str = "",
    rounding: Rounding = EXACT,
) -> Prepared:  # fmt: skip
    """Kernels and packed weights of a layer (see `rnncore.backends`); what is not float32 is never rounded."""
    for array in [*params.values()][:1]:  # all are views of one vector
        _is_here(array.device.id)
    rounding = rounding if dtype == "float32" else EXACT
    step, code = layer.step, code_of(layer.step, which, dtype, bool(rounding.functions))
    values = call_values(step, params, sizes, dtype, put)
    return Prepared(code, sizes, Weights(code, params, values, sizes), rounding)


def _is_here(number: int) -> None:
    if number != here():
        place = f"on device {number}, the current one is {here()}"
        raise InputError(f"the parameters are {place}: make the other current, or move them")


@dataclass(frozen=True, eq=False)
class Packed:
    """All that a kernel reads of the parameters, in one array; where its parts begin; sizes of each matrix."""

    flat: Any
    places: dict[str, int]
    sizes: dict[str, int]  # that a kernel's table has
    made: Any  # on which stream, so far (see `space.after`)


class Weights:
    """Matrices, vectors and numbers of a kernel, packed as its launches need them.

    Attributes
    ----------
    matrices, biases : dict
        (inner, columns) matrix and its start, of each product outside of the loop, by the product's identity.
    """

    def __init__(self, code: Code, params: Mapping[str, Any], values: Mapping[int, Any], sizes: Mapping[Any, int]):
        self.code, self.params, self.values, self.sizes = code, params, values, sizes
        self.dtype, self.kernel = np.dtype(code.dtype), code.plain
        outside = code.plan.hoisted + code.plan.post
        self.matrices = {id(p): self._matrix(p) for p in outside}
        self.biases = {id(p): self._bias(p) for p in outside if p.first}
        self.packs = [self._matrix(p) for p in self.kernel.products]
        self.vectors = [self._value(node).ravel() for node in self.kernel.vectors.values()]
        scalars = [self._value(node).ravel() for node in self.kernel.numbers.values()]
        self.scalars = [xp.concatenate(scalars)] if scalars else []
        self.numbers = code.constants(sizes)
        self.made: dict[tuple[int, Tiling], Packed] = {}
        self.ready, self.device = mark(), here()

    def packed(self, members: int, tiling: Tiling) -> Packed:
        """The array for launches whose slices have so many blocks; kept."""
        _is_here(self.device)
        found = self.made.get((members, tiling))
        if found is None:
            after(self.ready)
            found = self.made[members, tiling] = self._packed(members, tiling)
        else:
            after(found.made)
        return found

    def _packed(self, members: int, tiling: Tiling) -> Packed:
        parts, places, at = [], {}, 0
        sizes: dict[str, int] = {}
        named = {}
        for k in range(len(self.packs)):
            block, more = self._shared_out(k, members, tiling)
            named[f"pack.{k}"] = [block.ravel()]
            sizes |= {f"{name}.{k}": n for name, n in more.items()}
        named |= {"vectors": self.vectors, "constants": [self.numbers], "numbers": self.scalars}
        for name, values in named.items():
            places[name] = at
            for value in values:
                many = padded(value.size)
                parts += [value] if many == value.size else [value, xp.zeros(many - value.size, self.dtype)]
                at += many
        return Packed(xp.concatenate(parts), places, sizes, mark())

    def _shared_out(self, k: int, members: int, tiling: Tiling) -> tuple[Any, dict[str, int]]:
        """A product's matrix member by member, and its sizes: see `rnncore.cuda.product`, `rnncore.cuda.tensor`."""
        matrix, product = self.packs[k], self.kernel.products[k]
        columns, pad = _columns(tuple(self._number(s.dim) for s in product.slots), members, here())
        taken = xp.take(matrix, columns.array(), 1).reshape(len(matrix), members, pad)
        inner = [self._number(v.shape[0]) for v in product.operands]
        if tiling.tensor:
            return self._in_blocks(taken, inner, tiling.tensor, tiling.eights[k])
        if not tiling.laned[k]:
            return xp.ascontiguousarray(taken.transpose(1, 0, 2)), {"pad": pad}
        return _by_column(taken, inner, [padded(n) for n in inner], pad), {"pad": pad}

    def _in_blocks(self, taken: Any, inner: list[int], kind: str, eights: int) -> tuple[Any, dict[str, int]]:
        """Columns in eights, as many as tiles of them have, and inner indices in blocks; rounded."""
        members, many = taken.shape[1], in_block(kind)
        columns = eights_of(taken.shape[2], eights)
        made = _by_column(taken, inner, [in_blocks(n, kind) * many for n in inner], 8 * columns)
        made = made.reshape(members, columns, 8, -1, many).transpose(0, 1, 3, 2, 4)
        return rounded_words(xp.ascontiguousarray(made).ravel(), kind), {"pad": pitch(columns), "eights": columns}

    def _number(self, dim: Any) -> int:
        return dim if isinstance(dim, int) else self.sizes[dim]

    def release(self) -> None:
        """Give the memory back."""

    def _value(self, node: Node) -> Any:
        return self.params[node.attrs[1]] if node.op == "leaf" else self.values[node.id]

    def _matrix(self, product: Product) -> Any:
        """Operands one under another, slots side by side."""
        rows = []
        for i in range(len(product.operands)):
            blocks = [product.blocks[i, j] for j in range(len(product.slots))]
            row = [self._value(m) if transposed else self._value(m).T for m, transposed in blocks]
            rows.append(row[0] if len(row) == 1 else xp.concatenate(row, 1))
        return rows[0] if len(rows) == 1 else xp.concatenate(rows, 0)

    def _bias(self, product: Product) -> Any:
        parts = []
        for slot in product.slots:
            zeros = xp.zeros(self._number(slot.dim), self.dtype)
            parts.append(zeros if slot.bias is None else self._value(slot.bias))
        return parts[0] if len(parts) == 1 else xp.concatenate(parts)


def rounded_words(values: Any, kind: str) -> Any:
    """The words of a vector of float32 numbers, as float32 ones: rounded as the device does."""
    bits = values.view(np.uint32)
    if kind == "tf32":
        near = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
        return xp.where(xp.isfinite(values), near, bits).view(np.float32)
    high = bits // np.uint32(1 << 16)
    near = (bits + np.uint32(0x7FFF) + (high & np.uint32(1))) // np.uint32(1 << 16)
    near = xp.where(xp.isfinite(values), near, xp.where(values == values, high, np.uint32(0x7FFF)))
    return near.astype(np.uint16).view(np.float32)


def _by_column(taken: Any, inner: list[int], wide: list[int], columns: int) -> Any:
    """Matrices (inner, members, some columns) as (members, columns, inner), room for each operand as said."""
    made = xp.zeros((taken.shape[1], columns, sum(wide)), taken.dtype)
    first = to = 0
    for n, room in zip(inner, wide):
        made[:, : taken.shape[2], to : to + n] = taken[first : first + n].transpose(1, 2, 0)
        first, to = first + n, to + room
    return made


@lru_cache(maxsize=256)
def _columns(slots: tuple[int, ...], members: int, device: int) -> tuple[Stay, int]:
    """Which column of all is which of a member's, and how many columns each has room for; the last are any."""
    pad = padded(sum(-(-n // members) for n in slots))
    table = np.zeros((members, pad), np.int64)
    for m in range(members):
        at = full = 0
        for n in slots:
            first, end = m * n // members, (m + 1) * n // members
            table[m, at : at + end - first] = np.arange(full + first, full + end)
            at, full = at + end - first, full + n
    return Stay(table.ravel()), pad
