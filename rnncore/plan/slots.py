"""Sums of products become slots: the rest of a step is pointwise on their leaves."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import LanguageError
from ..lang.graph import Node, topological
from ..lang.ops import apply
from ..lang.origin import pinned_origin
from .model import Slot, Sum

__all__ = ["Slots", "outer_sum"]


class Slots:
    """The roots of a step rewritten on slots."""

    def __init__(self, roots: Mapping[str, Node], order_of: Mapping[str, int]):
        self.source = dict(roots)
        self.order_of = order_of
        self.uses: dict[int, int] = {}
        for node in topological(self.source.values()):
            for a in node.args:
                self.uses[a.id] = self.uses.get(a.id, 0) + 1
        for node in self.source.values():
            self.uses[node.id] = self.uses.get(node.id, 0) + 1
        self.made: dict[int, Node] = {}
        self.slots: list[Slot] = []
        self.slot_of: dict[int, Slot] = {}

    def rewrite(self, node: Node) -> Node:
        """The node with every sum of products replaced by a slot's leaf."""
        if node.id not in self.made:
            with pinned_origin(node.origin):
                self.made[node.id] = node.graph.named_like(self._rewritten(node), node)
        return self.made[node.id]

    def _rewritten(self, node: Node) -> Node:
        if not node.args or node.level == "call":
            return node
        terms = self._terms(node, top=True)
        if any(_is_product(t) and (self.uses[t.id] == 1 or t is node) for t in terms):
            return self._slot(node, terms)
        if node.op == "outer":
            raise LanguageError("a matrix that changes at every step is not supported here", *(node.origin or ()))
        args = tuple(self.rewrite(a) for a in node.args)
        return node.graph.make(node.op, args, node.attrs, node.shape, node.level)

    def _terms(self, node: Node, top: bool = False) -> list[Node]:
        if node.op == "add" and (top or self.uses[node.id] == 1) and node.level == "step":
            return [t for a in node.args for t in self._terms(a)]
        return [node]

    def _slot(self, node: Node, terms: list[Node]) -> Node:
        products = [t for t in terms if _is_product(t) and (self.uses[t.id] == 1 or t is node)]
        rest = [t for t in terms if t not in products]
        bias = next((t for t in rest if t.level == "call" and len(t.shape) == 1 and not t.is_const), None)
        if bias is not None:
            rest.remove(bias)
        name = f"z{len(self.slots)}"
        parts = []
        for p in products:
            if p.args[0].level != "call":
                raise LanguageError("a matrix that changes at every step is not supported here", *(p.origin or ()))
            parts.append((p.args[0], p.op == "matmul_t", p.args[1]))
        leaf = node.graph.leaf("slot", f"{name}.{node.id}", node.shape, "step")
        slot = Slot(name, node.shape[0], leaf, [], bias)
        self.slots.append(slot)
        self.slot_of[leaf.id] = slot
        slot.terms = [(w, t, self.rewrite(v)) for w, t, v in parts]
        total = leaf
        for r in rest:
            total = apply("add", total, self.rewrite(r))
        return total

    def rank(self, slot: Slot) -> tuple:
        return min((self.order_of.get(root_name(w), 0) for w, _, _ in slot.terms), default=0), slot.name


def _is_product(node: Node) -> bool:
    return node.op in ("matmul", "matmul_t") and node.level == "step"


def root_name(matrix: Node) -> str:
    leaves = [n for n in topological([matrix]) if n.op == "leaf"]
    return leaves[0].attrs[1] if leaves else ""


def outer_sum(s: Slots, name: str, node: Node) -> Sum:
    """The gradient of a matrix as pairs of vectors, whose outer products a chunk of time adds up.

    Raises
    ------
    LanguageError
        It is no sum of outer products.
    """
    total = Sum(name)
    stack = [node]
    while stack:
        n = stack.pop()
        if n.op == "add":
            stack.extend(reversed(n.args))
        elif n.op == "outer":
            total.pairs.append((s.rewrite(n.args[0]), s.rewrite(n.args[1])))
        else:
            raise LanguageError(
                "the gradient of a matrix is not a sum of outer products: the matrix must multiply a vector",
                *(n.origin or ()),
            )
    return total
