"""From a plan to the text of one kernel: the whole loop of one thread, every value under its author's name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from ..lang.graph import Node, topological
from ..lang.ops import OPS
from ..plan.schedule import ONE, Plan, Product, Store

__all__ = ["Kernel", "emit"]

ARITY = 16  # of the product library's functions


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


class _Writer:
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
        return self._entry(name, self.kernel.pointers, "p", "p_")

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
        if kind == "input" or (kind, label) == ("adj", "y"):
            name = f"in.{label}"
            return self.pointer(name), self.size(f"ld.{name}"), "y" if label == "y" else "in", label
        if kind == "adj":
            return self.pointer(f"adj.{label}"), self.width_of(self.plan.states[label]), "before", label
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


def emit(plan: Plan, dtype: str, count: int, pretty: bool = False) -> Kernel:
    """Write the kernel of `plan` for `dtype` with vectors of `count` lanes.

    With `pretty` it carries the author's names and lines, for reading; without, its text depends
    on the structure alone, so that cells of one structure share one compiled kernel.
    """
    w = _Writer(plan, dtype, count, pretty)
    _head(w)
    chunk_order = "range(s_chunks - 1, -1, -1)" if plan.reverse else "range(s_chunks)"
    w.size("chunks")
    w.block(f"for chunk in {chunk_order}:")
    w.put(f"t0 = load_int({w.pointer('starts')} + 8 * chunk)")
    w.put(f"t1 = load_int({w.pointer('starts')} + 8 * chunk + 8)")
    w.put(f"r0 = load_int({w.pointer('offsets')} + 8 * t0)")
    _own_rows(w)
    for product in plan.hoisted:
        _product(w, product, "chunk")
    _steps(w)
    for product in plan.post:
        _post(w, product)
    if plan.sums:
        _sums(w)
    w.end()
    w.put("return")
    w.kernel.text = _module(w)
    return w.kernel


def _head(w: _Writer) -> None:
    for name in ("in", "y"):
        w.pointer(f"base.{name}")
    w.size("step")
    w.size("step_y")
    w.size("batch")
    w.size("list_rows")
    w.offsets()
    lists = w.pointer("lists")
    w.size("list_stride")
    w.head += [
        f"pos = {lists} + part * s_list_stride",
        "pos_in = pos + 8 * s_batch",
        "pos_y = pos_in + 8 * s_batch",
    ]
    for k, row in enumerate(_ROWS):
        w.head.append(f"list_{row} = pos_y + 8 * s_batch + 8 * s_list_rows * {k}")
    w.put("for i in range((s_batch - part + parts - 1) // parts):")
    w.put("    b = part + i * parts")
    w.put("    store_int(pos + 8 * i, b)")
    w.put("    store_int(pos_in + 8 * i, load_int(p_base_in + 8 * b))")
    w.put("    store_int(pos_y + 8 * i, load_int(p_base_y + 8 * b))")


_ROWS = ("work", "saved", "prev", "next", "in", "y")


def _rows_of_step(w: _Writer) -> None:
    """Shifts that turn a position in the batch into rows of every array, at step t."""
    plan = w.plan
    w.put("r_shift = load_int(p_offsets + 8 * t)")
    w.put("w_shift = r_shift - r0")
    w.put("next_shift = s_batch + r_shift")
    w.put("prev_shift = 0 if t == 0 else s_batch + load_int(p_offsets + 8 * t - 8)")
    odd, even = ("(t + 1) % 2", "t % 2") if plan.reverse else ("t % 2", "(t + 1) % 2")
    w.put(f"before_shift = {odd} * s_batch")
    w.put(f"after_shift = {even} * s_batch")


def _own_rows(w: _Writer) -> None:
    """Index lists of this thread's rows of the chunk, for products over a chunk."""
    chunked = w.plan.hoisted + w.plan.post
    if not chunked:
        return
    rows = {"work"} | {w.locate(w.plan.place[v.id])[2] for pr in chunked for v in pr.operands}
    rows |= {"in"} if w.plan.post else set()
    _fill_lists(w, sorted(rows), own=True)


