"""Attention in a step: a scorer mapped over the positions of a source, a softmax over them, their weighted sum.

What reads a key alone is no part of the step: it is computed once for each position, before the loop.
"""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..lang.component import Bound
from ..lang.dims import POSITION, UNITS, Dim, unify
from ..lang.graph import Node, topological
from ..lang.ops import SHAPED, apply, shape_leaf
from ..lang.origin import fail, pinned_origin
from ..lang.scorer import Scorer
from ..lang.trace import Step

__all__ = ["attend", "key", "keys_of", "scorer_step"]


def scorer_step(scorer: Any) -> Step:
    """The traced equation of a scorer, as it is or with options.

    Raises
    ------
    InputError
        It is no scorer.
    """
    if isinstance(scorer, Scorer):
        scorer = scorer()
    if not isinstance(scorer, Bound) or not isinstance(scorer.component, Scorer):
        raise InputError(f"a scorer such as scorers.bahdanau is needed here, got {type(scorer).__name__}: {scorer!r}")
    return scorer.component.step(**scorer.options)


def keys_of(step: Step) -> list[Node]:
    """What a scorer computes of the key alone, vectors that the rest of it reads."""
    reads = _Reads(step)
    alone = {n.id for n in reads.order if reads.key_alone(n) and n.op != "leaf"}
    used = {a.id for n in reads.order if n.id not in alone for a in n.args}
    return [n for n in reads.order if n.id in alone and n.id in used]


def attend(net, scorer: Any, query: Node, values: Node, prefix: str) -> tuple[Node, Node]:
    """The context Σ α v, (size of a value), and the weights α = softmax of the scores, (position)."""
    step = scorer_step(scorer)
    score = _OverPositions(net, step, query, values, prefix)(step.roots["y"])
    if score.shape == ():
        raise fail("a scorer must read the key or its position", step.roots["y"].origin)
    with pinned_origin(step.roots["y"].origin):
        flat, wide = shape_leaf(net.graph, score.shape, "step"), shape_leaf(net.graph, values.shape, "step")
        highest = apply("stop", apply("rmax", score))
        e = apply("exp", apply("sub", score, apply("spread", highest, flat)))
        alpha = apply("div", e, apply("spread", apply("sum", e), flat))
        return apply("psum", apply("mul", apply("over", alpha, wide), values)), alpha


def key(net, *, scorer, place: int, units: int, query: int, prefix: str) -> Node:
    """A step without states: what the scorer computes of a key, its input x."""
    step = scorer_step(scorer)
    x = net.input("x")
    sizes = {"k": x.shape[0], "q": Dim(number=query), UNITS: Dim(number=units)}
    return _Copy(net, step, sizes, prefix, {"k": x})(keys_of(step)[place])


class _Reads:
    """What the nodes of a scorer depend on."""

    def __init__(self, step: Step):
        self.order = topological(step.roots.values())
        self.query: set[int] = set()
        self.varies: set[int] = set()
        for n in self.order:
            args = n.args[: 1 if n.op in SHAPED else None]
            if n.op == "leaf" and n.attrs == ("input", "q") or any(a.id in self.query for a in args):
                self.query.add(n.id)
            if n.op == "leaf" and n.attrs in (("input", "k"), ("input", "position")):
                self.varies.add(n.id)
            if any(a.id in self.varies for a in args):
                self.varies.add(n.id)

    def key_alone(self, n: Node) -> bool:
        return n.id in self.varies and n.id not in self.query and len(n.shape) == 1


