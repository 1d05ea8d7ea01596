"""The reverse of a loop's step, and of what its parameters go through before the loop.

Per call, functions of the parameters alone (``mapped``, scalars passed through a sigmoid) are
computed once; the loop sees their values. Its reverse gives, per step, a contribution to the
gradient of each such value: summed over steps and sequences, it then goes through the reverse
of the per-call part to the raw parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..lang.diff import reverse
from ..lang.dims import POSITION
from ..lang.graph import Node, check_graph, topological
from ..lang.ops import apply
from ..lang.origin import pinned_origin
from ..lang.trace import Step

__all__ = ["Adjoint", "adjoint_of", "boundary_of", "boundary_name"]


def boundary_of(step: Step) -> list[Node]:
    """Call-level values that the step reads: parameters, arrays and functions of them, in a stable order."""
    order = topological(step.roots.values())
    found: dict[int, Node] = {}
    for node in order:
        for arg in node.args:
            if node.level == "step" and arg.level == "call" and arg.op not in ("const", "size"):
                found[arg.id] = arg
    for root in step.roots.values():
        if root.level == "call" and root.op not in ("const", "size"):
            found[root.id] = root
    return [n for n in order if n.id in found]


def boundary_name(node: Node) -> str:
    """The parameter's own name, or one made from the node."""
    if node.op == "leaf":
        return node.attrs[1]
    return f"value{node.id}"


@dataclass(frozen=True, eq=False)
class Adjoint:
    """The reverse step.

    ``roots``: ``d.<state>``, ``d.<input>`` and ``d.<source>``, adjoints of what the step read; ``p.<name>``, one
    step's contribution to the gradient of a call-level value. Leaves of kind ``adj`` carry
    the adjoints of the new states, the one of kind ``out`` that of the output.
    ``call_roots``: gradients of the raw parameters from leaves of kind ``grad`` (see `boundary_name`).
    """

    step: Step
    roots: dict[str, Node]
    boundary: dict[str, Node]
    call_roots: dict[str, Node]


@lru_cache(maxsize=256)
def adjoint_of(step: Step) -> Adjoint:
    """Differentiate a step once."""
    with pinned_origin(None):
        return _differentiated(step)


def _differentiated(step: Step) -> Adjoint:
    graph = step.graph
    seeds: dict[Node, Node] = {}
    outward = [("adj", name, node) for name, node in step.next_states.items()] + [("out", "y", step.output)]
    outward += [("out", name, step.roots["out." + name]) for name in step.seeded]
    for kind, name, node in outward:
        with pinned_origin(node.origin):
            seed = graph.leaf(kind, name, node.shape, "step")
            seeds[node] = apply("add", seeds[node], seed) if node in seeds else seed
    boundary = {boundary_name(n): n for n in boundary_of(step)}
    adjoint = reverse(seeds, stop=boundary.values())
    roots: dict[str, Node] = {}
    for kind, names in (("state", step.states), ("input", step.inputs), ("source", step.sources)):
        for name in names:
            for shape in _shapes(step, kind, name):
                leaf = graph.leaf(kind, name, shape, "step")
                if leaf.id in adjoint:
                    key = f"d.{name}"
                    known = roots.get(key)
                    part = adjoint[leaf.id]
                    if known is not None:
                        with pinned_origin(leaf.origin):
                            part = apply("add", known, part)
                    roots[key] = part
    for name, node in boundary.items():
        if node.id in adjoint and _learned(node):
            roots[f"p.{name}"] = adjoint[node.id]
    check_graph(roots)
    learned = {k[2:]: boundary[k[2:]] for k in roots if k.startswith("p.")}
    return Adjoint(step, roots, learned, _call_reverse(step, learned))


def _shapes(step: Step, kind: str, name: str) -> tuple[tuple, ...]:
    """The shapes under which a leaf of this name may stand in the graph."""
    return ((POSITION, step.dims[name]),) if kind == "source" else ((step.dims[name],), ())


def _learned(node: Node) -> bool:
    return any(n.op == "leaf" and n.attrs[0] == "param" for n in topological([node]))


def _call_reverse(step: Step, boundary: dict[str, Node]) -> dict[str, Node]:
    graph = step.graph
    seeds = {}
    for name, node in boundary.items():
        with pinned_origin(node.origin):
            seeds[node] = graph.leaf("grad", name, node.shape, "call")
    adjoint = reverse(seeds) if seeds else {}
    roots = {}
    for p in step.params:
        leaf = graph.leaf("param", p.name, p.shape, "call")
        if leaf.id in adjoint:
            roots[p.name] = adjoint[leaf.id]
    check_graph(roots)
    return roots
