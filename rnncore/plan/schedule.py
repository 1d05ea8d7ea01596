"""The schedule of a loop: which products run when, what is fused between them, where every value lies.

A *slot* is a sum of products (and a bias) that is computed in one go; the step is a sequence of
waves: the products that are ready, then the pointwise region that reads them. Products of inputs
leave the loop before it, products that only leave the step run after it, both over a chunk of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..lang.graph import Node, topological
from ..lang.ops import apply
from ..lang.printing import author_names
from .model import ENDS, ONE, ROWWISE, Plan, Slot, Store, Sum, apart
from .products import Grouping
from .slots import Slots, outer_sum, root_name

__all__ = ["schedule"]


def schedule(
    name: str,
    roots: Mapping[str, Node],
    *,
    reverse: bool,
    states: Mapping[str, Any],
    inputs: Mapping[str, Any],
    history: tuple[str, ...],
    saved: Mapping[str, Any],
    order: Mapping[str, int],
) -> Plan:
    """Plan a loop.

    Parameters
    ----------
    roots : mapping of str to Node
        ``next.<state>``, ``out.<sequence>``, ``save.<name>``, ``sum.<call-level value>``, ``source.<name>``.
    states : mapping of str to size symbol
        What is carried from step to step.
    inputs : mapping of str to size symbol
        Sequences read, ``y`` being the adjoint of the output.
    history : tuple of str
        Forward states kept for all steps.
    saved : mapping of str to size symbol
    order : mapping of str to int
        Rank of parameters, which fixes the order of columns.
    """
    s = Slots(roots, order)
    done: dict[str, Node] = {}
    sums: list[Sum] = []
    for key, node in roots.items():
        if key.startswith("sum.") and len(node.shape) == 2:
            sums.append(outer_sum(s, key[4:], node))
        elif key.startswith("sum."):
            value = s.rewrite(node)
            sums.append(Sum(key[4:], value=value, dim=node.shape[0] if node.shape else ONE))
        else:
            done[key] = s.rewrite(node)
    return _Layout(name, s, done, sums, reverse, states, inputs, history, saved).plan()


class _Layout:
    """Where values lie and when they are ready."""

    def __init__(self, name, s: Slots, roots, sums, reverse, states, inputs, history, saved):
        self.name, self.s, self.roots, self.sums, self.reverse = name, s, roots, sums, reverse
        self.states, self.inputs, self.history, self.saved = dict(states), dict(inputs), history, dict(saved)
        self.place: dict[int, tuple[str, str]] = {}
        self.stores: list[Store] = []
        self.ready: dict[int, tuple[int, int]] = {}
        self.columns: dict[str, Any] = {}

    def plan(self) -> Plan:
        self._post_slots()
        slots = sorted(self.s.slots, key=self.s.rank)
        operands = self._operands(slots)
        for slot in slots:
            if slot.when == "loop":
                self.columns[slot.name] = slot.dim
                self.place[slot.leaf.id] = ("work", slot.name)
        self.nests = [n for n in topological(self._everything()) if apart(n)]
        for node in self.nests:
            self._column("n", node)
        for node in [a for n in self.nests if n.op in ROWWISE for a in n.args]:
            self._materialise(node)
        for node in operands:
            self._materialise(node)
        for total in self.sums:
            if total.value is not None:
                self._materialise(total.value, total.dim)
        for key, node in self.roots.items():
            kind, label = key.split(".", 1)
            where = {"next": "next", "out": "out", "save": "saved", "source": "source"}[kind]
            dim = self.states[label] if kind == "next" else node.shape[-1] if node.shape else ONE
            if kind == "out" and label in self.post_only:
                continue
            self.stores.append(Store(node, (where, label), dim))
        self._crossings()
        outs = {k.split(".", 1)[1]: n.shape[0] if n.shape else ONE for k, n in self.roots.items() if k[:4] == "out."}
        hoisted, waves, post = self._products(slots)
        plan = Plan(self.name, self.reverse, self.roots, slots, self.columns, self.place, hoisted, waves, post,
                    self.ready, self.stores, self.sums, self.saved, self.history, self.states, self.inputs, outs,
                    self.nests)
        every = [st.node for st in self.stores] + [slot.leaf for slot in slots] + self.nests
        every += [operand for slot in slots for _, _, operand in slot.terms]
        every += [n for total in self.sums for pair in total.pairs for n in pair]
        plan.names = author_names(topological(every))
        return plan

    def _post_slots(self) -> None:
        """Slots that only leave the step run after the chunk, on top of the rest of their sum."""
        self.post_only: set[str] = set()
        uses: dict[int, int] = {}
        every = self._everything()
        for n in topological(every):
            for a in n.args:
                uses[a.id] = uses.get(a.id, 0) + 1
        for n in every:
            uses[n.id] = uses.get(n.id, 0) + 1
        for key, node in list(self.roots.items()):
            if not key.startswith("out.d."):
                continue
            terms = _flat(node, uses)
            mine = [t for t in terms if t.id in self.s.slot_of and uses[t.id] == 1]
            if len(mine) != 1 or self.s.slot_of[mine[0].id].bias is not None:
                continue
            slot = self.s.slot_of[mine[0].id]
            slot.when, slot.out = "post", key[4:]
            rest = [t for t in terms if t is not mine[0]]
            if rest:
                total = rest[0]
                for t in rest[1:]:
                    total = apply("add", total, t)
                self.roots[key] = total
            else:
                self.post_only.add(key[4:])

    def _everything(self) -> list[Node]:
        """Every value that the loop has to compute."""
        every = list(self.roots.values()) + [t[2] for s in self.s.slots for t in s.terms]
        every += [n for total in self.sums for pair in total.pairs for n in pair]
        return every + [total.value for total in self.sums if total.value is not None]

    def _operands(self, slots) -> list[Node]:
        """Values that products read from memory, ranked by the matrices they meet."""
        rank: dict[int, tuple] = {}
        nodes: dict[int, Node] = {}
        for slot in slots:
            for w, _, v in slot.terms:
                r = (self.s.order_of.get(root_name(w), 0), v.id)
                rank[v.id] = min(rank.get(v.id, r), r)
                nodes[v.id] = v
        for total in self.sums:
            for pair in total.pairs:
                for v in pair:
                    rank.setdefault(v.id, (self.s.order_of.get(total.name, 0), v.id))
                    nodes[v.id] = v
        lasting = {v.id for total in self.sums for pair in total.pairs for v in pair}
        lasting |= {v.id for slot in slots if slot.when == "post" for _, _, v in slot.terms}
        lasting |= {total.value.id for total in self.sums if total.value is not None}
        self.lasting = lasting
        return [nodes[k] for k in sorted(nodes, key=rank.__getitem__)]

    def _materialise(self, node: Node, dim=None) -> None:
        """Give `node` a place in memory: where it lies anyway, or a work column."""
        if node.id in self.place:
            return
        if node.op == "leaf":
            kind, label = node.attrs
            carried = kind == "adj" or kind == "state" and label not in self.history
            if not (carried and node.id in self.lasting) and node.shape:
                self.place[node.id] = (kind, label)
                return
        column = self._column("a", node, dim)
        self.stores.append(Store(node, ("work", column), self.columns[column]))

    def _column(self, letter: str, node: Node, dim=None) -> str:
        """A new work column for `node`."""
        column = f"{letter}{len(self.columns)}"
        self.columns[column] = dim or (node.shape[0] if node.shape else ONE)
        self.place[node.id] = ("work", column)
        return column

    # time of readiness: (wave, phase); a reduction ends a phase
    def _when(self, node: Node) -> tuple[int, int]:
        if node.id in self.ready:
            return self.ready[node.id]
        if node.id in self.s.slot_of:
            slot = self.s.slot_of[node.id]
            waits = [self._when(v)[0] + 1 for _, _, v in slot.terms if not _hoistable(v)]
            result = (max(waits, default=0), 0)
        elif not node.args or node.level == "call":
            result = (0, 0)
        else:
            result = max(self._when(a) for a in node.args)
            if node.op in ENDS:
                result = (result[0], result[1] + 1)
        self.ready[node.id] = result
        return result

    def _crossings(self) -> None:
        """A value that another segment reads is kept in a work column."""
        roots = [st.node for st in self.stores] + self.nests
        kept = {st.node.id for st in self.stores if st.where[0] == "work"}
        for node in topological(roots):
            for a in node.args:
                if a.level == "call" or a.op == "leaf" or a.id in kept or apart(a) or len(a.shape) == 2:
                    continue
                here, there = self._segment(a), self._segment(node, reading=True)
                vector = len(a.shape) == 1
                far = len(node.shape) == 2 or here[0] != there[0]  # positions are gone through again where needed
                if (vector and here != there) or (not vector and far):
                    kept.add(a.id)
                    column = self._column("k", a)
                    self.stores.append(Store(a, ("work", column), self.columns[column]))
        for node in [st.node for st in self.stores] + self.nests:
            self._when(node)
        for slot in self.s.slots:
            self._when(slot.leaf)

    def _segment(self, node: Node, reading: bool = False) -> tuple:
        wave, phase = self._when(node)
        if reading and node.op in ENDS:
            phase -= 1
            return (wave, phase, str(node.args[0].shape))
        return (wave, phase, str(node.shape))

    def _products(self, slots):
        grouping = Grouping(self.columns, self.place)
        loop = [s for s in slots if s.when == "loop"]
        first = {s.name: True for s in loop}
        hoisted = grouping.of(loop, lambda v, s: _hoistable(v), first)
        last = max((self._when(s.leaf)[0] for s in loop), default=0)
        last = max([last] + [self._when(n)[0] for n in [st.node for st in self.stores] + self.nests])
        waves = [[]]
        for wave in range(1, last + 1):
            ready = lambda v, s, wave=wave: not _hoistable(v) and self._wave(v, s, loop) == wave  # noqa: E731
            waves.append(grouping.of(loop, ready, first))
        post = grouping.of([s for s in slots if s.when == "post"], lambda v, s: True, {})
        return hoisted, waves, post

    def _wave(self, operand: Node, slot: Slot, loop: list[Slot]) -> int:
        """When a product runs: as soon as it can with other slots, else with the last product of its own slot."""
        shared = any(v is operand for s in loop if s is not slot for _, _, v in s.terms)
        return self._when(operand)[0] + 1 if shared else self._when(slot.leaf)[0]


def _hoistable(node: Node) -> bool:
    return node.op == "leaf" and node.attrs[0] == "input" and len(node.shape) == 1


def _flat(node: Node, uses: Mapping[int, int]) -> list[Node]:
    """The terms of a sum, of which nothing else reads a part."""
    if node.op == "add" and uses[node.id] == 1:
        return [t for a in node.args for t in _flat(a, uses)]
    return [node]