class _Copy:
    """Nodes of a scorer in the graph of a step, for one query or one key."""

    def __init__(self, net, step: Step, sizes: dict[Any, Dim], prefix: str, leaves: dict[str, Node]):
        self.net, self.graph, self.step, self.sizes, self.prefix, self.leaves = (
            net, net.graph, step, sizes, prefix, leaves)  # fmt: skip
        self.made: dict[int, Node] = {}
        for a, b, origin in step.equal:
            if b in sizes and (a in sizes or isinstance(a, int)):  # the first is a number where one is fixed
                unify(self.size(a), sizes[b], origin)

    def __call__(self, node: Node) -> Node:
        if node.id not in self.made:
            with pinned_origin(node.origin):
                self.made[node.id] = self.mapped(node)
        return self.made[node.id]

    def size(self, d) -> Any:
        return self.sizes.setdefault(d, Dim(number=d)) if isinstance(d, int) else self.sizes[d]

    def mapped(self, n: Node) -> Node:
        shape = tuple(self.size(d) for d in n.shape)
        if n.op == "leaf":
            return self.leaf(n, shape)
        if n.op in SHAPED:
            return self.graph.make(n.op, (self(n.args[0]), shape_leaf(self.graph, shape, n.level)), (), shape)
        attrs = (self.size(n.attrs[0]),) if n.op == "size" else n.attrs
        if n.op == "array":
            self.graph.arrays[n.attrs[0]] = n.graph.arrays.get(n.attrs[0], self.step.arrays[n.attrs[0]])
        return self.graph.make(n.op, tuple(self(a) for a in n.args), attrs, shape)

    def leaf(self, n: Node, shape: tuple) -> Node:
        kind, name = n.attrs
        if kind != "param":
            return self.leaves[name]
        p = next(p for p in self.step.params if p.name == name)
        return self.net.parameter(self.prefix + name, shape, p.role, p.start, p.origin)


class _OverPositions(_Copy):
    """The nodes of a scorer, written for one key, as nodes for every position of a source."""

    def __init__(self, net, step: Step, query: Node, values: Node, prefix: str):
        sizes = {"q": query.shape[0], "k": values.shape[1], UNITS: query.shape[0]}
        index = net.graph.leaf("position", "index", (POSITION,), "step")
        super().__init__(net, step, sizes, prefix, {"q": query, "k": values, "position": index})
        self.reads, self.keys = _Reads(step), [n.id for n in keys_of(step)]

    def mapped(self, n: Node) -> Node:
        if n.id not in self.reads.varies or n.op == "leaf":
            return super().mapped(n)
        if n.id in self.keys:
            return self.net.source(f"{self.prefix}k{self.keys.index(n.id)}", self.size(n.shape[0]))
        if n.op in ("matmul", "matmul_t"):
            raise fail("a matrix multiplies what depends on query and key together: give each its own", n.origin)
        if n.op == "rmax":
            raise fail("a largest value over the units of a key is not supported in a scorer", n.origin)
        if n.op == "spread":
            return self.fitted(n.args[0], n)
        if n.op == "sum":
            return apply("sum", self(n.args[0]))
        if n.op == "add" and n.shape:
            return self.sum_of(n)
        shape = (POSITION, *(self.size(d) for d in n.shape))
        return self.graph.make(n.op, tuple(self.fitted(a, n) for a in n.args), n.attrs, shape)

    def sum_of(self, n: Node) -> Node:
        """Terms that do not vary are added first, once for all positions."""
        terms = _terms(n)
        varying = [self.fitted(t, n) for t in terms if t.id in self.reads.varies]
        total = varying[0]
        for t in varying[1:]:
            total = apply("add", total, t)
        same = [self(t) for t in terms if t.id not in self.reads.varies]
        if not same:
            return total
        once = same[0]
        for t in same[1:]:
            once = apply("add", once, t)
        return apply("add", total, self.wide(once, "along", n) if once.shape else once)

    def fitted(self, a: Node, n: Node) -> Node:
        """An argument of `n` as it is for every position, and unit where `n` has units."""
        made = self(a)
        if not n.shape or made.shape == () or len(made.shape) == 2:
            return made
        return self.wide(made, "over" if a.id in self.reads.varies else "along", n)

    def wide(self, made: Node, op: str, n: Node) -> Node:
        shape = (POSITION, *(self.size(d) for d in n.shape))
        return self.graph.make(op, (made, shape_leaf(self.graph, shape, "step")), (), shape)


def _terms(n: Node) -> list[Node]:
    if n.op == "add" and n.shape:
        return [t for a in n.args for t in _terms(a)]
    return [n]