def _fill_lists(w: _Writer, rows, own: bool) -> None:
    w.put("rows = 0")
    w.block("for t in range(t0, t1):")
    w.put(f"active = load_int({w.pointer('counts')} + 8 * t)")
    _rows_of_step(w)
    w.block("for b in range(part, active, parts):" if own else "for b in range(active):")
    for row in rows:
        value = {
            "work": "w_shift + b", "saved": "r_shift + b", "prev": "prev_shift + b", "next": "next_shift + b",
            "in": "load_int(p_base_in + 8 * b) + t * s_step", "y": "load_int(p_base_y + 8 * b) + t * s_step_y",
        }[row]  # fmt: skip
        w.put(f"store_int(list_{row} + 8 * rows, {value})")
    w.put("rows += 1")
    w.end()
    w.end()


def _product_id(w: _Writer, product: Product) -> int:
    if id(product) not in w.product_ids:
        w.product_ids[id(product)] = len(w.kernel.packs)
        w.kernel.packs.append(product)
    return w.product_ids[id(product)]


def _call(w: _Writer, function: str, *arguments: str) -> None:
    padded = [*arguments, *["0"] * (ARITY - len(arguments))]
    w.put(f"call_library({function}, ({', '.join(padded)}))")


def _inner(w: _Writer, product: Product) -> str:
    """Length of the sum: exact for one operand, padded widths for several in a row."""
    if len(product.operands) == 1:
        return w.count_of(product.operands[0].shape[0])
    return "(" + " + ".join(w.width_of(v.shape[0]) for v in product.operands) + f") // {w.item}"


def _product(w: _Writer, product: Product, span: str) -> None:
    """Slots (+)= operands times packed matrices, for the rows of a step or of the chunk."""
    k = _product_id(w, product)
    base, ld, row, _ = w.locate(w.plan.place[product.operands[0].id])
    rows, shift = w.list_and_shift(row, span)
    to, to_shift = w.list_and_shift("work", span)
    columns = " + ".join(w.width_of(s.dim) for s in product.slots)
    function = w.pointer("fn.gemm.in" if row == "in" else "fn.gemm")
    start = w.pointer(f"bias.{k}") if product.first else "0"
    if w.pretty:
        slots, operands = (" ".join(w.name(n) for n in ns) for ns in ([s.leaf for s in product.slots], product.operands))
        w.put(f"# {slots} {'=' if product.first else '+='} {operands} times {_matrices(product)}")
    _call(w, function, base, ld, rows, shift, w.pointer(f"pack.{k}"),
          f"{w.pointer('work')} + o_work_{product.slots[0].name}", "ld_work", to, to_shift,
          "rows", f"({columns}) // {w.item}", _inner(w, product), "0" if product.first else "1", start)  # fmt: skip


def _matrices(product: Product) -> str:
    return " ".join(m.attrs[1] + (".T" if t else "") if m.op == "leaf" else m.op for m, t in product.blocks.values())


def _post(w: _Writer, product: Product) -> None:
    """A product that only leaves the step: straight into the output sequence."""
    slot = product.slots[0]
    k = _product_id(w, product)
    base, ld, row, _ = w.locate(w.plan.place[product.operands[0].id])
    rows, shift = w.list_and_shift(row, "chunk")
    alone = not any(st.where == ("out", slot.out) for st in w.plan.stores)
    earlier = [p for p in w.plan.post if p.slots[0] is slot]
    first = alone and earlier[0] is product
    product.first = first
    out = w.pointer(f"out.{slot.out}")
    w.block(f"if {w.size(f'want.{slot.out}')}:")
    start = w.pointer(f"bias.{k}") if first else "0"
    _call(w, w.pointer("fn.gemm"), base, ld, rows, shift, w.pointer(f"pack.{k}"), out,
          w.size(f"ld.out.{slot.out}"), "list_in", "0", "rows_own", w.count_of(slot.dim), _inner(w, product),
          "0" if first else "1", start)  # fmt: skip
    w.end()


def _steps(w: _Writer) -> None:
    if w.plan.hoisted or w.plan.post:
        w.put("rows_own = rows")
    w.block("for t in (range(t1 - 1, t0 - 1, -1)):" if w.plan.reverse else "for t in range(t0, t1):")
    w.put(f"active = load_int({w.pointer('counts')} + 8 * t)")
    w.put("rows = (active - part + parts - 1) // parts if active > part else 0")
    w.block("if rows > 0:")
    _rows_of_step(w)
    for wave, products in enumerate(w.plan.waves):
        for product in products:
            _product(w, product, "step")
        _region(w, wave)
    w.end()
    w.end()


