"""Run a layer's loop over a batch on the device, forward and back; the products over all steps are the library's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..lang.cell import Stepped
from ..lang.graph import Node
from ..layout import Layout, Rows, Sources
from ..plan.adjoint import adjoint_of
from ..plan.model import Product
from ..reference.parameters import direct_gradients, parameter_gradients
from .launch import Launch
from .rows import ends_of, in_order, previous, sorted_back, turns_of
from .scatter import add_rows
from .space import put, xp
from .weights import Prepared, prepare
from .writer import padded

__all__ = ["LoopTape", "loop_backward", "loop_forward", "prepare"]


@dataclass(eq=False)
class LoopTape:
    """What BPTT needs of one layer."""

    layer: Stepped
    sizes: Mapping[Any, int]
    layout: Layout
    xs: dict[str, Any]
    rows: Rows
    y_rows: Rows
    kept: Any  # states and what is saved, one array
    tokens: bool
    dtype: np.dtype
    sources: Sources | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.kept is None else self.kept.nbytes

    def parts(self, params: Mapping[str, Any]) -> Iterator[LoopTape]:
        """Tapes of stretches of time, the last first, that together are the whole."""
        yield self

    def release(self) -> None:
        self.kept = None


class _Tape:
    """Where states and saved columns lie in the array that a forward pass keeps."""

    def __init__(self, plan, layer: Stepped, sizes, layout: Layout):
        step = layer.step
        self.widths = {s: sizes[step.dims[s]] for s in step.states}
        self.history, self.layout, self.places, at = plan.history, layout, {}, 0
        for s, n in self.widths.items():
            self.places[f"state.{s}"] = at
            at += self.rows(s) * padded(n)
        self.places["saved"] = at
        self.saved = sum(padded(d if isinstance(d, int) else sizes[d]) for d in plan.saved.values())
        self.size = at + layout.rows * self.saved

    def rows(self, s: str) -> int:
        return self.layout.batch + (self.layout.rows if s in self.history else self.layout.batch)

    def states(self, kept: Any, s: str) -> Any:
        at, n = self.places[f"state.{s}"], padded(self.widths[s])
        return kept[at : at + self.rows(s) * n].reshape(self.rows(s), n)[:, : self.widths[s]]

    def columns(self, kept: Any) -> Any:
        at = self.places["saved"]
        return kept[at : at + self.layout.rows * self.saved].reshape(self.layout.rows, self.saved)


def _gathered(xs: Mapping[str, Any], names, index) -> dict[str, Any]:
    """Inputs in the rows of the loop."""
    return {name: xs[name][index] for name in names}


def _inputs(launch: Launch, step, gathered: Mapping[str, Any], tokens: bool) -> None:
    """Fill in the inputs that the loop itself reads."""
    for name in step.inputs:
        if f"in.{name}" in launch.places:
            launch.part(f"in.{name}", *gathered[name].shape)[...] = gathered[name]


def _reserve_inputs(launch: Launch, step, gathered: Mapping[str, Any]) -> None:
    for name in step.inputs:
        if f"in.{name}" in launch.kernel.pointers:
            launch.reserve(f"in.{name}", gathered[name].size)
            launch.sizes[f"ld.in.{name}"] = gathered[name].shape[1]


def loop_forward(
    layer: Stepped, sizes: Mapping[Any, int], prepared: Prepared, layout: Layout, xs: Mapping[str, Any], rows: Rows,
    state: Mapping[str, Any], out: tuple[Any, int, Rows] | None, training: bool, tokens: bool,
    sources: Sources | None = None, extras: Mapping[str, Any] | None = None,
):  # fmt: skip
    """Run a layer forward: final states and the tape (see `rnncore.cpu.run.loop_forward`)."""
    plan, step, dtype = prepared.code.plan, layer.step, np.dtype(prepared.code.dtype)
    tape = _Tape(plan, layer, sizes, layout)
    launch = Launch(prepared, layout, sources)
    gathered = _gathered(xs, step.inputs, in_order(layout, rows)) if step.inputs else {}
    _reserve_inputs(launch, step, gathered)
    wanted = {"y": out, **{name: (extras[name], 0) if extras and name in extras else None for name in step.extras}}
    widths = {name: launch.number(plan.outs[name]) for name in wanted}
    for name, to in wanted.items():
        launch.sizes[f"want.{name}"], launch.sizes[f"ld.out.{name}"] = int(to is not None), widths[name]
        launch.reserve(f"out.{name}", layout.rows * widths[name] if to is not None else 0)
    launch.reserve_sources({})
    launch.places |= tape.places
    launch.allocate(xp.empty(tape.size, dtype))
    for s in step.states:
        given = state.get(s)
        tape.states(launch.tape, s)[: layout.batch] = 0 if given is None else launch.sorted(given).astype(dtype)
    _inputs(launch, step, gathered, tokens)
    launch.fill_sources({})
    launch.go(lambda r0, r1, t: _hoisted(launch, gathered, tokens, r0, r1), lambda r0, r1, t: None)
    y_rows = rows if out is None else out[2]
    index = in_order(layout, y_rows) if any(to is not None for to in wanted.values()) else None
    for name, to in wanted.items():
        if to is not None:
            to[0][:, to[1] : to[1] + widths[name]][index] = launch.part(f"out.{name}", layout.rows, widths[name])
    final = {s: tape.states(launch.tape, s)[ends_of(layout, s in plan.history)] for s in step.states}
    if not training:
        return final, None
    return final, LoopTape(layer, sizes, layout, dict(xs), rows, y_rows, launch.tape, tokens, dtype, sources)


def _hoisted(launch: Launch, gathered: Mapping[str, Any], tokens: bool, r0: int, r1: int) -> None:
    """Products of inputs for a chunk."""
    for product in launch.plan.hoisted:
        matrix = launch.prepared.weights.matrices[id(product)]
        at = 0
        for operand in product.operands:
            x = gathered[operand.attrs[1]][r0:r1]
            n = launch.number(operand.shape[0])
            part = matrix[at : at + n]
            at += n
            found = xp.take(part, x[:, 0], 0) if tokens and operand.attrs[1] == "x" else x @ part
            first = operand is product.operands[0] and product.first
            if first:
                found = found + launch.prepared.weights.biases[id(product)]
            column = 0
            for slot in launch.slots(product, r1 - r0):
                mine = found[:, column : column + slot.shape[1]]
                column += slot.shape[1]
                if first:
                    slot[...] = mine
                else:
                    slot += mine


def loop_backward(
    tape: LoopTape, params: Mapping[str, Any], dy: tuple[Any, int] | None, dfinal: Mapping[str, Any],
    want: tuple[str, ...], grads: Mapping[str, Any], dsources: Mapping[str, Any] | None = None,
    dextras: Mapping[str, tuple[Any, int]] | None = None,
):  # fmt: skip
    """BPTT through a layer: adjoints of inputs and of initial states (see `rnncore.cpu.run.loop_backward`)."""
    step, sizes, dtype = tape.layer.step, tape.sizes, tape.dtype
    prepared = prepare(tape.layer, "backward", params, sizes, str(dtype))
    dxs = {name: xp.zeros((len(tape.xs[name]), sizes[step.dims[name]]), dtype) for name in want}
    adjoints = {f"d{n}": (dextras or {}).get(n) for n in step.seeded} | {"dy": dy}
    boundary, direct = adjoint_of(step).boundary, direct_gradients(step)
    names = [total.name for total in prepared.code.plan.sums if total.name not in direct]
    sums = {name: xp.zeros([sizes[d] for d in boundary[name].shape], dtype) for name in names}
    for part in tape.parts(params):
        dfinal = _Reverse(part, prepared, adjoints, dxs, {**grads, **sums}, dsources or {}).run(dfinal)
    for name, g in parameter_gradients(step, params, sizes, sums, put).items():
        grads[name][...] += g.astype(dtype)
    return dxs, dfinal


class _Reverse:
    """The way back through one tape."""

    def __init__(self, tape: LoopTape, prepared: Prepared, adjoints, dxs, totals, dsources):
        self.tape, self.step, self.totals, self.dxs, self.dsources = tape, tape.layer.step, totals, dxs, dsources
        self.plan, self.layout = prepared.code.plan, tape.layout
        self.launch = Launch(prepared, tape.layout, tape.sources)
        self.kept = _Tape(self.plan, tape.layer, tape.sizes, tape.layout)
        self.index = in_order(tape.layout, tape.rows) if self.step.inputs else None
        self.gathered = _gathered(tape.xs, self.step.inputs, self.index)
        self.adjoints = adjoints

    def run(self, dfinal: Mapping[str, Any]) -> dict[str, Any]:
        """Adjoints of the initial states from those of the final ones."""
        launch, layout = self.launch, self.layout
        widths = {s: self.kept.widths[s] for s in self.step.states}
        for s, n in widths.items():
            launch.reserve(f"adj.{s}", 2 * layout.batch * padded(n))
        _reserve_inputs(launch, self.step, self.gathered)
        given = self._reserve_adjoints()
        self._reserve_outs()
        launch.reserve_sources(self.dsources)
        launch.places |= self.kept.places
        launch.allocate(self.tape.kept)
        carried = {s: launch.part(f"adj.{s}", 2 * layout.batch, padded(n))[:, :n] for s, n in widths.items()}
        for s, array in carried.items():
            array[...] = 0
            if s in dfinal:
                array[turns_of(layout)] = launch.sorted(dfinal[s]).astype(self.tape.dtype)
        for name, array in given.items():
            launch.part(name, *array.shape)[...] = array
        _inputs(launch, self.step, self.gathered, self.tape.tokens)
        launch.fill_sources(self.dsources)
        launch.go(lambda r0, r1, t: _hoisted(launch, self.gathered, self.tape.tokens, r0, r1), self._after)
        self._finish()
        return {s: sorted_back(layout, array[: layout.batch]).copy() for s, array in carried.items()}

    def _reserve_adjoints(self) -> dict[str, Any]:
        """Adjoints of outputs in the rows of the loop; one row of zeros where none is given."""
        index, found = None, {}
        for name, to in self.adjoints.items():
            label = name[1:]
            n = self.launch.number(self.step.output.shape[0] if label == "y" else self._width(label))
            if to is None:
                found[name] = xp.zeros((1, n), self.tape.dtype)
            else:
                index = in_order(self.layout, self.tape.y_rows) if index is None else index
                found[name] = to[0][:, to[1] : to[1] + n][index]
            self.launch.reserve(name, found[name].size)
            self.launch.sizes[f"ld.{name}"] = 0 if to is None else n
        return found

    def _width(self, label: str) -> Any:
        node = self.step.roots["out." + label]
        return node.shape[0] if node.shape else 1

    def _reserve_outs(self) -> None:
        for label, dim in self.plan.outs.items():
            wanted, n = label[2:] in self.dxs, self.launch.number(dim)
            self.launch.sizes[f"want.{label}"], self.launch.sizes[f"ld.out.{label}"] = int(wanted), n
            self.launch.reserve(f"out.{label}", self.layout.rows * n if wanted else 0)

    def _finish(self) -> None:
        for label, dim in self.plan.outs.items():
            name = label[2:]
            if name in self.dxs:
                self.dxs[name][self.index] = self.launch.part(f"out.{label}", self.layout.rows, self.launch.number(dim))
        if self.launch.sources is not None:
            for name, d in self.dsources.items():
                d[...] = self.launch.part(f"adj.source.{name}", *d.shape)

    # after a chunk
    def _after(self, r0: int, r1: int, t: int) -> None:
        for product in self.plan.post:
            self._post(product, r0, r1)
        for total in self.plan.sums:
            target = self.totals[total.name]
            for a, b in total.pairs:
                self._pair(target, a, b, r0, r1)
            if total.value is not None:
                target += self._rows(total.value, r0, r1).sum(0).reshape(target.shape)

    def _post(self, product: Product, r0: int, r1: int) -> None:
        """A product that only leaves the step: straight into the output sequence."""
        slot, matrix = product.slots[0], self.launch.prepared.weights.matrices[id(product)]
        if slot.out[2:] not in self.dxs:
            return
        stored = any(st.where == ("out", slot.out) for st in self.plan.stores)
        first = not stored and next(p for p in self.plan.post if p.slots[0] is slot) is product
        operands = [self._rows(v, r0, r1) for v in product.operands]
        found = (operands[0] if len(operands) == 1 else xp.concatenate(operands, 1)) @ matrix
        to = self.launch.part(f"out.{slot.out}", self.layout.rows, self.launch.number(slot.dim))[r0:r1]
        if first:
            to[...] = found
        else:
            to += found

    def _pair(self, target: Any, a: Node, b: Node, r0: int, r1: int) -> None:
        """Add the outer products of two values, summed over the rows of a chunk."""
        left = self._rows(a, r0, r1)
        if self.tape.tokens and b.op == "leaf" and b.attrs == ("input", "x"):
            add_rows(target, left, self.gathered["x"][r0:r1, 0])
        else:
            target += left.T @ self._rows(b, r0, r1)

    def _rows(self, node: Node, r0: int, r1: int) -> Any:
        """The rows of a chunk of a value that lies in memory."""
        kind, label = self.plan.place[node.id]
        launch, many = self.launch, r1 - r0
        if kind == "work":
            columns = launch.kernel.columns
            return launch.work(many, launch.column(columns, label), launch.number(columns[label]))
        if kind == "saved":
            first = launch.column(self.plan.saved, label)
            return self.kept.columns(launch.tape)[r0:r1, first : first + launch.number(self.plan.saved[label])]
        if kind == "input":
            return self.gathered[label][r0:r1]
        if kind == "out":
            n = launch.sizes[f"ld.d{label}"]
            if n:
                return launch.part(f"d{label}", self.layout.rows, n)[r0:r1]
            n = launch.number(node.shape[0] if node.shape else 1)
            return xp.zeros((many, n), self.tape.dtype)
        assert kind in ("state", "next"), kind
        states, batch = self.kept.states(launch.tape, label), self.layout.batch
        if kind == "next":
            return states[batch + r0 : batch + r1]
        before = previous(self.layout)
        return states[r0:r1] if before is None else states[before[r0:r1]]
