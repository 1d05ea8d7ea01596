"""What is there only when everything before it is through: sums over units or positions, loops over both, whole rows.

Sums over units are taken by warps, one a row, or a row and position; sums over positions by the thread that has the
row and unit. Their order depends on sizes alone, never on timing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..lang.dims import POSITION
from ..lang.graph import Node
from ..plan.model import Store
from ..plan.waves import Wave
from .body import Body
from .writer import Writer

__all__ = ["Ends"]


class Ends:
    """The ends of a phase."""

    def __init__(self, w: Writer, wave: Wave, barriers):
        self.w, self.wave, self.barriers = w, wave, barriers

    def write(self, sums: list[Node], nests: list[Node], sources: list[Store], whole: list[Node]) -> None:
        """Write sums over units, nests of positions and units with adjoints of sources, and calls of whole rows."""
        across = [n for n in nests if n.op == "psum"]
        parts = [self._team(d, of) for d, of in _by_dim(sums, lambda n: self.w.dim_of(n.args[0]))]
        parts += [self._team(d, of) for d, of in _by_dim([n for n in nests if n.op == "sum"], _units_of)]
        ends = _by_dim([*across, *sources], lambda one: one.shape[0] if isinstance(one, Node) else one.node.shape[1])
        parts += [self._over_positions(d, of) for d, of in ends]
        parts += [self._whole(n) for n in whole]
        read: set[tuple[str, str]] = set()
        for _, body in parts:
            read |= body.reads
        if not self.barriers.before(read, set()):
            self.w.put("sync()")  # sums of the step before have been read
        for write, body in parts:
            write(body)
        if sums:
            self.w.put("sync()")
        for n in nests + whole:
            self.barriers.others.add(self.w.plan.place[n.id])

    def _row(self) -> None:
        """The variables of a row's source."""
        w = self.w
        w.put(f"source_row = numbers[{w.pointer('base.source')} + b]")
        w.put(f"count = numbers[{w.pointer('count.source')} + b]")

    def _team(self, dim: Any, sums: list[Node]):
        """Sums over units: a warp has a row, or a row and position; its lanes share out the units."""
        w, body = self.w, Body(self.w, self.wave)
        positions = len(sums[0].args[0].shape) == 2
        own = w.own(POSITION) if positions else None
        for n in sums:
            start = w.constant(n.graph.const(float("-inf"))) if n.op == "rmax" else w.zero()
            body.put(f"sum_{w.name(n)} = {start}")
        body.put("u = lane")
        body.block(f"while u < {'count' if dim == POSITION else w.count_of(dim)}:")
        for n in sums:
            a = n.args[0]
            text = body.value(a) if positions else body.load(a, "u")
            body.put(f"sum_{w.name(n)} = {'maximum' if n.op == 'rmax' else 'add'}(sum_{w.name(n)}, {text})", n.origin)
        body.put("u += WARP")
        body.end()
        for n in sums:
            body.put(f"sum_{w.name(n)} = {'warp_max' if n.op == 'rmax' else 'warp_sum'}(sum_{w.name(n)})")
        body.block("if lane == 0:")
        for n in sums:
            if positions:
                body.keep(w.plan.place[n.id], f"sum_{w.name(n)}", "position")
            else:
                body.put(f"store(shm, p_sums + {w.kernel.sums.index(n)} * s_room + i, sum_{w.name(n)})")
        body.end()

        def write(body: Body) -> None:
            w.put("item, i = warp, warp")
            if own:
                w.put(f"i, more = quotient(warp, max({own[1]}, 1)), quotient(warps, max({own[1]}, 1))")
                w.put(f"position = {own[0]} + warp - i * {own[1]}")
            w.block(f"while item < rows{f' * {own[1]}' if own else ''}:")
            w.put("b = b0 + i")
            if positions or dim == POSITION:
                self._row()
            if own:
                w.block("if position < count:")
            body.write()
            if own:
                w.end()
                w.put(f"i, position = i + more, position + warps - more * {own[1]}")
                w.block(f"if position >= {own[0]} + {own[1]}:")
                w.put(f"i, position = i + 1, position - {own[1]}")
                w.end()
            else:
                w.put("i += warps")
            w.put("item += warps")
            w.end()

        return write, body

    # loops over positions
    def _over_positions(self, dim: Any, ends: list[Node | Store]):
        """Sums over positions, and adjoints of sources, for each row and unit."""
        w, body = self.w, Body(self.w, self.wave)
        sums = [one for one in ends if isinstance(one, Node)]
        stores = [one for one in ends if isinstance(one, Store)]
        for n in sums:
            body.put(f"acc_{w.name(n)} = {w.zero()}")
        body.put("position = 0")
        body.block("while position < count:")
        for n in sums:
            body.put(f"acc_{w.name(n)} = add(acc_{w.name(n)}, {body.value(n.args[0])})")
        for st in stores:
            body.add_to_source(st)
        body.put("position += 1")
        body.end()
        for n in sums:
            body.keep(w.plan.place[n.id], f"acc_{w.name(n)}")

        def write(body: Body) -> None:
            w.put("i0, many = 0, min(s_tile, rows)")
            w.block("while i0 < rows:")
            k = w.walk_from(dim)
            self._row()
            body.write()
            w.walk_on(k)
            w.end()
            w.put("i0 += s_tile")
            w.put("many = min(s_tile, rows - i0)")
            w.end()

        return write, body

    def _whole(self, n: Node):
        """A function of whole rows, one thread a row."""
        w, body = self.w, Body(self.w, self.wave)
        given = [f"{array}, {at}" for array, at in (body.address(a) for a in n.args)]
        array, at = body.row_address(w.locate(w.plan.place[n.id]))
        body.put(f"{n.op}({', '.join(given)}, {array}, {at}, {w.count_of(n.shape[0])})", n.origin)

        def write(body: Body) -> None:
            w.block("if member == 0:")
            w.block("for i in range(tid, rows, width):")
            w.put("b = b0 + i")
            body.write()
            w.end(2)

        return write, body


def _units_of(n: Node) -> Any:
    return n.args[0].shape[1]


def _by_dim(ends: Iterable[Any], dim_of: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    """Ends by the size symbol of their units, in the order of coming."""
    found: dict[Any, list[Any]] = {}
    for one in ends:
        found.setdefault(dim_of(one), []).append(one)
    return list(found.items())
