"""What the parts of the CUDA emitter share: the text under way, its tables, the names and places of values."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from ..lang.graph import Node
from ..lang.ops import OPS
from ..plan.model import ONE, Plan, Product, reduces_positions
from .copies import Copies

__all__ = ["ANEW", "FUNCTION", "Kernel", "Tiling", "Writer", "padded"]

# Marks where sizes of rows are made new: what follows from them is then computed where it is needed rather than kept
# in registers, of which a step of many values has too few.
ANEW = "# sizes anew"


def padded(n: int) -> int:
    """Numbers of a row: four are read at a time."""
    return -(-n // 4) * 4


@dataclass(frozen=True)
class Tiling:
    """What of a launch is in the text of its kernel.

    ``rows`` and ``columns`` of a product that are summed in registers; for each product of the loop, in the order of
    waves, whether all its weights are ``resident`` in shared memory, or those of the first inner indices alone, and
    whether the lanes of a warp share out its inner size rather than its columns: ``laned``. With ``tensor``, "tf32" or
    "bf16", all products go through tensor cores, which round their operands so: a warp has sums of ``rows``, 16 or 32,
    and of so many times eight columns of each product as ``eights`` says.
    """

    rows: int
    columns: int
    resident: tuple[bool, ...]
    laned: tuple[bool, ...]
    tensor: str = ""
    eights: tuple[int, ...] = ()


@dataclass(eq=False)
class Kernel:
    """The text of a kernel and what its tables must hold, in order."""

    plan: Plan
    tiling: Tiling
    text: str = ""
    pointers: list[str] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    constants: list[Node] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)  # of the loop, in the order of waves
    vectors: dict[str, Node] = field(default_factory=dict)
    numbers: dict[str, Node] = field(default_factory=dict)
    dims: list[Any] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)  # of a row of work
    sums: list[Node] = field(default_factory=list)  # over units, a number each row, in shared memory
    copies: list[tuple[Any, ...]] = field(default_factory=list)  # size symbols of the operands of each


class Writer:
    """The text of one kernel while it is written: lines, names of values, and the tables that it reads."""

    def __init__(self, plan: Plan, dtype: str, tiling: Tiling, pretty: bool):
        self.plan, self.dtype, self.tiling, self.pretty = plan, dtype, tiling, pretty
        self.kernel = Kernel(plan, tiling)
        self.kernel.products = [product for wave in plan.waves for product in wave]
        self.copies = Copies(plan, self.kernel.products, tiling.tensor)
        self.kernel.copies = [tuple(dim for _, dim in operands) for operands in self.copies.lists]
        self.kernel.columns = dict(plan.columns)
        self.place = dict(plan.place)
        self.reduced: dict[int, tuple[str, str]] = {}  # where what is summed over units is put, by node
        self.lines: list[str] = []
        self.depth = 1
        self.head: list[str] = []
        self.const_names: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self.walks: set[int] = set()

    def name(self, node: Node) -> str:
        """The author's name of a value, or its number where texts are to be shared by structure."""
        if node.id not in self.names:
            name = self.plan.names.get(node.id, f"v{node.id}")
            if not self.pretty:
                name = f"v{len(self.names)}"
            elif _OWN.fullmatch(name) or name in _RESERVED:
                name += "_"
            self.names[node.id] = name
        return self.names[node.id]

    # text
    def put(self, text: str, origin=None) -> None:
        if origin is not None and self.pretty:
            text = f"{text:<60}  # {os.path.basename(origin[0])}:{origin[1]}"
        self.lines.append("    " * self.depth + text)

    def block(self, text: str) -> None:
        self.put(text)
        self.depth += 1

    def end(self, many: int = 1) -> None:
        self.depth -= many

    # tables
    def pointer(self, name: str) -> str:
        """The variable that holds where `name` begins in its array (see `array_of`)."""
        return self._entry(name, self.kernel.pointers, "p_")

    def size(self, name: str) -> str:
        return self._entry(name, self.kernel.sizes, "s_")

    def _entry(self, name: str, table: list[str], prefix: str) -> str:
        variable = prefix + "".join(c if c.isalnum() else "_" for c in name)
        if name not in table:
            table.append(name)
            self.head.append(variable)  # becomes a line when all of both tables is known
        return variable

    def count_of(self, dim) -> str:
        """Number of units of a size symbol; the block's own are ``u<k>`` up to ``u<k> + own<k>``."""
        if dim not in self.kernel.dims:
            self.kernel.dims.append(dim)
            k = self.kernel.dims.index(dim)
            n = self.size(f"n{k}")
            self.head.append(f"u{k} = portion(member, {n}, s_members)")
            self.head.append(f"own{k} = portion(member + 1, {n}, s_members) - u{k}")
        return f"s_n{self.kernel.dims.index(dim)}"

    def own(self, dim) -> tuple[str, str]:
        """(first, number) of the units of a size symbol that the block computes."""
        self.count_of(dim)
        k = self.kernel.dims.index(dim)
        return f"u{k}", f"own{k}"

    def padded(self, dim) -> str:
        """Numbers of a row of a size symbol: a multiple of four."""
        self.count_of(dim)
        k = self.kernel.dims.index(dim)
        if f"wide{k} = (s_n{k} + 3) // 4 * 4" not in self.head:
            self.head.append(f"wide{k} = (s_n{k} + 3) // 4 * 4")
        return f"wide{k}"

    def walk(self, dim) -> int:
        """Number of a size symbol whose rows and units threads walk through: from ``first_r``, ``first_u`` on."""
        self.count_of(dim)
        k = self.kernel.dims.index(dim)
        if k not in self.walks:
            self.walks.add(k)
            self.head += [
                f"step_r{k} = quotient(width, max(own{k}, 1))",
                f"step_u{k} = width - step_r{k} * own{k}",
                f"first_r{k} = quotient(tid, max(own{k}, 1))",
                f"first_u{k} = u{k} + tid - first_r{k} * own{k}",
            ]
        return k

    def walk_from(self, dim) -> int:
        """Begin the loop in which a thread walks through its rows and units of the tile; the number of their size."""
        k = self.walk(dim)
        self.put(f"q, r, u = tid, first_r{k}, first_u{k}")
        self.block(f"while q < many * own{k}:")
        self.put("i = i0 + r")
        self.put("b = b0 + i")
        return k

    def walk_on(self, k: int) -> None:
        """To a thread's next row and unit."""
        self.put("q += width")
        self.put(f"r += step_r{k}")
        self.put(f"u += step_u{k}")
        self.block(f"if u >= u{k} + own{k}:")
        self.put(f"u -= own{k}")
        self.put("r += 1")
        self.end()

    def constant(self, node: Node) -> str:
        if node.id not in self.const_names:
            name = f"c{len(self.kernel.constants)}"
            self.head.append(f"{name} = load(weights, {self.pointer('constants')} + {len(self.kernel.constants)})")
            self.kernel.constants.append(node)
            self.const_names[node.id] = name
        return self.const_names[node.id]

    def zero(self) -> str:
        graph = next(iter(self.plan.roots.values())).graph
        return self.constant(graph.const(0.0))

    def call_scalar(self, node: Node) -> str:
        if node.op in ("const", "size"):
            return self.constant(node)
        known = len(self.kernel.numbers)
        name = _listed(node, "number", self.kernel.numbers)
        if len(self.kernel.numbers) > known:
            text = f"load(weights, {self.pointer('numbers')} + {known})"
            self.head.append(f"{name} = {self.as_read(node, text)}")
        return name

    def call_vector(self, node: Node) -> str:
        """Where a call-level vector begins: after those before it."""
        name = _listed(node, "vector", self.kernel.vectors)
        before: dict[Any, int] = {}
        for known, other in self.kernel.vectors.items():
            if known == name:
                break
            before[self.dim_of(other)] = before.get(self.dim_of(other), 0) + 1
        return " + ".join([self.pointer("vectors"), *(f"{n} * {self.padded(dim)}" for dim, n in before.items())])

    def as_number(self, node: Node, text: str) -> str:
        """A value as memory holds it: what is true is 1, what is not 0."""
        if node.op not in OPS or not OPS[node.op].boolean:
            return text
        return f"where({text}, {self.constant(node.graph.const(1.0))}, {self.zero()})"

    def as_read(self, node: Node, text: str) -> str:
        """What `text` loads, as the value of `node`."""
        if node.op not in OPS or not OPS[node.op].boolean:
            return text
        return f"ne({text}, {self.zero()})"

    # places
    def column(self, letter: str, node: Node, dim) -> tuple[str, str]:
        """A further column of work for `node`."""
        name = f"{letter}{len(self.kernel.columns)}"
        self.kernel.columns[name] = dim
        return "work", name

    def offset(self, kind: str, label: str) -> str:
        """Where a column of ``work`` or ``saved`` begins in its row: the widths of those before it."""
        columns, before = self.kernel.columns if kind == "work" else self.plan.saved, dict[Any, int]()
        for name, dim in columns.items():
            if name == label:
                break
            before[dim] = before.get(dim, 0) + 1
        return " + ".join(f"{n} * {self.padded(dim)}" for dim, n in before.items()) or "0"

    def locate(self, place: tuple[str, str]) -> tuple[str, str, str, str]:
        """(array, first number, numbers of a row, kind of row) of a place."""
        kind, label = place
        if kind in ("work", "saved"):
            array = "memory" if kind == "work" else "tape"
            return array, f"{self.pointer(kind)} + {self.offset(kind, label)}", self.size(f"ld.{kind}"), kind
        if kind in ("input", "out"):
            name = f"in.{label}" if kind == "input" else f"d{label}"
            return "memory", self.pointer(name), self.size(f"ld.{name}"), "saved"
        if kind == "adj":
            return "memory", self.pointer(f"adj.{label}"), self.padded(self.plan.states[label]), "before"
        if kind == "position":
            return "memory", self.pointer("positions"), "0", "work"
        assert kind in ("state", "next"), place
        full = label in self.plan.history
        row = ("prev" if kind == "state" else "next") if full else "before"
        return "tape", self.pointer(f"state.{label}"), self.padded(self.plan.states[label]), row

    def target(self, where: tuple[str, str]) -> tuple[str, str, str, str]:
        """(array, first number, numbers of a row, kind of row) of where a store goes."""
        kind, label = where
        if kind in ("work", "saved"):
            return self.locate(where)
        if kind == "next":
            array, name = ("memory", "adj") if self.plan.reverse else ("tape", "state")
            full = not self.plan.reverse and label in self.plan.history
            ld = self.padded(self.plan.states[label])
            return array, self.pointer(f"{name}.{label}"), ld, "next" if full else "after"
        return "memory", self.pointer(f"out.{label}"), self.size(f"ld.out.{label}"), "saved"

    def place_of(self, node: Node) -> tuple[str, str]:
        """Where a value is read: a leaf from where it came, though a copy may be kept for later."""
        if node.op == "leaf" and node.attrs[0] != "slot":
            return tuple(node.attrs)
        return self.reduced.get(node.id) or self.place[node.id]

    def row(self, kind: str, b: str) -> str:
        """The row of sequence `b` at the step, in an array with rows of a kind."""
        return f"({SHIFT[kind]} + {b})"

    def unit_sums(self, nodes: list[Node]) -> list[Node]:
        """Of `nodes`, the sums over units or positions that give a number each row; what they sum gets a place."""
        found = [n for n in nodes if n.op in ("sum", "rmax") and not reduces_positions(n)]
        for n in found:
            if n not in self.kernel.sums:
                self.kernel.sums.append(n)
        return found

    def needs_place(self, node: Node) -> bool:
        """Whether a step's vector lies in no memory yet."""
        placed = node.level == "call" or node.id in self.place or node.id in self.reduced
        return not placed and not (node.op == "leaf" and node.attrs[0] != "slot")

    def dim_of(self, node: Node) -> Any:
        return node.shape[0] if node.shape else ONE


