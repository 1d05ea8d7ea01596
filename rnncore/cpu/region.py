"""Pointwise regions: for each row of a wave, loops over units that a reduction cuts into phases."""

from __future__ import annotations

from ..lang.dims import POSITION
from ..lang.graph import Node
from ..lang.ops import SHAPED
from ..plan.model import ONE, REDUCTIONS, ROWWISE, Store, apart, reduces_positions
from ..plan.waves import Wave
from .nest import emit_nests
from .writer import ARITY, FUNCTION, Writer

__all__ = ["emit_region"]


def emit_region(w: Writer, wave: int) -> None:
    """Write the pointwise work of a wave: a loop over rows, in it loops over units cut where a reduction ends."""
    of = Wave(w.plan, wave)
    if not of:
        return
    w.block("for i in range(rows):")
    w.put("b = load_int(pos + 8 * i)")
    emitter = _Region(w, wave, of.needed, of.stores)
    if any(POSITION in n.shape for n in of.needed):
        emitter.positions()
    for phase in range(of.last + 1):
        emitter.phase(phase)
    w.end()


class _Region:
    """The code of one wave for one row: loops over units, cut where a reduction ends a phase."""

    def __init__(self, w: Writer, wave: int, needed, stores):
        self.w, self.plan, self.wave, self.needed, self.stores = w, w.plan, wave, needed, stores
        self.bases: dict[str, str] = {}
        self.scalars: dict[int, str] = {}
        self.name = w.name
        self.row_lines, self.row_depth = w.lines, w.depth  # what a row does before its loops over units
        self.positioned = False

    def positions(self) -> None:
        """Where this row's source begins, and how many positions it has."""
        if not self.positioned:
            self.positioned = True
            self.put(f"source_row = load_int({self.w.pointer('base.source')} + 8 * b)")
            self.put(f"source_count = load_int({self.w.pointer('count.source')} + 8 * b)")

    def extent(self, dim) -> tuple[str, str]:
        """(number of elements, bytes to go through) of a row's vector."""
        if dim != POSITION:
            return self.w.count_of(dim), self.w.width_of(dim)
        return "source_count", f"{self.w.item} * source_count"

    def put(self, text: str) -> None:
        self.row_lines.append("    " * self.row_depth + text)

    def phase(self, phase: int) -> None:
        ready = self.plan.ready
        for n in self.needed:
            if n.shape == () and ready[n.id][1] == phase and n.op not in REDUCTIONS:
                self._scalar(n)
        here = [st for st in self.stores if ready[st.node.id][1] == phase]
        for st in here:
            if st.node.shape == () and st.dim == ONE and st.node.level == "step":
                self._store_scalar(st)
        sources = [st for st in here if st.where[0] == "source"]
        here = [st for st in here if not (st.node.shape == () and st.dim == ONE and st.node.level == "step")]
        here = [st for st in here if st.where[0] != "source"]
        ends = [n for n in self.needed if n.op in REDUCTIONS and ready[n.id][1] == phase + 1]
        nests = [n for n in ends if reduces_positions(n)]
        sums = [n for n in ends if n not in nests]
        nodes = [n for n in self.needed if len(n.shape) == 1 and ready[n.id][1] == phase and not apart(n)]
        dims = []
        for d in [n.shape[0] for n in nodes] + [st.dim for st in here] + [n.args[0].shape[0] for n in sums]:
            if d not in dims:
                dims.append(d)
        for d in dims:
            self._loop(d, [n for n in nodes if n.shape[0] == d], [st for st in here if st.dim == d],
                       [n for n in sums if n.args[0].shape[0] == d])  # fmt: skip
        emit_nests(self, nests, sources)
        for n in self.needed:
            if n.op in ROWWISE and ready[n.id][1] == phase + 1:
                self._call(n)

    def _call(self, n: Node) -> None:
        """A library function of whole rows: addresses of arguments and of the result, its size and bytes."""
        given = [*(self.address(a) for a in n.args), self.address(n), *self.extent(n.shape[0])]
        given += ["0"] * (ARITY - len(given))
        self.w.put(f"call_library({self.w.pointer(f'fn.{n.op}')}, ({', '.join(given)}))", n.origin)

    def address(self, n: Node) -> str:
        """Where this row's vector lies in memory."""
        if n.level == "call":
            return self.w.call_vector(n)
        base, ld, row, _ = self.w.locate(self.origin_of(n))
        return self._base(base, ld, row)

    def _loop(self, dim, nodes, stores, sums) -> None:
        w = self.w
        self.extent(dim)
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
        count, width = self.extent(dim)
        w.put(f"for j in range(0, {width}, {w.count * w.item}):")
        if body.uses_left:
            w.put(f"    left = {count} - j // {w.item}")
        w.lines += inner
        for n in sums:
            if n.op == "sum":
                w.put(f"{self.name(n)} = total({self.name(n)}_sum, {w.count})", n.origin)
            self.scalars[n.id] = self.name(n)

    def _scalar(self, n: Node) -> None:
        arguments = [self._value_scalar(a) for a in n.args]
        name = self.name(n)
        text = arguments[0] if n.op == "stop" else f"{FUNCTION.get(n.op, n.op)}({', '.join(arguments)})"
        self.w.put(f"{name} = {text}", n.origin)
        self.scalars[n.id] = name

    def origin_of(self, n: Node) -> tuple[str, str]:
        """Where a region reads a value: a leaf from where it came, though a copy may be kept for later."""
        return tuple(n.attrs) if n.op == "leaf" and n.attrs[0] != "slot" else self.plan.place[n.id]

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
        name = self.name(n)
        base, ld, row, label = self.w.locate(self.origin_of(n))
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
        row = "in" if plan.reverse else "y"
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
        arguments = [self.value(a) for a in n.args[: 1 if n.op in SHAPED else None]]
        if n.op == "spread":
            text = f"spread({arguments[0]})"
        elif n.op == "stop":
            text = arguments[0]
        else:
            text = f"{FUNCTION.get(n.op, n.op)}({', '.join(arguments)})"
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
            base, ld, row, _ = w.locate(self.r.origin_of(n))
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