def _sums(w: _Writer) -> None:
    """Gradients of the chunk: all threads' rows in one order, outputs shared out."""
    sync, barrier = w.pointer("sync"), w.pointer("fn.barrier")
    _call(w, barrier, sync, "parts")
    rows = set()
    for total in w.plan.sums:
        for a, b in total.pairs:
            rows |= {w.locate(w.plan.place[v.id])[2] for v in (a, b)}
        if total.value is not None:
            rows.add(w.locate(w.plan.place[total.value.id])[2])
    _fill_lists(w, sorted(rows), own=False)
    scratch = f"{w.pointer('scratch')} + part * {w.size('scratch_stride')}"
    for total in w.plan.sums:
        out = w.pointer(f"sum.{total.name}")
        for a, b in total.pairs:
            abase, ald, arow, _ = w.locate(w.plan.place[a.id])
            bbase, bld, brow, _ = w.locate(w.plan.place[b.id])
            function = w.pointer("fn.outer.in" if brow == "in" else "fn.outer")
            m, n = w.count_of(a.shape[0]), w.count_of(b.shape[0])
            _call(w, function, abase, ald, f"list_{arow}", "0", bbase, bld, f"list_{brow}", "0",
                  out, f"{n} * {w.item}", "rows", m, n, scratch, "part", "parts")  # fmt: skip
        if total.value is not None:
            base, ld, row, _ = w.locate(w.plan.place[total.value.id])
            _call(w, w.pointer("fn.colsum"), base, ld, f"list_{row}", "0", out, "rows", w.count_of(total.dim),
                  "part", "parts")  # fmt: skip
    _call(w, barrier, sync, "parts")


# pointwise regions
def _region(w: _Writer, wave: int) -> None:
    plan = w.plan
    stores = [st for st in plan.stores if plan.ready[st.node.id][0] == wave]
    needed = _needed(plan, stores, wave)
    if not stores and not needed:
        return
    w.block("for i in range(rows):")
    w.put("b = load_int(pos + 8 * i)")
    emitter = _Region(w, wave, needed, stores)
    last = max([plan.ready[n.id][1] for n in needed] + [plan.ready[st.node.id][1] for st in stores])
    for phase in range(last + 1):
        emitter.phase(phase)
    w.end()


def _needed(plan: Plan, stores: list[Store], wave: int) -> list[Node]:
    """Nodes computed in this wave, arguments first: what its stores need and is not in memory."""
    order = topological([st.node for st in stores])
    wanted = {st.node.id for st in stores}
    for n in reversed(order):
        if n.id in wanted and not _loaded(plan, n, wave):
            wanted |= {a.id for a in n.args}
    return [n for n in order if n.id in wanted and n.args and n.level == "step" and not _loaded(plan, n, wave)]


def _loaded(plan: Plan, n: Node, wave: int) -> bool:
    return n.op == "leaf" or n.level == "call" or plan.ready.get(n.id, (wave, 0))[0] < wave


