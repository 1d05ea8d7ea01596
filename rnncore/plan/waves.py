"""What a wave of a plan computes: its stores, what ends in loops of its own, and the nodes that these need."""

from __future__ import annotations

from ..lang.graph import Node, topological
from ..lang.ops import SHAPED
from .model import Plan, Store

__all__ = ["Wave"]


class Wave:
    """One wave: ``stores``, ``nests`` and ``needed`` nodes, arguments first; ``last`` is its last phase."""

    def __init__(self, plan: Plan, index: int):
        self.plan, self.index = plan, index
        self.stores: list[Store] = [st for st in plan.stores if plan.ready[st.node.id][0] == index]
        self.nests = [n for n in plan.nests if plan.ready[n.id][0] == index]
        self.needed = self._needed([st.node for st in self.stores] + self.nests)
        phases = [plan.ready[n.id][1] for n in self.needed] + [plan.ready[st.node.id][1] for st in self.stores]
        self.last = max(phases, default=0)

    def __bool__(self) -> bool:
        return bool(self.stores or self.needed)

    def loaded(self, n: Node) -> bool:
        """Whether a value lies in memory when the wave begins; what is there for every position and unit never does."""
        if n.op == "leaf" or n.level == "call":
            return True
        return self.plan.ready.get(n.id, (self.index, 0))[0] < self.index and len(n.shape) < 2

    def _needed(self, roots: list[Node]) -> list[Node]:
        """Nodes computed in this wave, arguments first: what the roots need and is not in memory."""
        order = topological(roots)
        wanted = {n.id for n in roots}
        for n in reversed(order):
            if n.id in wanted and not self.loaded(n):
                wanted |= {a.id for a in n.args[: 1 if n.op in SHAPED else None]}
        return [n for n in order if n.id in wanted and n.args and n.level == "step" and not self.loaded(n)]
