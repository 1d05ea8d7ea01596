"""A wave on the GPU: products into shared memory, then loops over rows and units that a reduction cuts into phases.

Every row and unit belongs to one thread throughout, so that what is read where it was written needs no barrier; what
others wrote does, and the text has a barrier there and nowhere else.
"""

from __future__ import annotations

from ..lang.dims import POSITION
from ..lang.graph import Node, topological
from ..plan.model import REDUCTIONS, ROWWISE, Product, Slot, apart, reduces_positions
from ..plan.waves import Wave
from .body import Body
from .nest import Ends
from .product import emit_product, partial_sums
from .tensor import bring
from .writer import ANEW, Writer

__all__ = ["Barriers", "emit_wave"]


class Barriers:
    """Which places hold what other threads may not see yet, and the barriers that show it to them.

    ``owned`` was written by the thread that has the row and unit, ``others`` by any.
    """

    def __init__(self, w: Writer):
        self.w = w
        self.carried = "adj" if w.plan.reverse else "state"
        self.owned: set[tuple[str, str]] = {(self.carried, s) for s in w.plan.states}
        self.others: set[tuple[str, str]] = set()
        self.met = False  # whether all have met since the step began
        read = [v for product in w.kernel.products for v in product.operands]
        read += [a for n in topological(_roots(w)) if n.op in REDUCTIONS for a in topological(n.args)]
        self.shared = {w.place_of(n) for n in read if n.op == "leaf" and n.attrs[0] == self.carried}

    def overwrites(self, where: tuple[str, str]) -> bool:
        """Whether a store goes where others may still read what the step before left, unless all have met since."""
        kind, label = where
        lasting = not self.w.plan.reverse and label in self.w.plan.history
        lasting = lasting and not self.w.copies.named((self.carried, label))
        return kind == "next" and not lasting and (self.carried, label) in self.shared and not self.met

    def before(self, across: set[tuple[str, str]], own: set[tuple[str, str]], always: bool = False) -> bool:
        """Put a barrier where one is needed before places are read, `across` by any thread; whether there is one."""
        if not (always or across & (self.owned | self.others) or own & self.others):
            return False
        self.w.put("if s_members > 1:")
        self.w.put("    target += s_members")
        self.w.put("    arrive_and_wait(counters, slice_, target)")
        self.w.put("else:")
        self.w.put("    sync()")
        self.owned, self.others, self.met = set(), set(), True
        return True


def emit_wave(w: Writer, index: int, products: list[Product], barriers: Barriers) -> None:
    """Write one wave of a step."""
    wave = Wave(w.plan, index)
    if products or wave:
        w.put(ANEW)
        _Region(w, wave, products, barriers).write()