class _Region:
    """The code of one wave for one row: loops over units, cut where a reduction ends a phase."""

    def __init__(self, w: _Writer, wave: int, needed, stores):
        self.w, self.plan, self.wave, self.needed, self.stores = w, w.plan, wave, needed, stores
        self.bases: dict[str, str] = {}
        self.scalars: dict[int, str] = {}
        self.name = w.name
        self.row_lines, self.row_depth = w.lines, w.depth  # what a row does before its loops over units

    def put(self, text: str) -> None:
        self.row_lines.append("    " * self.row_depth + text)

    def phase(self, phase: int) -> None:
        w, ready = self.w, self.plan.ready
        for n in self.needed:
            if n.shape == () and ready[n.id][1] == phase and n.op not in ("sum", "rmax"):
                self._scalar(n)
        here = [st for st in self.stores if ready[st.node.id][1] == phase]
        for st in here:
            if st.node.shape == () and st.dim == ONE and st.node.level == "step":
                self._store_scalar(st)
        here = [st for st in here if not (st.node.shape == () and st.dim == ONE and st.node.level == "step")]
        sums = [n for n in self.needed if n.op in ("sum", "rmax") and ready[n.id][1] == phase + 1]
        nodes = [n for n in self.needed if len(n.shape) == 1 and ready[n.id][1] == phase]
        dims = []
        for d in [n.shape[0] for n in nodes] + [st.dim for st in here] + [n.args[0].shape[0] for n in sums]:
            if d not in dims:
                dims.append(d)
        for d in dims:
            self._loop(d, [n for n in nodes if n.shape[0] == d], [st for st in here if st.dim == d],
                       [n for n in sums if n.args[0].shape[0] == d])  # fmt: skip

    def _loop(self, dim, nodes, stores, sums) -> None:
        w = self.w
        w.count_of(dim)
        body = _Body(self, dim)
        before = w.lines
        w.lines = []
        w.depth += 1
        for n in nodes:
            body.compute(n)
        for n in sums:
            body.reduce(n)
        for st in stores:
            body.store(st)
        w.depth -= 1
        inner, w.lines = w.lines, before
        for n in sums:
            if n.op == "sum":
                w.put(f"{self.name(n)}_sum = spread({w.constant(n.graph.const(0.0))})")
            else:
                w.put(f"{self.name(n)} = {w.constant(n.graph.const(float('-inf')))}")
        w.put(f"for j in range(0, {w.width_of(dim)}, {w.count * w.item}):")
        if body.uses_left:
            w.put(f"    left = {w.count_of(dim)} - j // {w.item}")
        w.lines += inner
        for n in sums:
            if n.op == "sum":
                w.put(f"{self.name(n)} = total({self.name(n)}_sum, {w.count})", n.origin)
            self.scalars[n.id] = self.name(n)

    def _scalar(self, n: Node) -> None:
        arguments = [self._value_scalar(a) for a in n.args]
        name = self.name(n)
        text = arguments[0] if n.op == "stop" else f"{_FUNCTION.get(n.op, n.op)}({', '.join(arguments)})"
        self.w.put(f"{name} = {text}", n.origin)
        self.scalars[n.id] = name

    def _store_scalar(self, st: Store) -> None:
        base, ld, row, foreign = self._target(st.where)
        address = self._base(base, ld, row)
        value = f"spread({self.w.as_number(st.node, self._value_scalar(st.node))})"
        if foreign:  # the row is the caller's: one number of it is ours
            self.w.put(f"if {self.w.size('want.' + st.where[1])}:")
            self.w.put(f"    store_n({address}, {value}, 1)")
        else:
            self.w.put(f"store({address}, keep({value}, 1))")

    def _value_scalar(self, n: Node) -> str:
        if n.id in self.scalars:
            return self.scalars[n.id]
        if n.level == "call":
            return self.w.call_scalar(n)
        place = self.plan.place.get(n.id, tuple(n.attrs) if n.op == "leaf" else None)
        assert place is not None, n
        name = self.name(n)
        base, ld, row, label = self.w.locate(place)
        self.put(f"{name} = {self.w.as_read(n, f'load_one({self._base(base, ld, row)})')}")
        self.scalars[n.id] = name
        return name

    def _target(self, where: tuple[str, str]) -> tuple[str, str, str, bool]:
        """(base, bytes of a row, row kind, whether rows are the caller's and unpadded) of a store."""
        kind, label = where
        w, plan = self.w, self.plan
        if kind in ("work", "saved"):
            return f"{w.pointer(kind)} + o_{kind}_{label}", f"ld_{kind}", kind, False
        if kind == "next":
            width = w.width_of(plan.states[label])
            array = "adj" if plan.reverse else "state"
            row = "next" if not plan.reverse and label in plan.history else "after"
            return w.pointer(f"{array}.{label}"), width, row, False
        row = "y" if label == "y" else "in"
        return w.pointer(f"out.{label}"), w.size(f"ld.out.{label}"), row, True

    def _base(self, base: str, ld: str, row: str) -> str:
        """A variable holding the address of this row of an array."""
        key = f"{base}|{ld}|{row}"
        if key not in self.bases:
            at = {
                "work": "w_shift + b", "saved": "r_shift + b", "prev": "prev_shift + b", "next": "next_shift + b",
                "before": "before_shift + b", "after": "after_shift + b",
                "in": "load_int(pos_in + 8 * i) + t * s_step", "y": "load_int(pos_y + 8 * i) + t * s_step_y",
            }[row]  # fmt: skip
            name = f"at{len(self.bases)}"
            self.bases[key] = name
            self.put(f"{name} = {base} + ({at}) * {ld}")
        return self.bases[key]


