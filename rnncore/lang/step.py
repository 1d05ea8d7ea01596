"""A traced step, and how the sizes and names of a traced graph are settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .dims import Dim, Origin
from .graph import Graph, Node, check_graph, fingerprint, topological
from .origin import pinned_origin
from .printing import format_graph
from .weights import Parameter

__all__ = ["Signature", "Step", "resolve"]


@dataclass(frozen=True)
class Signature:
    """What the parameters of a step's function say: its inputs, states and options."""

    inputs: tuple[str, ...]
    states: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """A traced step: leaves, parameters, the new states and the output, all resolved.

    ``dims`` gives, for an input or a state, its size symbol (``"units"``, an input's name) or number,
    ``fixed`` the author's line that made it other than free. ``sources`` are other sequences that every step
    sees whole, (position, size); ``extras`` are further outputs, roots ``out.<name>``; no gradient
    goes into them but into those that are ``seeded``.
    """

    name: str
    graph: Graph
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    params: tuple[Parameter, ...]
    roots: Mapping[str, Node]
    dims: Mapping[str, Any]
    equal: tuple[tuple[Any, Any, Origin | None], ...] = ()
    separate_output: bool = False
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    fixed: Mapping[str, Origin | None] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    of_state: str | None = None
    seeded: tuple[str, ...] = ()

    @property
    def output_state(self) -> str:
        """The state whose new value is the output, unless the output is apart from the states."""
        return self.of_state or self.states[0]

    @property
    def next_states(self) -> dict[str, Node]:
        return {s: self.roots["next." + s] for s in self.states}

    @property
    def output(self) -> Node:
        return self.roots["y"]

    @cached_property
    def size_symbols(self) -> frozenset:
        """Every size symbol and number that occurs."""
        found = {d for n in topological(self.roots.values()) for d in n.shape}
        found |= {d for d in self.dims.values() if isinstance(d, int)}
        return frozenset(found | {d for p in self.params for d in p.shape})

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the structure and of the parameters' names and starts."""
        import hashlib

        starts = [(p.name, [str(d) for d in p.shape], p.role, p.start) for p in self.params]
        return hashlib.sha256((fingerprint(dict(self.roots)) + repr(starts)).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return format_graph(dict(self.roots))


def resolve(name, graph, signature, weights, roots, dims, separate) -> Step:
    """Rewrite the traced graph with final parameter names and resolved sizes."""
    final = weights.final_names()
    leaf_names = {"|".join(map(str, key)): final[key] for key in weights.made}
    target = Graph()
    made: dict[int, Node] = {}
    for node in topological(roots.values()):
        attrs = node.attrs
        if node.op == "leaf" and attrs[0] == "param":
            attrs = ("param", leaf_names[attrs[1]])
        if node.op == "size":
            attrs = (_fixed(attrs[0]),)
        if node.op == "leaf" and attrs[0] == "like":
            attrs = ("like", "|".join(str(d) for d in (node.level, *node.shape)))
        with pinned_origin(node.origin):
            args = tuple(made[a.id] for a in node.args)
            made[node.id] = target.make(node.op, args, attrs, tuple(_fixed(d) for d in node.shape), node.level)
    params = []
    used = {n.attrs[1] for n in made.values() if n.op == "leaf" and n.attrs[0] == "param"}
    for key, (node, p) in weights.made.items():
        if final[key] in used:
            shape = tuple(_fixed(d) for d in node.shape)
            params.append(Parameter(final[key], shape, p.role, p.start, p.origin))
    resolved = {key: made[n.id] for key, n in roots.items()}
    check_graph(resolved)
    target.take_names(topological(resolved.values()))
    sizes = {n: _fixed(d) for n, d in dims.items()}
    equal = tuple(_constraints(dims))
    return Step(name, target, signature.inputs, signature.states, tuple(params), resolved, sizes, equal, separate,
                dict(graph.arrays), {n: d.root().origin for n, d in dims.items()})


def _constraints(dims: Mapping[str, Dim]):
    """Sizes that the caller gives and that the equations make equal."""
    for dim in dims.values():
        root = dim.root()
        for symbol in root.symbols:
            if symbol != root.resolved:
                yield root.resolved, symbol, root.origin


def _fixed(dim) -> Any:
    return dim.resolved if isinstance(dim, Dim) else dim
