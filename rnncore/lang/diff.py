"""Reverse-mode differentiation of a graph, written in ops of the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .graph import Node, pinned_origin, topological
from .ops import OPS, apply, sum_to

__all__ = ["reverse"]


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


def _accumulate(adjoint: dict[int, Node], node: Node, part: Node) -> None:
    if part.is_const and part.value == 0:
        return
    with pinned_origin(node.origin):
        known = adjoint.get(node.id)
        adjoint[node.id] = part if known is None else apply("add", known, part)
