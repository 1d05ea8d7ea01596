"""What is there only when everything before it is through: sums over units or positions, loops over both, whole rows.

Sums over units are taken by teams of threads, one a row, or a row and position; sums over positions by the thread
that has the row and unit. Their order depends on sizes and on how the call is laid out, never on timing.
"""

from __future__ import annotations

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
        parts = [self._unit_sum(n) for n in sums]
        parts += [self._position_sum(n) for n in nests if n.op == "sum"]
        dims = list({str(d): d for d in [n.shape[0] for n in nests if n.op == "psum"]
                     + [st.node.shape[1] for st in sources]}.values())  # fmt: skip
        parts += [self._over_positions(d, [n for n in nests if n.op == "psum" and n.shape[0] == d],
                                       [st for st in sources if st.node.shape[1] == d]) for d in dims]  # fmt: skip
        parts += [self._whole(n) for n in whole]
        read: set[tuple[str, str]] = set()
        for _, body in parts:
            read |= body.reads
        if not self.barriers.before(read, set()):
            self.w.put("sync()")  # sums of the step before have been read
        for write, body in parts:
            write(body)
        for n in nests + whole:
            self.barriers.others.add(self.w.plan.place[n.id])

    def _row(self) -> None:
        """The variables of a row's source."""
        w = self.w
        w.put(f"source_row = numbers[{w.pointer('base.source')} + b]")
        w.put(f"count = numbers[{w.pointer('count.source')} + b]")

    # sums by teams
    def _unit_sum(self, n: Node):
        """A number each row."""
        a, w = n.args[0], self.w
        body = Body(w, self.wave)
        self._share(body, n, lambda: body._load(a, "u"), w.dim_of(a))
        return lambda body: self._team(body, n, "rows", None), body

    def _position_sum(self, n: Node):
        """A number each row and position."""
        body = Body(self.w, self.wave)
        self._share(body, n, lambda: body.value(n.args[0]), n.args[0].shape[1])
        own = self.w.own(POSITION)
        return lambda body: self._team(body, n, f"rows * {own[1]}", own), body

    def _share(self, body: Body, n: Node, value, dim) -> None:
        """One thread's share of a sum over units."""
        many = "count" if dim == POSITION else self.w.count_of(dim)
        body.block(f"for u in range(lane, {many}, s_span):")
        text = value()
        body.put(f"share = {'maximum' if n.op == 'rmax' else 'add'}(share, {text})")
        body.end()

    def _start(self, n: Node) -> str:
        return self.w.constant(n.graph.const(float("-inf"))) if n.op == "rmax" else self.w.zero()

    def _team(self, body: Body, n: Node, items: str, own: tuple[str, str] | None) -> None:
        """Items are shared out among teams of threads; each adds up its own."""
        w = self.w
        join = "maximum" if n.op == "rmax" else "add"
        w.put("teams = width // s_span")
        w.put("lane = tid % s_span")
        w.block(f"for start in range(0, {items}, teams):")
        w.put("item = start + tid // s_span")
        w.put(f"share = {self._start(n)}")
        w.put(f"inside = item < {items} and tid < teams * s_span")
        w.block("if inside:")
        w.put(f"i = item // {own[1]}" if own else "i = item")
        w.put("b = b0 + i")
        if self._reads_positions(n):
            self._row()
        if own:
            w.put(f"position = {own[0]} + item % {own[1]}")
            w.block("if position < count:")
        body.write()
        w.end(2 if own else 1)
        w.put("store(shm, p_scratch + tid, share)")
        w.put("h = s_span // 2")
        w.block("while h > 0:")
        w.put("sync()")
        w.put("if lane < h:")
        other = "load(shm, p_scratch + tid + h)"
        w.put(f"    store(shm, p_scratch + tid, {join}(load(shm, p_scratch + tid), {other}))")
        w.put("h //= 2")
        w.end()
        w.block("if inside and lane == 0:")
        w.put(f"i = item // {own[1]}" if own else "i = item")
        if own:
            end = Body(w, self.wave)
            end.keep(w.plan.place[n.id], "load(shm, p_scratch + tid)", f"{own[0]} + item % {own[1]}")
            w.put("b = b0 + i")
            end.write()
        else:
            w.put(f"store(shm, p_sums + {w.kernel.sums.index(n)} * s_room + i, load(shm, p_scratch + tid))")
        w.end()
        w.put("sync()")
        w.end()

    def _reads_positions(self, n: Node) -> bool:
        return POSITION in n.args[0].shape

    # loops over positions
    def _over_positions(self, dim, sums: list[Node], stores: list[Store]):
        """Sums over positions, and adjoints of sources, for each row and unit."""
        w, body = self.w, Body(self.w, self.wave)
        for n in sums:
            body.put(f"acc_{w.name(n)} = {w.zero()}")
        body.block("for position in range(count):")
        for n in sums:
            body.put(f"acc_{w.name(n)} = add(acc_{w.name(n)}, {body.value(n.args[0])})")
        for st in stores:
            body.add_to_source(st)
        body.end()
        for n in sums:
            body.keep(w.plan.place[n.id], f"acc_{w.name(n)}")

        def write(body: Body) -> None:
            first, own = w.own(dim)
            w.block("for i0 in range(0, rows, s_tile):")
            w.put("many = min(s_tile, rows - i0)")
            w.block(f"for q in range(tid, many * {own}, width):")
            w.put(f"i = i0 + q // {own}")
            w.put(f"u = {first} + q % {own}")
            w.put("b = b0 + i")
            self._row()
            body.write()
            w.end(2)

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
