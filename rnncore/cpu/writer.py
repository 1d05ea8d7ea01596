"""What the parts of an emitter share: the text under way, its tables, the names and places of values."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from ..lang.graph import Node
from ..lang.ops import OPS
from ..plan.model import Plan, Product

__all__ = ["ARITY", "Kernel", "Writer", "FUNCTION"]


@dataclass
class Kernel:
    """The text of a kernel and what its tables of addresses, sizes and constants must hold, in order."""

    plan: Plan
    text: str = ""
    pointers: list[str] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    constants: list[Node] = field(default_factory=list)
    packs: list[Product] = field(default_factory=list)
    vectors: dict[str, Node] = field(default_factory=dict)
    numbers: dict[str, Node] = field(default_factory=dict)
    dims: list[Any] = field(default_factory=list)


class Writer:
    """The text of one kernel while it is written: lines, names of values, and the tables that it reads."""

    def __init__(self, plan: Plan, dtype: str, count: int, pretty: bool):
        self.plan, self.dtype, self.count, self.pretty = plan, dtype, count, pretty
        self.item = 4 if dtype == "float32" else 8
        self.kernel = Kernel(plan)
        self.lines: list[str] = []
        self.depth = 1
        self.head: list[str] = []
        self.taken: dict[str, str] = {}
        self.const_names: dict[int, str] = {}
        self.product_ids: dict[int, int] = {}
        self.names: dict[int, str] = {}

    def name(self, node: Node) -> str:
        """The author's name of a value, or its number where texts are to be shared by structure."""
        if node.id not in self.names:
            name = self.plan.names.get(node.id, f"v{node.id}")
            if not self.pretty:
                self.names[node.id] = f"v{len(self.names)}"
                return self.names[node.id]
            self.names[node.id] = name + "_" if _OWN.fullmatch(name) or name in _RESERVED else name
        return self.names[node.id]

    # text
    def put(self, text: str, origin=None) -> None:
        if origin is not None and self.pretty:
            text = f"{text:<60}  # {os.path.basename(origin[0])}:{origin[1]}"
        self.lines.append("    " * self.depth + text)

    def block(self, text: str):
        self.put(text)
        self.depth += 1

    def end(self) -> None:
        self.depth -= 1

    # tables
    def pointer(self, name: str) -> str:
        new = name not in self.kernel.pointers
        variable = self._entry(name, self.kernel.pointers, "p", "p_")
        if new and name == "work" and not self.plan.sums:
            # Threads that do not meet at the end of a chunk have each a region of their own: rows of ragged
            # batches move from chunk to chunk, and one slice may be a chunk ahead of another.
            self.head.append(f"p_work += part * {self.size('work_stride')}")
        return variable

    def size(self, name: str) -> str:
        return self._entry(name, self.kernel.sizes, "s", "s_")

    def _entry(self, name, table, source, prefix) -> str:
        variable = prefix + "".join(c if c.isalnum() else "_" for c in name)
        if name not in table:
            self.head.append(f"{variable} = load_int({source} + {8 * len(table)})")
            table.append(name)
        return variable

    def count_of(self, dim) -> str:
        """Number of units of a size symbol."""
        if dim not in self.kernel.dims:
            self.kernel.dims.append(dim)
            index = self.kernel.dims.index(dim)
            self.size(f"n{index}")
            self.head.append(f"l{index} = (s_n{index} + {self.count - 1}) // {self.count} * {self.count * self.item}")
        return f"s_n{self.kernel.dims.index(dim)}"

    def width_of(self, dim) -> str:
        """Bytes of a padded row of a size symbol."""
        self.count_of(dim)
        return f"l{self.kernel.dims.index(dim)}"

    def constant(self, node: Node) -> str:
        if node.id not in self.const_names:
            name = f"c{len(self.kernel.constants)}"
            self.head.append(f"{name} = load_one(k + {self.item * len(self.kernel.constants)})")
            self.kernel.constants.append(node)
            self.const_names[node.id] = name
        return self.const_names[node.id]

    def call_scalar(self, node: Node) -> str:
        if node.op in ("const", "size"):
            return self.constant(node)
        name = self._listed(node, "number", self.kernel.numbers)
        if name + " =" not in " ".join(self.head):
            address = self.pointer(name)
            self.head.append(f"{name} = {self.as_read(node, f'load_one({address})')}")
        return name

    def call_vector(self, node: Node) -> str:
        return self.pointer(self._listed(node, "vector", self.kernel.vectors))

    def as_number(self, node: Node, text: str) -> str:
        """A value as memory holds it: what is true is 1, what is not 0."""
        if node.op not in OPS or not OPS[node.op].boolean:
            return text
        return f"where({text}, {self.constant(node.graph.const(1.0))}, {self.constant(node.graph.const(0.0))})"

    def as_read(self, node: Node, text: str) -> str:
        """What `text` loads, as the value of `node`."""
        if node.op not in OPS or not OPS[node.op].boolean:
            return text
        return f"ne({text}, {self.constant(node.graph.const(0.0))})"

    def _listed(self, node: Node, kind: str, table: dict[str, Node]) -> str:
        for name, known in table.items():
            if known is node:
                return name
        table[f"{kind}{len(table)}"] = node
        return f"{kind}{len(table) - 1}"

    # places
    def offsets(self) -> None:
        """Column offsets of the work and saved rows, in bytes."""
        for buffer, columns in (("work", self.plan.columns), ("saved", self.plan.saved)):
            before = "0"
            for name, dim in columns.items():
                width = self.width_of(dim)
                self.head.append(f"o_{buffer}_{name} = {before}")
                before = f"o_{buffer}_{name} + {width}"
            self.head.append(f"ld_{buffer} = {before}")

    def locate(self, place: tuple[str, str]) -> tuple[str, str, str, str]:
        """(base address, bytes of a row, row kind, name) of a place that is read."""
        kind, label = place
        if kind in ("work", "saved"):
            return f"{self.pointer(kind)} + o_{kind}_{label}", f"ld_{kind}", kind, label
        if kind in ("input", "out"):
            name = f"in.{label}" if kind == "input" else f"d{label}"
            return self.pointer(name), self.size(f"ld.{name}"), "in" if kind == "input" else "y", label
        if kind == "adj":
            return self.pointer(f"adj.{label}"), self.width_of(self.plan.states[label]), "before", label
        if kind == "position":
            return self.pointer("positions"), "0", "work", label
        if kind in ("state", "next"):
            full = label in self.plan.history
            row = ("prev" if kind == "state" else "next") if full else "before"
            return self.pointer(f"state.{label}"), self.width_of(self._state_dim(label)), row, label
        raise AssertionError(place)

    def _state_dim(self, label: str):
        return self.plan.states[label]

    def list_and_shift(self, row: str, span: str) -> tuple[str, str]:
        """Index list and shift that give the rows of a place: of a step (own rows) or of a chunk."""
        if span == "step":
            return {
                "work": ("pos", "w_shift"), "saved": ("pos", "r_shift"), "prev": ("pos", "prev_shift"),
                "next": ("pos", "next_shift"), "before": ("pos", "before_shift"), "in": ("pos_in", "t * s_step"),
                "y": ("pos_y", "t * s_step_y"),
            }[row]  # fmt: skip
        return f"list_{row}", "0"


ARITY = 16  # of library functions
FUNCTION = {"and": "and_", "or": "or_", "not": "not_", "abs": "abs_"}
_OWN = re.compile(r"(at|c|l|number|vector)\d+|(p|s|o|ld|list|pos|source)_.*|.*_(sum|row|at)\d|.*_(sum|shift|row)")
_RESERVED = {
    "p", "s", "k", "t", "position", "at_source", "load_one", "store_one", "i", "j", "b", "part", "task", "turn", "job",
    "paired", "whole", "start",
    "first", "end", "rows", "left", "active", "chunk", "pos", "total", "largest", "load", "store", "keep", "spread",
    "add", "sub", "mul", "div", "neg", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "softplus", "relu",
    "abs_", "maximum", "minimum", "where", "lt", "le", "gt", "ge", "eq", "ne", "and_", "or_", "not_", "t0", "t1", "r0",
    "F", "lambda", "rows_own", "range",
}  # fmt: skip
