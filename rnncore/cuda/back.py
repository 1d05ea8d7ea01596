"""BPTT through a layer's loop on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..lang.dims import POSITION
from ..lang.graph import Node
from ..plan.adjoint import adjoint_of
from ..plan.model import Product
from ..reference.parameters import direct_gradients, parameter_gradients
from .dense import multiply
from .launch import Launch
from .rows import gathered, previous, scatter, sorted_back, sorted_to, turns_of
from .run import LoopTape, fill, hoisted, input_parts, source_parts, tape_parts
from .scatter import add_rows
from .space import put, xp
from .weights import Prepared, prepare
from .writer import padded

__all__ = ["loop_backward"]


def loop_backward(
    tape: LoopTape, params: Mapping[str, Any], dy: tuple[Any, int] | None, dfinal: Mapping[str, Any],
    want: tuple[str, ...], grads: Mapping[str, Any], dsources: Mapping[str, Any] | None = None,
    dextras: Mapping[str, tuple[Any, int]] | None = None,
):  # fmt: skip
    """BPTT through a layer: adjoints of inputs and of initial states (see `rnncore.cpu.back.loop_backward`)."""
    step, sizes, dtype = tape.layer.step, tape.sizes, tape.dtype
    prepared = prepare(tape.layer, "backward", params, sizes, str(dtype), rounding=tape.rounding)
    dxs = {name: xp.zeros((len(tape.xs[name]), sizes[step.dims[name]]), dtype) for name in want}
    adjoints = {f"d{n}": (dextras or {}).get(n) for n in step.seeded} | {"dy": dy}
    boundary, direct = adjoint_of(step).boundary, direct_gradients(step)
    names = [total.name for total in prepared.code.plan.sums if total.name not in direct]
    sums = {name: xp.zeros([sizes[d] for d in boundary[name].shape], dtype) for name in names}
    seen = {name: (dsources or {})[name] for name in step.sources}
    for part in tape.parts(params):
        dfinal = _Reverse(part, prepared, adjoints, dxs, {**grads, **sums}, seen).run(dfinal)
    for name, g in parameter_gradients(step, params, sizes, sums, put).items():
        grads[name][...] += g.astype(dtype)
    return dxs, dfinal


class _Reverse:
    """The way back through one tape."""

    def __init__(self, tape: LoopTape, prepared: Prepared, adjoints, dxs, totals, dsources):
        self.tape, self.layout, self.plan = tape, tape.layout, prepared.code.plan
        self.totals, self.dxs, self.dsources = totals, dxs, dsources
        self.inputs = {name: gathered(tape.layout, tape.rows, tape.xs[name]) for name in tape.layer.step.inputs}
        self.kept = tape_parts(self.plan, tape.sizes, tape.layout, tape.sources)
        self.given = self._adjoints(adjoints)
        parts, numbers = self._parts(prepared)
        self.launch = Launch(prepared, tape.layout, tape.sources, self.kept, parts, numbers)
        self.launch.tape = tape.kept

    def _adjoints(self, adjoints) -> dict[str, Any]:
        """Adjoints of outputs in the rows of the loop; one row of zeros where none is given."""
        found = {}
        for name, to in adjoints.items():
            node = self.tape.layer.step.output if name == "dy" else self.tape.layer.step.roots["out." + name[1:]]
            n = self._number(node.shape[0] if node.shape else 1)
            if to is None:
                found[name] = xp.zeros((1, n), self.tape.dtype)
            else:
                found[name] = gathered(self.layout, self.tape.y_rows, to[0][:, to[1] : to[1] + n])
        return found

    def _number(self, dim: Any) -> int:
        if dim == POSITION:
            return self.tape.sources.longest  # type: ignore[union-attr]
        return dim if isinstance(dim, int) else self.tape.sizes[dim]

    def _parts(self, prepared: Prepared) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
        parts, numbers = input_parts(prepared, self.inputs)
        for s, n in self.kept.widths.items():
            parts[f"adj.{s}"] = 2 * self.layout.batch, padded(n)
        for name, array in self.given.items():
            parts[name] = len(array), padded(array.shape[1])
            numbers[f"ld.{name}"] = parts[name][1] if len(array) == self.layout.rows else 0
        for label, dim in self.plan.outs.items():
            wanted, n = label[2:] in self.dxs, self._number(dim)
            parts[f"out.{label}"] = (self.layout.rows, n) if wanted else (0, n)
            numbers |= {f"want.{label}": int(wanted), f"ld.out.{label}": n}
        more, widths = source_parts(self.tape.sources, self.dsources)
        return parts | more, numbers | widths

    def run(self, dfinal: Mapping[str, Any]) -> dict[str, Any]:
        """Adjoints of the initial states from those of the final ones."""
        launch, layout = self.launch, self.layout
        carried = {s: launch.part(f"adj.{s}")[:, :n] for s, n in self.kept.widths.items()}
        for s, array in carried.items():
            array[...] = 0
            if s in dfinal:
                array[turns_of(layout)] = sorted_to(layout, dfinal[s]).astype(self.tape.dtype)
        for name, array in self.given.items():
            launch.part(name)[:, : array.shape[1]] = array
        fill(launch, self.inputs, self.dsources)
        launch.go(lambda r0, r1: hoisted(launch, self.inputs, self.tape.tokens, r0, r1), self._after)
        for label in self.plan.outs:
            if label[2:] in self.dxs:
                scatter(layout, self.tape.rows, self.dxs[label[2:]], launch.part(f"out.{label}"))
        for name, d in self.dsources.items():
            d[...] = launch.part(f"adj.source.{name}")
        return {s: sorted_back(layout, array[: layout.batch]).copy() for s, array in carried.items()}

    # after a chunk
    def _after(self, r0: int, r1: int) -> None:
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
        slot = product.slots[0]
        if slot.out[2:] not in self.dxs:
            return
        stored = any(st.where == ("out", slot.out) for st in self.plan.stores)
        fresh = not stored and next(p for p in self.plan.post if p.slots[0] is slot) is product
        matrix, to, at = self.launch.prepared.weights.matrices[id(product)], self.launch.part(f"out.{slot.out}"), 0
        for rows in self._operands(product, r0, r1):
            end = at + rows.shape[1]
            multiply(rows, matrix[at:end], to[r0:r1], self.tape.rounding.products, add=bool(at) or not fresh)
            at = end

    def _operands(self, product: Product, r0: int, r1: int) -> list[Any]:
        """The rows of a product's operands: all at once where they lie side by side."""
        widths = [self._number(v.shape[0]) for v in product.operands]
        kind, label = self.plan.place[product.operands[0].id]
        if kind == "work" and all(padded(n) == n for n in widths[:-1]):
            return [self.launch.work(r1 - r0, label, sum(widths))]
        return [self._rows(v, r0, r1) for v in product.operands]

    def _pair(self, target: Any, a: Node, b: Node, r0: int, r1: int) -> None:
        """Add the outer products of two values, summed over the rows of a chunk."""
        left = self._rows(a, r0, r1)
        if self.tape.tokens and b.op == "leaf" and b.attrs == ("input", "x"):
            add_rows(target, left, self.inputs["x"][r0:r1, 0])
        else:
            multiply(left.T, self._rows(b, r0, r1), target, self.tape.rounding.products, add=True)

    def _rows(self, node: Node, r0: int, r1: int) -> Any:
        """The rows of a chunk of a value that lies in memory."""
        kind, label = self.plan.place[node.id]
        launch, many = self.launch, r1 - r0
        if kind == "work":
            return launch.work(many, label, launch.number(launch.frame.kernel.columns[label]))
        if kind == "saved":
            first = self.kept.offsets[label]
            n = launch.number(self.plan.saved[label])
            return self.kept.columns(launch.tape)[r0:r1, first : first + n]
        if kind == "input":
            return self.inputs[label][r0:r1]
        if kind == "out":
            rows = self.given[f"d{label}"]
            return rows[r0:r1] if len(rows) == self.layout.rows else xp.zeros((many, rows.shape[1]), self.tape.dtype)
        assert kind in ("state", "next"), kind
        states, batch = self.kept.states(launch.tape, label), self.layout.batch
        if kind == "next":
            return states[batch + r0 : batch + r1]
        before = previous(self.layout)
        return states[r0:r1] if before is None else states[before[r0:r1]]
