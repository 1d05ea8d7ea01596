"""The tangent of a step: a step again, whose states, inputs, parameters and output come each with a direction.

Its reverse, which is made like that of any step, gives the gradient of a directional derivative: the product
of a Hessian with the direction (Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6, 1994).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from ..lang.diff import tangent
from ..lang.dims import POSITION
from ..lang.graph import Graph, Node, check_graph, topological
from ..lang.ops import apply, like
from ..lang.origin import fail, pinned_origin
from ..lang.trace import Step

__all__ = ["DOT", "dotted", "tangent_of"]

DOT = "__dot"


def dotted(name: str) -> str:
    """The name of the direction that goes with `name`."""
    return name + DOT


@lru_cache(maxsize=256)
def tangent_of(step: Step, moved: frozenset[str] = frozenset(), params: bool = True) -> Step:
    """The step together with its directional derivative.

    Parameters
    ----------
    step : Step
    moved : frozenset of str
        Inputs and sources that have a direction; states always have one.
    params : bool
        Whether parameters have one.

    Returns
    -------
    Step
        Twice the states, the moved inputs and sources, and the parameters; the names of directions are `dotted`.
        The direction of the output is a further output, which gradients go into as into the output itself.

    Raises
    ------
    LanguageError
        A name of the step ends as those of directions do.
    """
    for name in (*step.inputs, *step.states, *step.sources, *(p.name for p in step.params)):
        if name.endswith(DOT):
            raise fail(f"cell {step.name!r}: names that end in {DOT!r} are kept for directions; rename {name!r}")
    with pinned_origin(None):
        return _with_directions(step, moved, params)


def _with_directions(step: Step, moved: frozenset[str], params: bool) -> Step:
    graph, own = _copied(step)
    seeds: dict[Node, Node] = {}

    def seed(kind: str, name: str, shape: tuple, level: str) -> None:
        seeds[graph.leaf(kind, name, shape, level)] = graph.leaf(kind, dotted(name), shape, level)

    for name in step.states:
        seed("state", name, (step.dims[name],), "step")
    inputs, sources = ([n for n in names if n in moved] for names in (step.inputs, step.sources))
    for name in inputs:
        for shape in ((step.dims[name],), ()):
            seed("input", name, shape, "step")
    for name in sources:
        seed("source", name, (POSITION, step.dims[name]), "step")
    learned = [replace(p, name=dotted(p.name)) for p in step.params] if params else []
    for p in step.params if params else ():
        seed("param", p.name, p.shape, "call")
    dots = tangent(own.values(), seeds)
    roots = dict(own)
    for s in step.states:
        roots["next." + dotted(s)] = _direction(dots, own["next." + s])
    roots["out." + dotted("y")] = _direction(dots, own["y"])
    check_graph(roots)
    twins = {dotted(n): n for n in (*step.states, *inputs, *sources)}
    return replace(
        step, graph=graph, roots=roots, params=(*step.params, *learned),
        states=(*step.states, *map(dotted, step.states)), inputs=(*step.inputs, *map(dotted, inputs)),
        sources=(*step.sources, *map(dotted, sources)),
        dims={**step.dims, **{twin: step.dims[n] for twin, n in twins.items()}},
        extras=(*step.extras, dotted("y")), seeded=(*step.seeded, dotted("y")),
        of_state=None if step.separate_output else step.output_state,
    )  # fmt: skip


def _copied(step: Step) -> tuple[Graph, dict[str, Node]]:
    """The step's equations in a graph of their own: what the reverse of each keeps bears the same names."""
    graph = Graph()
    made: dict[int, Node] = {}
    for node in topological(step.roots.values()):
        with pinned_origin(node.origin):
            args = tuple(made[a.id] for a in node.args)
            new = made[node.id] = graph.make(node.op, args, node.attrs, node.shape, node.level)
        if node.id in step.graph.names:
            graph.names.setdefault(new.id, step.graph.names[node.id])
    return graph, {key: made[node.id] for key, node in step.roots.items()}


def _direction(dots: dict[int, Node], node: Node) -> Node:
    """The tangent of a root; zeros where it does not move."""
    if node.id in dots:
        return dots[node.id]
    with pinned_origin(node.origin):
        return apply("spread", node.graph.const(0.0), like(node))
