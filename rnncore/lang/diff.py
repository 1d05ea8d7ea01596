"""Reverse-mode and forward-mode differentiation of a graph, written in ops of the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .graph import Node, topological
from .ops import OPS, apply, like, sum_to
from .origin import pinned_origin

__all__ = ["reverse", "tangent"]


def reverse(seeds: Mapping[Node, Node], stop: Iterable[Node] = ()) -> dict[int, Node]:
    """Adjoints of every node that the seeds depend on.

    Parameters
    ----------
    seeds : mapping of Node to Node
        The adjoint of each root; several roots add up.
    stop : iterable of Node
        Nodes behind which nothing is wanted: their adjoint is given, their arguments' is not.

    Returns
    -------
    dict of int to Node
        Node id to adjoint. A call-level node met at step level has as adjoint its contribution
        of one step: the loop sums it over steps and sequences.
    """
    order = topological(seeds)
    adjoint: dict[int, Node] = {}
    for root, seed in seeds.items():
        _accumulate(adjoint, root, seed)
    stops = {n.id for n in stop}
    for node in reversed(order):
        g = adjoint.get(node.id)
        if g is None or node.id in stops or not node.args:
            continue
        with pinned_origin(node.origin):
            for arg, part in zip(node.args, OPS[node.op].vjp(g, node)):
                if part is not None and not arg.is_const:
                    _accumulate(adjoint, arg, sum_to(part, arg))
    return adjoint


def tangent(roots: Iterable[Node], seeds: Mapping[Node, Node]) -> dict[int, Node]:
    """Tangents (directional derivatives) of every node that the roots need.

    Parameters
    ----------
    roots : iterable of Node
    seeds : mapping of Node to Node
        The tangent of each leaf that moves; each of the leaf's own shape and level.

    Returns
    -------
    dict of int to Node
        Node id to tangent, of the node's shape; what does not move has none.
    """
    dots = {leaf.id: seed for leaf, seed in seeds.items()}
    for node in topological(roots):
        if node.id in dots or not any(a.id in dots for a in node.args):
            continue
        with pinned_origin(node.origin):
            made = _tangent(node, {k: dots[a.id] for k, a in enumerate(node.args) if a.id in dots})
            if made is not None and len(made.shape) < len(node.shape):
                made = apply("spread", made, like(node))
        if made is not None:
            dots[node.id] = made
            if node.id in node.graph.names:
                node.graph.names.setdefault(made.id, node.graph.names[node.id] + "_dot")
    return dots


def _tangent(node: Node, dots: Mapping[int, Node]) -> Node | None:
    row = OPS[node.op]
    if row.jvp is not None:
        return row.jvp(dots, node)
    if row.linear:
        moved = [apply(node.op, *node.args[:k], dots[k], *node.args[k + 1 :]) for k in dots if k < row.linear]
    else:
        moved = [part for k, dot in dots.items() if (part := row.vjp(dot, node)[k]) is not None]
    total = None
    for part in moved:
        total = part if total is None else apply("add", total, part)
    return total


def _accumulate(adjoint: dict[int, Node], node: Node, part: Node) -> None:
    if part.is_const and part.value == 0:
        return
    with pinned_origin(node.origin):
        known = adjoint.get(node.id)
        adjoint[node.id] = part if known is None else apply("add", known, part)
