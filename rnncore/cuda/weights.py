"""What one kernel reads of the parameters: packed matrices, vectors, numbers, constants in one array on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..lang.cell import Stepped
from ..lang.graph import Node
from ..plan.kernels import plan_of
from ..plan.model import Plan, Product
from ..reference.parameters import call_values
from .emit import emit
from .space import put, xp
from .writer import Kernel, Tiling

__all__ = ["Code", "Prepared", "Weights", "code_of", "prepare"]


@dataclass(eq=False)
class Code:
    """The kernels of a step for one purpose: the same tables, a text for each tiling."""

    plan: Plan
    dtype: str
    texts: dict[Tiling, Kernel]

    def kernel(self, tiling: Tiling) -> Kernel:
        """The kernel's text for a tiling."""
        found = self.texts.get(tiling)
        if found is None:
            found = self.texts.setdefault(tiling, emit(self.plan, self.dtype, tiling))
        return found

    @property
    def plain(self) -> Kernel:
        """The kernel with nothing kept near: what its tables hold is what those of the others do."""
        return self.kernel(Tiling(1, 1, (False,) * sum(map(len, self.plan.waves))))


_codes: dict[tuple, Code] = {}


def code_of(step, which: str, dtype: str) -> Code:
    """The kernels of a step; kept."""
    key = step, which, dtype
    found = _codes.get(key)
    if found is None:
        found = _codes.setdefault(key, Code(plan_of(step, which), dtype, {}))
    return found


@dataclass(eq=False)
class Weights:
    """The packed array, where its parts begin, and the matrices of products that leave the loop."""

    flat: Any
    places: dict[str, int]
    matrices: dict[int, Any]  # (inner, columns) by the product's identity
    biases: dict[int, Any]

    def release(self) -> None:
        """Give the memory back."""


@dataclass(eq=False)
class Prepared:
    """A kernel of a layer's step and the weights packed for it."""

    code: Code
    sizes: Mapping[Any, int]
    weights: Weights


def prepare(layer: Stepped, which: str, params: Mapping[str, Any], sizes, dtype: str, stored: str = "") -> Prepared:
    """Kernels and packed weights of a layer (see `rnncore.backends`)."""
    step, code = layer.step, code_of(layer.step, which, dtype)
    values = call_values(step, params, sizes, dtype, put)
    return Prepared(code, sizes, _Packing(code, params, values, sizes).weights())


class _Packing:
    def __init__(self, code: Code, params, values: Mapping[int, Any], sizes):
        self.code, self.params, self.values, self.sizes = code, params, values, sizes
        self.dtype = np.dtype(code.dtype)

    def weights(self) -> Weights:
        plan, kernel = self.code.plan, self.code.plain
        numbers = [n.value if n.op == "const" else self.sizes[n.attrs[0]] for n in kernel.constants]
        parts, places, at = [put(np.array(numbers or [0], self.dtype))], {"constants": 0}, max(len(numbers), 1)
        named: dict[str, Any] = {f"pack.{k}": self._matrix(p) for k, p in enumerate(kernel.products)}
        named |= {name: self._value(node) for name, node in (kernel.vectors | kernel.numbers).items()}
        for name, value in named.items():
            part = value.ravel()
            places[name] = at
            at += part.size
            parts.append(part)
        outside = plan.hoisted + plan.post
        matrices = {id(p): self._matrix(p) for p in outside}
        biases = {id(p): self._bias(p) for p in outside if p.first}
        return Weights(xp.concatenate(parts), places, matrices, biases)

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
            n = self.sizes[slot.dim] if not isinstance(slot.dim, int) else slot.dim
            parts.append(xp.zeros(n, self.dtype) if slot.bias is None else self._value(slot.bias))
        return parts[0] if len(parts) == 1 else xp.concatenate(parts)
