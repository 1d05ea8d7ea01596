"""Steps that show what they compute: states and gates as further outputs, and a push on each new state.

The gradient of a loss with respect to a push of zero that is added to the new state is the gradient with
respect to that state, at every step at once, from the compiled loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..inputs import Batch
from ..lang.cell import Layer, Stepped
from ..lang.dims import POSITION
from ..lang.graph import Graph, Node, topological
from ..lang.ops import OPS, apply
from ..lang.origin import pinned_origin
from ..lang.trace import Step
from ..layout import Rows
from ..passes import Pass
from .record import Course, Record

__all__ = ["Loops", "WatchedPass", "gates_of"]

PUSH = "__push"


def gates_of(step: Step) -> dict[str, Node]:
    """The nodes of a step whose op has limits that it saturates at, by the author's names."""
    found: dict[str, Node] = {}
    order = topological(step.roots.values())
    states = {node.id: s for s, node in step.next_states.items()}
    for node in order:
        if node.op in OPS and OPS[node.op].limits and node.level == "step" and _of_units(node):
            name = _name(node, states)
            same = sum(known.split(" #")[0] == name for known in found)
            found[f"{name} #{same + 1}" if same else name] = node
    return found


def _of_units(node: Node) -> bool:
    """Whether a value is one of a step, not one for every position of what it sees whole."""
    return len(node.shape) < 2 and POSITION not in node.shape


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

    layer: Stepped
    step: Step
    states: Mapping[str, str]
    gates: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def members(self) -> tuple[tuple[str, Layer], ...]:
        return self.layer.members


def watched(layer: Stepped) -> Watched:
    """A layer with a push on every new state, its states and gates as further outputs."""
    return Watched(layer, *_watched(layer.step))


@lru_cache(maxsize=64)
def _watched(step: Step) -> tuple[Step, dict[str, str], dict[str, str]]:
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
    return replace(step, graph=graph, roots=roots, dims=dims, inputs=inputs, extras=shown), states, gates


class Loops:
    """What a pass needs of a network, its steps watched."""

    def __init__(self, net):
        self.net, self.inputs, self.fed, self.feed, self.shapes = net, net.inputs, net.fed, net.feed, net.shapes
        self.block, self.outputs, self.features, self.per_step = net.block, net.outputs, net.features, net.per_step
        self.loops = {prefix: (watched(layer), sizes) for prefix, (layer, sizes) in net.loops.items()}

    def batch(self, batch: Batch) -> Batch:
        """The batch as watched loops read it."""
        lesson = batch.lesson
        return replace(batch, lesson=None if lesson is None else replace(lesson, layer=watched(lesson.layer)))


class WatchedPass(Pass):
    """A training pass that records what every loop does, forward and back; `records` by path prefix."""

    def __init__(self, net: Loops, params, batch, training, seed, packed=None):
        super().__init__(net, params, batch, training, seed, packed)
        self.records: dict[str, Record] = {}

    def _loop(self, block, prefix, xs, rows, sizes, out, last):
        lesson = self.batch.lesson
        taught = lesson is not None and lesson.prefix == prefix
        watch, numbers = (lesson.layer, lesson.sizes) if taught else self.net.loops[prefix]
        step = watch.step
        if step.separate_output and last and out is None:
            out = (np.empty((self.total, numbers[step.output.shape[0]]), self.dtype), 0, self.ragged())
        where = rows if out is None else out[2]
        shown = (*watch.states.values(), *watch.gates.values())
        seen = {f: np.zeros((_extent(where, self.lengths), _width(step, f, numbers)), self.dtype) for f in shown}
        self.extras, before = {**self.extras, **seen}, self.extras
        pushes = {}
        for name in watch.states:
            size = numbers[step.dims[name]]
            pushes[name + PUSH] = np.broadcast_to(np.zeros(size, self.dtype), (_extent(rows, self.lengths), size))
        end, kept = super()._loop(block, prefix, {**xs, **pushes}, rows, sizes, out, last)
        self.extras = before
        course = Course(self.lengths, self.time, self.batch.cut, rows.step < 0)
        order, at = rows.index(self.lengths), where.index(self.lengths)
        start = {s: np.zeros((len(self.lengths), numbers[step.dims[s]]), self.dtype) for s in step.states}
        start |= self.start(prefix, step.states)
        self.records[prefix] = Record(
            watch.layer, numbers, {p.name: self.params[prefix + p.name] for p in step.params}, course,
            {n: course.ordered(xs[n][order]) for n in watch.layer.step.inputs},
            {s: course.before(seen[f][at], start[s]) for s, f in watch.states.items()},
            {g: seen[f][at] for g, f in watch.gates.items()}, self.sources if step.sources else None,
        )  # fmt: skip
        return end, kept

    def _loop_back(self, kept, dy, dlast, want, grads, dfinal):
        tape, record = kept.inner[0], self.records[kept.extra["prefix"]]
        pushes = tuple(s + PUSH for s in record.before)
        dxs = super()._loop_back(kept, dy, dlast, (*want, *pushes), grads, dfinal)
        order = tape.rows.index(self.lengths)
        record.gradients = {s: record.course.ordered(dxs.pop(s + PUSH)[order]) for s in record.before}
        return dxs


def _extent(rows: Rows, lengths: np.ndarray) -> int:
    """The least number of rows that an array needs."""
    last = np.maximum(rows.base, rows.base + rows.step * (lengths - 1))[lengths > 0]
    return int(last.max(initial=-1)) + 1


def _width(step: Step, name: str, numbers) -> int:
    shape = step.roots["out." + name].shape
    return numbers[shape[0]] if shape else 1