class _Region:
    def __init__(self, w: Writer, wave: Wave, products: list[Product], barriers: Barriers):
        self.w, self.wave, self.products, self.barriers = w, wave, products, barriers
        self.ready = w.plan.ready
        for n in w.unit_sums(wave.needed):
            if w.needs_place(n.args[0]):
                w.reduced[n.args[0].id] = w.column("r", n.args[0], w.dim_of(n.args[0]))

    def write(self) -> None:
        w = self.w
        self.pending: set[tuple[str, str]] = set()
        bodies = self._bodies(0)
        operands = {w.plan.place[v.id] for product in self.products for v in product.operands}
        bring(w, self.products, self.barriers)
        w.put("i0, many = 0, min(s_tile, rows)")
        self._ahead(bodies)
        waited = self._wait(0, operands, bodies)
        if self.products and not waited:
            w.put("sync()")  # sums of the wave before have been read
        w.block("while i0 < rows:")
        for product in self.products:
            emit_product(w, product)
        if self.products:
            w.put("sync()")
        self._loops(bodies)
        self._next_tile(bodies, bool(self.products))
        self._ends(0)
        for phase in range(1, self.wave.last + 1):
            w.put(ANEW)
            bodies = self._bodies(phase)
            self._wait(phase, set(), bodies)
            if bodies:
                w.put("i0, many = 0, min(s_tile, rows)")
                w.block("while i0 < rows:")
                self._loops(bodies)
                self._next_tile(bodies, False)
            self._ends(phase)

    def _ahead(self, bodies) -> None:
        """What the first row and unit of every thread reads early."""
        w = self.w
        for d, body in bodies:
            if body.ahead:
                k = w.walk(d)
                for name in body.ahead:
                    w.put(f"{name} = {w.zero()}")
                w.block(f"if tid < many * own{k}:")
                w.put(f"b, u = b0 + i0 + first_r{k}, first_u{k}")
                for line in body.ahead.values():
                    w.put(line)
                w.end()

    def _next_tile(self, bodies, products: bool) -> None:
        w = self.w
        w.put("i0 += s_tile")
        w.put("many = min(s_tile, rows - i0)")
        if products or any(body.ahead for _, body in bodies):
            w.block("if i0 < rows:")
            self._ahead(bodies)
            if products:
                w.put("sync()")
            w.end()
        w.end()

    def _wait(self, phase: int, across: set[tuple[str, str]], bodies) -> bool:
        """A barrier where one is needed before a phase; whether there is one."""
        read = set().union(*(body.reads for _, body in bodies))
        here = [st for st in self.wave.stores if self.ready[st.node.id][1] == phase]
        waited = self.barriers.before(across, read, any(self.barriers.overwrites(st.where) for st in here))
        self.barriers.owned |= self.pending
        self.pending = set()
        return waited

    # what a phase computes for each row and unit
    def _bodies(self, phase: int) -> list[tuple[object, Body]]:
        """The insides of its loops over units, by size symbol."""
        stores = [st for st in self.wave.stores if self.ready[st.node.id][1] == phase and st.where[0] != "source"]
        nodes = [n for n in self.wave.needed if len(n.shape) == 1 and self.ready[n.id][1] == phase and not apart(n)]
        sums = [n for n in self.wave.needed if n in self.w.kernel.sums and self.ready[n.id][1] == phase + 1]
        kept = [n.args[0] for n in sums if n.args[0].id in self.w.reduced]
        slots = [] if phase else list({id(s): s for p in self.products for s in p.slots}.values())
        dims: list[object] = []
        for d in [s.dim for s in slots] + [n.shape[0] for n in nodes + kept] + [st.dim for st in stores]:
            if d not in dims:
                dims.append(d)
        found = []
        for d in dims:
            early = self.products and not phase and d != POSITION
            body = Body(self.w, self.wave, phase, self._early if early else None)
            self._slots(body, [slot for slot in slots if slot.dim == d])
            for n in nodes:
                if n.shape[0] == d:
                    body.value(n)
            for n in {n.id: n for n in kept}.values():
                if n.shape[0] == d:
                    place = self.w.reduced[n.id]
                    body.keep(place, self.w.as_number(n, body.value(n)))
            for st in stores:
                if st.dim == d:
                    body.store(st)
            found.append((d, body))
        self.pending |= {st.where for st in stores} | {self.w.reduced[n.id] for n in kept}
        return found

    def _early(self, n: Node) -> bool:
        """Whether a vector is there before others have shown what they wrote."""
        return n.level == "call" or self.w.place_of(n) not in self.barriers.others

    def _slots(self, body: Body, slots: list[Slot]) -> None:
        """Values of slots: what was there before, and the sums of this wave's products."""
        w = self.w
        names = {id(slot): w.name(slot.leaf) for slot in slots}
        for slot in slots:
            body.values[slot.leaf.id] = names[id(slot)]
            self._base(body, slot)
        for product in self.products:
            if any(id(slot) in names for slot in product.slots):
                partial_sums(w, body, product, names)
        for slot in slots:
            complete = self.ready[slot.leaf.id][0] == self.wave.index
            if not complete or self._escapes(slot):
                body.keep(w.plan.place[slot.leaf.id], names[id(slot)])
                self.pending.add(w.plan.place[slot.leaf.id])

    def _base(self, body: Body, slot: Slot) -> None:
        """What a slot's products of this wave are added to."""
        w, name = self.w, self.w.name(slot.leaf)
        earlier = w.plan.hoisted + [p for wave in w.plan.waves[: self.wave.index] for p in wave]
        if any(s is slot for p in earlier for s in p.slots):
            text = body.far(slot.leaf)
        elif slot.bias is not None:
            text = body.far(slot.bias)
        else:
            body.put(f"{name} = {w.zero()}")
            return
        body.ahead[name] = f"{name} = {text}"

    def _escapes(self, slot: Slot) -> bool:
        """Whether anything but the loop in which a slot is completed reads it."""
        leaf, plan = slot.leaf, self.w.plan
        operands = [v for p in plan.hoisted + plan.post + self.w.kernel.products for v in p.operands]
        operands += [v for total in plan.sums for pair in total.pairs for v in pair]
        operands += [total.value for total in plan.sums if total.value is not None]
        if any(v is leaf for v in operands):
            return True
        here = (self.wave.index, 0)
        return any(
            leaf in n.args and not (self.ready.get(n.id) == here and n.shape == leaf.shape and not apart(n))
            for n in topological(_roots(self.w))
        )

    def _loops(self, bodies) -> None:
        """Every thread walks through its rows and units."""
        w = self.w
        for d, body in bodies:
            k = w.walk_from(d)
            if d == POSITION:
                w.put(f"count = numbers[{w.pointer('count.source')} + b]")
                w.block("if u < count:")
            body.write()
            if d == POSITION:
                w.end()
            w.walk_on(k)
            if body.ahead:
                w.block(f"if q < many * own{k}:")
                w.put("b = b0 + i0 + r")
                for line in body.ahead.values():
                    w.put(line)
                w.end()
            w.end()

    def _ends(self, phase: int) -> None:
        """What is there only when all rows and units of a phase are: sums, loops over positions, whole rows."""
        w, of = self.w, self.wave
        ends = [n for n in of.needed if self.ready[n.id][1] == phase + 1]
        sources = [st for st in of.stores if st.where[0] == "source" and self.ready[st.node.id][1] == phase]
        nests = [n for n in ends if reduces_positions(n)]
        sums = [n for n in ends if n in w.kernel.sums]
        whole = [n for n in ends if n.op in ROWWISE]
        if sums or nests or sources or whole:
            Ends(w, of, self.barriers).write(sums, nests, sources, whole)


def _roots(w: Writer) -> list[Node]:
    return [st.node for st in w.plan.stores] + w.plan.nests
