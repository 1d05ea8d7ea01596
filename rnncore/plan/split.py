"""What the forward pass keeps for BPTT, and the reverse step written on what was kept.

Kept are outputs of transcendentals, reductions and products, and what is compared for equality; everything else is
computed again from them. A new state is read from the history of states.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..lang.graph import Node, topological
from ..lang.ops import OPS, SHAPED, like
from ..lang.origin import pinned_origin
from ..lang.trace import Step
from .adjoint import adjoint_of

__all__ = ["Split", "split_of"]


@dataclass(frozen=True, eq=False)
class Split:
    """``saved``: name to forward node; ``roots``: the reverse step on leaves of kind ``saved``, ``next``, ``state``.

    ``history`` are the states whose values of all steps the reverse reads.
    """

    saved: dict[str, Node]
    roots: dict[str, Node]
    history: tuple[str, ...]


@lru_cache(maxsize=256)
def split_of(step: Step) -> Split:
    """Split the gradient of a step between forward and backward."""
    adjoint = adjoint_of(step)
    rewrite = _Rewrite(step, topological(adjoint.roots.values()))
    roots = {key: rewrite(node) for key, node in adjoint.roots.items()}
    leaves = [n for n in topological(roots.values()) if n.op == "leaf"]
    history = tuple(s for s in step.states if any(n.attrs in (("state", s), ("next", s)) for n in leaves))
    return Split(rewrite.saved, roots, history)


class _Rewrite:
    def __init__(self, step: Step, order: list[Node]):
        self.step = step
        self.saved: dict[str, Node] = {}
        self.made: dict[int, Node] = {}
        self.next: dict[int, str] = {}
        for state, node in step.next_states.items():
            if node.op != "leaf" and node.level == "step":
                self.next.setdefault(node.id, state)
        self.late: set[int] = set()  # nodes that depend on an adjoint
        self.product: set[int] = set()  # sums with a product in them
        self.compared: set[int] = set()  # equal or not bit for bit: computed again, the last bit may be another
        for n in order:
            if n.op in ("eq", "ne"):
                self.compared.update(a.id for a in n.args)
            if (n.op == "leaf" and n.attrs[0] in ("adj", "out")) or any(a.id in self.late for a in n.args):
                self.late.add(n.id)
            if n.op in ("matmul", "matmul_t") or (n.op == "add" and any(a.id in self.product for a in n.args)):
                self.product.add(n.id)

    def __call__(self, node: Node) -> Node:
        if node.id not in self.made:
            self.made[node.id] = node.graph.named_like(self._node(node), node)
        return self.made[node.id]

    def _node(self, node: Node) -> Node:
        if not node.args or node.level == "call":
            return node
        graph = node.graph
        if node.id not in self.late:
            if node.id in self.next:
                return graph.leaf("next", self.next[node.id], node.shape, "step")
            kept = OPS[node.op].costly or node.id in self.product or node.id in self.compared
            if kept and len(node.shape) < 2:  # positions are computed again
                name = f"s{len(self.saved)}"
                self.saved[name] = node
                with pinned_origin(node.origin):
                    return graph.leaf("saved", name, node.shape, "step")
        args = tuple(like(a) if k and node.op in SHAPED else self(a) for k, a in enumerate(node.args))
        with pinned_origin(node.origin):
            return graph.make(node.op, args, node.attrs, node.shape, node.level)