# rows of a step in the order (time, sequence): of the chunk, of all steps, of states kept for all steps, of two turns
SHIFT = {
    "work": "w_shift", "saved": "r_shift", "prev": "prev_shift", "next": "next_shift", "before": "before_shift",
    "after": "after_shift",
}  # fmt: skip


def _listed(node: Node, kind: str, table: dict[str, Node]) -> str:
    for name, known in table.items():
        if known is node:
            return name
    table[f"{kind}{len(table)}"] = node
    return f"{kind}{len(table) - 1}"


FUNCTION = {"and": "and_", "or": "or_", "not": "not_", "abs": "abs_"}
_OWN = re.compile(
    r"(at|c|l|u|own|number|vector|wide|inner|groups|tops|items|at_[a-z]+|(first|step)_[a-z]+)\d+"
    r"|pack\d+|(p|s|o|first|from|held|partial|sum|acc|copy|at_z\d*)_.*|.*_shift"
)
_RESERVED = {
    "tape", "weights", "memory", "numbers", "counters", "chunk", "shm", "tid", "width", "slice_", "member", "t", "t0",
    "t1", "r0", "i", "i0", "b", "b0", "b1", "u", "q", "k", "e", "rows", "many", "active", "count", "position",
    "source_row", "lane", "item", "warp", "warps", "group", "top", "target", "WARP", "end", "at", "r", "share",
    "coming", "earlier", "near", "load", "store", "acc", "at_x", "at_w", "term", "terms4", "lane_term", "lane_terms4",
    "set_sums", "set_own_sums", "sync", "add", "sub", "mul", "div", "neg", "exp", "log",
    "sqrt", "sin", "cos", "tanh", "sigmoid", "softplus", "relu", "abs_", "maximum", "minimum", "where", "lt",
    "le", "gt", "ge", "eq", "ne", "and_", "or_", "not_", "F", "lambda", "range", "min", "max", "draw", "more",
    "portion", "quotient", "uniform", "turn", "turns", "blocks", "step",
}  # fmt: skip
