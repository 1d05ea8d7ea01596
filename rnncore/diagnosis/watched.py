"""Steps that show what they compute: states and gates as further outputs, and a push on each new state.

The gradient of a loss with respect to a push of zero that is added to the new state is the gradient with
respect to that state, at every step at once, from the compiled loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..lang.cell import Layer
from ..lang.graph import Graph, Node, pinned_origin, topological
from ..lang.ops import OPS, apply
from ..lang.trace import Step
from ..layout import Rows
from ..passes import Pass

__all__ = ["Loops", "Record", "WatchedPass", "gates_of"]

PUSH = "__push"


def gates_of(step: Step) -> dict[str, Node]:
    """The nodes of a step whose op has limits that it saturates at, by the author's names."""
    found: dict[str, Node] = {}
    order = topological(step.roots.values())
    states = {node.id: s for s, node in step.next_states.items()}
    for node in order:
        if node.op in OPS and OPS[node.op].limits and node.level == "step" and len(node.shape) < 2:
            name = _name(node, states)
            same = sum(known.split(" #")[0] == name for known in found)
            found[f"{name} #{same + 1}" if same else name] = node
    return found


def _name(node: Node, states: Mapping[int, str]) -> str:
    """The author's variable, or the state that the value becomes, or what is computed of what."""
    names = node.graph.names
    if node.id in names:
        return names[node.id]
    if node.id in states:
        return states[node.id]
    arg = node.args[0]
    of = names.get(arg.id) or (arg.attrs[1] if arg.op == "leaf" else states.get(arg.id, "..."))
    return f"{node.op}({of})"


@dataclass(frozen=True, eq=False)
class Watched:
    """A layer whose step is watched: ``states`` and ``gates`` give the names of its further outputs."""

    step: Step
    states: Mapping[str, str]
    gates: Mapping[str, str]


@lru_cache(maxsize=64)
def watched(step: Step) -> Watched:
    """The step with a push on every new state, its states and gates as further outputs."""
    graph, made = Graph(), dict[int, Node]()
    pushes = {s: s + PUSH for s in step.states}
    pushed: dict[int, str] = {}
    for s, node in step.next_states.items():
        if node.args and node.level == "step":
            pushed.setdefault(node.id, s)
    with pinned_origin(None):
        leaf = {s: graph.leaf("input", push, (step.dims[s],), "step") for s, push in pushes.items()}
        for node in topological(step.roots.values()):
            args = tuple(made[a.id] for a in node.args)
            new = graph.make(node.op, args, node.attrs, node.shape, node.level)
            made[node.id] = apply("add", new, leaf[pushed[node.id]]) if node.id in pushed else new
        roots = {key: made[node.id] for key, node in step.roots.items()}
        for s, node in step.next_states.items():
            if pushed.get(node.id) != s:
                roots["next." + s] = apply("add", roots["next." + s], leaf[s])
        states = {s: f"seen{k}" for k, s in enumerate(step.states)}
        gates = {name: f"gate{k}" for k, name in enumerate(gates_of(step))}
        roots |= {f"out.{seen}": roots["next." + s] for s, seen in states.items()}
        for name, node in gates_of(step).items():  # of a gate that is a new state the push is no part: it is zero
            roots[f"out.{gates[name]}"] = made[node.id]
    dims = {**step.dims, **{push: step.dims[s] for s, push in pushes.items()}}
    shown = (*step.extras, *states.values(), *gates.values())
    inputs = (*step.inputs, *pushes.values())
    return Watched(replace(step, graph=graph, roots=roots, dims=dims, inputs=inputs, extras=shown), states, gates)


@dataclass(eq=False)
class Record:
    """What one loop did: arrays in the order of its own steps, sequence by sequence, without padding.

    ``start`` and ``states`` are before the first and after each step.
    """

    layer: Layer
    sizes: Mapping[Any, int]
    params: Mapping[str, np.ndarray]
    lengths: np.ndarray
    start: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    states: dict[str, np.ndarray]
    gates: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray] = field(default_factory=dict)


class Loops:
    """What a pass needs of a network, its steps watched."""

    def __init__(self, net):
        self.net, self.inputs, self.sizes, self.block = net, net.inputs, net.sizes, net.block
        self.loops = {prefix: (watched(layer.step), sizes) for prefix, (layer, sizes) in net.loops.items()}


class WatchedPass(Pass):
    """A training pass that records what every loop does, forward and back; `records` by path prefix."""

    def __init__(self, net, params, batch):
        super().__init__(Loops(net), params, batch, True, None)
        self.records: dict[str, Record] = {}

    def _loop(self, block, prefix, xs, rows, sizes, out, last):
        net: Any = self.net
        watch, numbers = net.loops[prefix]
        step = watch.step
        if step.separate_output and last and out is None:
            out = (np.empty((self.total, numbers[step.output.shape[0]]), self.dtype), 0, self.ragged())
        where = rows if out is None else out[2]
        seen = {f: np.zeros((_extent(where, self.lengths), _width(step, f, numbers)), self.dtype) for f in step.extras}
        self.extras, before = seen, self.extras
        pushes = {}
        for name in watch.states:
            size = numbers[step.dims[name]]
            pushes[name + PUSH] = np.broadcast_to(np.zeros(size, self.dtype), (_extent(rows, self.lengths), size))
        end, kept = super()._loop(block, prefix, {**xs, **pushes}, rows, sizes, out, last)
        self.extras = before
        layer = net.net.loops[prefix][0]
        order, at = rows.index(self.lengths), where.index(self.lengths)
        start = self.start(prefix, step.states)
        zeros = {s: np.zeros((len(self.lengths), numbers[step.dims[s]]), self.dtype) for s in step.states}
        self.records[prefix] = Record(
            layer, numbers, {p.name: self.params[prefix + p.name] for p in step.params}, self.lengths,
            {**zeros, **start}, {n: xs[n][order] for n in layer.step.inputs},
            {s: seen[f][at] for s, f in watch.states.items()}, {g: seen[f][at] for g, f in watch.gates.items()},
        )  # fmt: skip
        return end, kept

    def _loop_back(self, kept, dy, dlast, want, grads, dfinal):
        tape, record = kept.inner[0], self.records[kept.extra["prefix"]]
        pushes = tuple(s + PUSH for s in record.states)
        dxs = super()._loop_back(kept, dy, dlast, (*want, *pushes), grads, dfinal)
        order = tape.rows.index(self.lengths)
        record.gradients = {s: dxs.pop(s + PUSH)[order] for s in record.states}
        return dxs


def _extent(rows: Rows, lengths: np.ndarray) -> int:
    """The least number of rows that an array needs."""
    last = np.maximum(rows.base, rows.base + rows.step * (lengths - 1))[lengths > 0]
    return int(last.max(initial=-1)) + 1


def _width(step: Step, name: str, numbers) -> int:
    shape = step.roots["out." + name].shape
    return numbers[shape[0]] if shape else 1
