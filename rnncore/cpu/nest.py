"""Work over positions and units: for each position of a row's source a loop over units.

A value that is there for every position and unit exists in a register only: it is made from sources, from vectors
of units and of positions in memory, and ends in a sum over units, in one over positions, or in the adjoint of a source.
"""

from __future__ import annotations

from typing import Any

from ..lang.graph import Node, topological
from ..lang.ops import SHAPED
from ..plan.model import Store
from .writer import FUNCTION

__all__ = ["emit_nests"]

_SIDE = 2  # positions side by side


def emit_nests(region, sums: list[Node], stores: list[Store]) -> None:
    """Write the loops that end in `sums` and `stores`, one for each number of units."""
    dims: list[Any] = []
    for d in [n.args[0].shape[1] for n in sums] + [st.node.shape[1] for st in stores]:
        if d not in dims:
            dims.append(d)
    for d in dims:
        _Nest(region, d).write(
            [n for n in sums if n.args[0].shape[1] == d], [st for st in stores if st.node.shape[1] == d]
        )


def _wide(roots: list[Node]) -> list[Node]:
    """What the roots are made of for every position and unit, arguments first."""
    wanted = {n.id for n in roots}
    order = topological(roots)
    for n in reversed(order):
        if n.id in wanted:
            wanted |= {a.id for a in n.args if len(a.shape) == 2}
    return [n for n in order if n.id in wanted]


class _Nest:
    """Two loops: whole vectors of units of two positions at a time, which need no masks, share what is read along
    units, and touch a sum over positions once; then all that is left: a last odd position, and units past the vectors.
    """

    def __init__(self, region, dim):
        self.r, self.w = region, region.w
        self.count, self.width = region.extent(dim)
        self.side, self.masked = _SIDE, False  # positions in the loop under way, and whether its vectors have masks
        self.values: dict[tuple[int, int], str] = {}  # by node and place among the positions side by side

    def write(self, sums: list[Node], stores: list[Store]) -> None:
        w, r = self.w, self.r
        over_positions = [n for n in sums if n.op == "psum"]
        outside, w.lines = w.lines, []
        vector = w.count * w.item
        for n in over_positions:
            w.put(f"for j in range(0, {self.width}, {vector}):")
            w.put(f"    store({r.address(n)} + j, spread({self._zero(n)}))")
        w.put(f"paired = source_count // {_SIDE} * {_SIDE}")
        w.put(f"whole = {self.count} // {w.count} * {vector}")
        ends = [n for n in sums if n.op == "sum"], over_positions, stores
        w.block(f"for position in range(0, paired, {_SIDE}):")
        self._positions(f"range(0, whole, {vector})", *ends)
        w.end()
        self.side, self.masked = 1, True
        w.block(f"for position in range(paired if whole == {self.width} else 0, source_count):")
        w.put("start = whole if position < paired else 0")
        self._positions(f"range(start, {self.width}, {vector})", *ends)
        w.end()
        outside += w.lines
        w.lines = outside

    def _positions(self, span: str, over_units: list[Node], over_positions: list[Node], stores: list[Store]) -> None:
        """The inside of a loop over positions: what each reads once, the loop over units, its sums."""
        w, r = self.w, self.r
        order = _wide([n.args[0] for n in (*over_units, *over_positions)] + [st.node for st in stores])
        sources = {name: f"{r.name(leaf)}_row" for name, leaf in self._sources(order, stores)}
        for k in range(self.side):
            for name, variable in sources.items():
                w.put(f"{variable}{k} = (source_row + position + {k}) * {w.size(f'ld.source.{name}')}")
            for n in order:
                if n.op == "over":
                    self._put(n, k, f"load_one({r.address(n.args[0])} + {w.item} * (position + {k}))")
            for n in over_units:
                w.put(f"{r.name(n)}_sum{k} = spread({self._zero(n)})")
        w.block(f"for j in {span}:")
        if self.masked:
            w.put(f"left = {self.count} - j // {w.item}")
        for n in order:
            for k in range(self.side):
                self._compute(n, k, sources)
        self._ends(over_units, over_positions, stores, sources)
        w.end()
        for n in over_units:
            for k in range(self.side):
                self._total(n, k)

    def _total(self, n: Node, k: int) -> None:
        """Store a sum over units, onto that over whole vectors where this is of the others."""
        w = self.w
        at = f"{self.r.address(n)} + {w.item} * (position + {k})"
        total = f"total({self.r.name(n)}_sum{k}, {w.count})"
        if self.masked:
            w.put("if start > 0:")
            w.put(f"    store_one({at}, add(load_one({at}), {total}))")
            w.put("else:")
            w.put(f"    store_one({at}, {total})")
        else:
            w.put(f"store_one({at}, {total})")

    def _sources(self, order, stores):
        named = {n.attrs[1]: n for n in order if n.op == "leaf" and n.attrs[0] == "source"}
        named |= {st.where[1]: st.node for st in stores if st.where[1] not in named}
        return named.items()

    def _zero(self, n: Node) -> str:
        return self.w.constant(n.graph.const(0.0))

    def _put(self, n: Node, k: int, text: str) -> None:
        self.values[n.id, k] = f"{self.r.name(n)}_at{k}"
        self.w.put(f"{self.values[n.id, k]} = {text}", n.origin)

    def _compute(self, n: Node, k: int, sources: dict[str, str]) -> None:
        w = self.w
        if n.op == "over" or n.op == "leaf" and n.attrs[0] == "like":
            return
        if n.op == "along" and k:
            self.values[n.id, k] = self.values[n.id, 0]
        elif n.op == "along":
            self._put(n, k, self._load(f"{self.r.address(n.args[0])} + j"))
        elif n.op == "leaf":
            label = n.attrs[1]
            self._put(n, k, self._load(f"{w.pointer(f'source.{label}')} + {sources[label]}{k} + j"))
        else:
            arguments = [self._value(a, k) for a in n.args[: 1 if n.op in SHAPED else None]]
            self._put(n, k, f"{FUNCTION.get(n.op, n.op)}({', '.join(arguments)})")

    def _load(self, address: str) -> str:
        return f"load_n({address}, left)" if self.masked else f"load({address})"

    def _kept(self, n: Node, k: int) -> str:
        return f"keep({self._value(n, k)}, left)" if self.masked else self._value(n, k)

    def _value(self, n: Node, k: int) -> str:
        return self.values[n.id, k] if (n.id, k) in self.values else self.r._value_scalar(n)

    def _ends(self, over_units, over_positions, stores, sources) -> None:
        w, places = self.w, range(self.side)
        for n in over_units:
            for k in places:
                total = f"{self.r.name(n)}_sum{k}"
                w.put(f"{total} = add({total}, {self._kept(n.args[0], k)})")
        for n in over_positions:
            at = f"{self.r.address(n)} + j"
            text = self._kept(n.args[0], 0)
            for k in places[1:]:
                text = f"add({text}, {self._kept(n.args[0], k)})"
            w.put(f"store({at}, add(load({at}), {text}))")
        for st in stores:
            label = st.where[1]
            for k in places:
                w.put(f"at_source = {w.pointer(f'adj.source.{label}')} + {sources[label]}{k} + j")
                value = f"add({self._load('at_source')}, {self._value(st.node, k)})"
                w.put(f"store_n(at_source, {value}, left)" if self.masked else f"store(at_source, {value})")