class _Body:
    """The inside of a loop over units."""

    def __init__(self, region: _Region, dim):
        self.r, self.w, self.dim = region, region.w, dim
        self.values: dict[int, str] = {}
        self.uses_left = False

    def compute(self, n: Node) -> None:
        arguments = [self.value(a) for a in n.args]
        if n.op == "spread":
            text = f"spread({arguments[0]})"
        elif n.op == "stop":
            text = arguments[0]
        else:
            text = f"{_FUNCTION.get(n.op, n.op)}({', '.join(arguments)})"
        name = self.r.name(n)
        self.w.put(f"{name} = {text}", n.origin)
        self.values[n.id] = name

    def value(self, n: Node) -> str:
        if n.id in self.values:
            return self.values[n.id]
        if n.shape == ():
            return self.r._value_scalar(n)
        return self._load(n)

    def _load(self, n: Node) -> str:
        w = self.w
        name = self.r.name(n)
        if n.level == "call":
            w.put(f"{name} = {w.as_read(n, f'load({w.call_vector(n)} + j)')}")
        else:
            place = self.r.plan.place.get(n.id) or tuple(n.attrs)
            base, ld, row, _ = w.locate(place)
            address = self.r._base(base, ld, row)
            if row in ("in", "y"):
                self.uses_left = True
                w.put(f"{name} = load_n({address} + j, left)")
            else:
                w.put(f"{name} = {w.as_read(n, f'load({address} + j)')}")
        self.values[n.id] = name
        return name

    def reduce(self, n: Node) -> None:
        self.uses_left = True
        value, name = self.value(n.args[0]), self.r.name(n)
        if n.op == "sum":
            self.w.put(f"{name}_sum = add({name}_sum, keep({value}, left))")
        else:
            self.w.put(f"{name} = maximum({name}, largest({value}, left))", n.origin)

    def store(self, st: Store) -> None:
        w = self.w
        value = w.as_number(st.node, self.value(st.node))
        base, ld, row, foreign = self.r._target(st.where)
        address = self.r._base(base, ld, row)
        if foreign:
            self.uses_left = True
            w.put(f"if {w.size('want.' + st.where[1])}:")
            w.put(f"    store_n({address} + j, {value}, left)")
        elif st.where[0] == "work":
            self.uses_left = True
            w.put(f"store({address} + j, keep({value}, left))")
        else:
            w.put(f"store({address} + j, {value})")


_FUNCTION = {"and": "and_", "or": "or_", "not": "not_", "abs": "abs_"}
_OWN = re.compile(r"(at|c|l|number|vector)\d+|(p|s|o|ld|list|pos)_.*|.*_sum|.*_shift")
_RESERVED = {
    "p", "s", "k", "t", "i", "j", "b", "part", "parts", "rows", "left", "active", "chunk", "pos", "total", "largest",
    "load", "store", "keep", "spread", "add", "sub", "mul", "div", "neg", "exp", "log", "sqrt", "sin", "cos", "tanh",
    "sigmoid", "softplus", "relu", "abs_", "maximum", "minimum", "where", "lt", "le", "gt", "ge", "eq", "ne", "and_",
    "or_", "not_", "t0", "t1", "r0", "F", "lambda", "rows_own", "range",
}  # fmt: skip


def _module(w: _Writer) -> str:
    ops = sorted(_FUNCTION.get(o, o) + f' = OPS["{o}"]' for o, row in OPS.items() if row.pointwise and o not in
                 ("spread", "stop", "eye"))  # fmt: skip
    functions = "load load_n store store_n keep total largest load_one spread".split()
    head = [
        "from numba import njit",
        "from rnncore.cpu.lanes import OPS, call, lanes, load_int, store_int",
        "",
        f'F = lanes("{w.dtype}", {w.count})',
        ", ".join(functions) + " = " + ", ".join(f"F.{f}" for f in functions),
        *ops,
        f"call_library = call({ARITY})",
        "",
        "",
        '@njit("void(int64, int64, int64, int64, int64)", nogil=True, cache=True, error_model="numpy",',
        '      fastmath={"contract", "nsz"})',
        "def kernel(p, s, k, part, parts):",
    ]
    return "\n".join([*head, *["    " + line for line in w.head], *w.lines, ""])
