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
    def __init__(self, region, dim):
        self.r, self.w, self.dim = region, region.w, dim
        self.values: dict[int, str] = {}
        self.whole = False  # whether all lanes are units: else those from `left` on are not

    def write(self, sums: list[Node], stores: list[Store]) -> None:
        w, r = self.w, self.r
        count, width = r.extent(self.dim)
        over_units = [n for n in sums if n.op == "sum"]
        over_positions = [n for n in sums if n.op == "psum"]
        order = _wide([n.args[0] for n in sums] + [st.node for st in stores])
        sources = {name: f"{r.name(leaf)}_row" for name, leaf in self._sources(order, stores)}
        vector = w.count * w.item
        loop = f"for j in range(0, {width}, {vector}):"
        outside, w.lines = w.lines, []
        for n in over_positions:
            w.put(loop)
            w.put(f"    store({self.r.address(n)} + j, spread({self._zero(n)}))")
        w.block("for position in range(source_count):")
        for name, variable in sources.items():
            w.put(f"{variable} = (source_row + position) * {w.size(f'ld.source.{name}')}")
        for n in order:
            if n.op == "over":
                w.put(f"{r.name(n)} = load_one({self.r.address(n.args[0])} + {w.item} * position)")
                self.values[n.id] = r.name(n)
        for n in over_units:
            w.put(f"{r.name(n)}_sum = spread({self._zero(n)})")
        whole = f"{count} // {w.count} * {vector}"
        for self.whole, span in ((True, f"0, {whole}"), (False, f"{whole}, {width}")):
            w.block(f"for j in range({span}, {vector}):")
            if not self.whole:
                w.put(f"left = {count} - j // {w.item}")
            for n in order:
                self._compute(n, sources)
            self._ends(over_units, over_positions, stores, sources)
            w.end()
        for n in over_units:
            w.put(f"store_one({self.r.address(n)} + {w.item} * position, total({r.name(n)}_sum, {w.count}))")
        w.end()
        outside += w.lines
        w.lines = outside

    def _sources(self, order, stores):
        named = {n.attrs[1]: n for n in order if n.op == "leaf" and n.attrs[0] == "source"}
        named |= {st.where[1]: st.node for st in stores if st.where[1] not in named}
        return named.items()

    def _zero(self, n: Node) -> str:
        return self.w.constant(n.graph.const(0.0))

    def _compute(self, n: Node, sources) -> None:
        w, name = self.w, self.r.name(n)
        if n.op == "over" or n.op == "leaf" and n.attrs[0] == "like":
            return
        if n.op == "leaf":
            label = n.attrs[1]
            text = self._load(f"{w.pointer(f'source.{label}')} + {sources[label]} + j")
        elif n.op == "along":
            text = self._load(f"{self.r.address(n.args[0])} + j")
        else:
            arguments = [self._value(a) for a in n.args[: 1 if n.op in SHAPED else None]]
            text = f"{FUNCTION.get(n.op, n.op)}({', '.join(arguments)})"
        w.put(f"{name} = {text}", n.origin)
        self.values[n.id] = name

    def _load(self, address: str) -> str:
        return f"load({address})" if self.whole else f"load_n({address}, left)"

    def _kept(self, n: Node) -> str:
        return self._value(n) if self.whole else f"keep({self._value(n)}, left)"

    def _value(self, n: Node) -> str:
        return self.values[n.id] if n.id in self.values else self.r._value_scalar(n)

    def _ends(self, over_units, over_positions, stores, sources) -> None:
        w = self.w
        for n in over_units:
            w.put(f"{self.r.name(n)}_sum = add({self.r.name(n)}_sum, {self._kept(n.args[0])})")
        for n in over_positions:
            at = f"{self.r.address(n)} + j"
            w.put(f"store({at}, add(load({at}), {self._kept(n.args[0])}))")
        for st in stores:
            label = st.where[1]
            w.put(f"at_source = {w.pointer(f'adj.source.{label}')} + {sources[label]} + j")
            value = f"add({self._load('at_source')}, {self._value(st.node)})"
            w.put(f"store(at_source, {value})" if self.whole else f"store_n(at_source, {value}, left)")
