"""What a plan is made of: slots, products, stores, sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..lang.graph import Node
from ..lang.ops import OPS

__all__ = [
    "ENDS", "ONE", "REDUCTIONS", "ROWWISE", "Slot", "Product", "Store", "Sum", "Plan", "apart", "reduces_positions",
]  # fmt: skip

ONE = 1  # the size of a scalar's column
REDUCTIONS = ("sum", "rmax", "psum")
ROWWISE = tuple(name for name, row in OPS.items() if row.whole)
ENDS = REDUCTIONS + ROWWISE  # what is there only when everything before it is through


def reduces_positions(node: Node) -> bool:
    """Whether `node` sums what is there for every position and unit: over units, or over positions."""
    return node.op in REDUCTIONS and len(node.args[0].shape) == 2


def apart(node: Node) -> bool:
    """Whether `node` comes from a loop or a library call of its own, into a work column."""
    return reduces_positions(node) or node.op in ROWWISE


@dataclass(eq=False)
class Slot:
    """A sum of matrix products: ``terms`` are (matrix, transposed, operand)."""

    name: str
    dim: Any
    leaf: Node
    terms: list[tuple[Node, bool, Node]]
    bias: Node | None
    when: str = "loop"  # "loop", or "post": after the chunk, on top of what is in the output
    out: str = ""


@dataclass(eq=False)
class Product:
    """A dense block of matrices: operands (one after another in memory) times slots (likewise)."""

    operands: tuple[Node, ...]
    slots: tuple[Slot, ...]
    blocks: dict[tuple[int, int], tuple[Node, bool]]
    first: bool  # starts the slots from their bias; else adds to them


@dataclass(eq=False)
class Store:
    """Write `node` to place `where`: ("next", state), ("out", name), ("saved", name), ("work", column).

    ("source", name) adds it to the adjoint of a source, at every position.
    """

    node: Node
    where: tuple[str, str]
    dim: Any


@dataclass(eq=False)
class Sum:
    """A gradient accumulated over steps and sequences: sum of outer products, or of a value's rows."""

    name: str
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    value: Node | None = None
    dim: Any = None


@dataclass(eq=False)
class Plan:
    """Everything an emitter needs, with no text of any target in it."""

    name: str
    reverse: bool
    roots: dict[str, Node]
    slots: list[Slot]
    columns: dict[str, Any]  # work column -> size symbol, in the order of memory
    place: dict[int, tuple[str, str]]  # node id -> where it lies, if it lies in memory
    hoisted: list[Product]
    waves: list[list[Product]]
    post: list[Product]
    ready: dict[int, tuple[int, int]]
    stores: list[Store]
    sums: list[Sum]
    saved: dict[str, Any]
    history: tuple[str, ...]
    states: dict[str, Any]
    inputs: dict[str, Any]
    outs: dict[str, Any]
    nests: list[Node]  # what comes from a loop or a library call of its own; each has a work column
    names: dict[int, str] = field(default_factory=dict)
