"""Run a layer's loop over a batch on the device; the products over all steps are the library's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..lang.cell import Stepped
from ..lang.dims import POSITION
from ..layout import Layout, Rows, Sources
from ..rounding import EXACT, Rounding
from .dense import multiply
from .launch import Launch, TapeParts
from .rows import ends_of, gathered, kept, scatter, sorted_to
from .space import xp
from .weights import Prepared, prepare
from .writer import padded

__all__ = ["LoopTape", "fill", "hoisted", "input_parts", "loop_forward", "prepare", "source_parts", "tape_parts"]


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
    rounding: Rounding = EXACT

    @property
    def nbytes(self) -> int:
        return 0 if self.kept is None else self.kept.nbytes

    def parts(self, params: Mapping[str, Any]) -> Iterator[LoopTape]:
        """Tapes of stretches of time, the last first, that together are the whole."""
        yield self

    def release(self) -> None:
        self.kept = None


def tape_parts(plan, sizes: Mapping[Any, int], layout: Layout, sources: Sources | None) -> TapeParts:
    """The parts of a tape; kept with the layout."""
    positions = 0 if sources is None else sources.longest
    key = "tape", tuple(plan.states.items()), tuple(plan.saved.items()), plan.history, tuple(sizes.items()), positions
    return kept(layout, key, lambda: TapeParts(plan, sizes, layout, positions))


def input_parts(prepared: Prepared, inputs: Mapping[str, Any]) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Room for the inputs that the loop itself reads, and the numbers of their rows: they are read four at a time."""
    read = {name: x.shape for name, x in inputs.items() if f"in.{name}" in prepared.code.plain.pointers}
    parts = {f"in.{name}": (rows, padded(n)) for name, (rows, n) in read.items()}
    return parts, {f"ld.{name}": n for name, (_, n) in parts.items()}


def source_parts(sources: Sources | None, adjoints: Mapping[str, Any]):
    """Room for sources and their adjoints, and the numbers of their rows."""
    parts: dict[str, tuple[int, int]] = {}
    if sources is None:
        return parts, {}
    parts["positions"] = 1, sources.longest
    for name, array in sources.arrays.items():
        parts[f"source.{name}"] = array.shape
        if name in adjoints:
            parts[f"adj.source.{name}"] = array.shape
    return parts, {f"ld.source.{name}": array.shape[1] for name, array in sources.arrays.items()}


def fill(launch: Launch, inputs: Mapping[str, Any], adjoints: Mapping[str, Any]) -> None:
    """Copy inputs and sources to where the kernel reads them."""
    for name, x in inputs.items():
        if f"in.{name}" in launch.parts:
            launch.part(f"in.{name}")[:, : x.shape[1]] = x
    if launch.sources is None:
        return
    launch.part("positions")[0] = xp.arange(launch.number(POSITION)).astype(launch.dtype)
    for name, array in launch.sources.arrays.items():
        launch.part(f"source.{name}")[...] = array
        if name in adjoints:
            launch.part(f"adj.source.{name}")[...] = adjoints[name]


def loop_forward(
    layer: Stepped, sizes: Mapping[Any, int], prepared: Prepared, layout: Layout, xs: Mapping[str, Any], rows: Rows,
    state: Mapping[str, Any], out: tuple[Any, int, Rows] | None, training: bool, tokens: bool,
    sources: Sources | None = None, extras: Mapping[str, Any] | None = None,
):  # fmt: skip
    """Run a layer forward: final states and the tape (see `rnncore.cpu.run.loop_forward`)."""
    plan, step, dtype = prepared.code.plan, layer.step, np.dtype(prepared.code.dtype)
    inputs = {name: gathered(layout, rows, xs[name]) for name in step.inputs}
    wanted = {"y": out and out[:2], **{name: (extras[name], 0) if extras and name in extras else None
                                       for name in step.extras}}  # fmt: skip
    parts, numbers = _forward_parts(prepared, layout, inputs, wanted, sources)
    tape = tape_parts(plan, sizes, layout, sources)
    launch = Launch(prepared, layout, sources, tape, parts, numbers)
    launch.tape = launch.room(tape.size)
    for s in step.states:
        given = state.get(s)
        tape.states(launch.tape, s)[: layout.batch] = 0 if given is None else sorted_to(layout, given)
    fill(launch, inputs, {})
    launch.go(lambda r0, r1: hoisted(launch, inputs, tokens, r0, r1), lambda r0, r1: None)
    y_rows = rows if out is None else out[2]
    for name, to in wanted.items():
        if to is not None:
            scatter(layout, y_rows, to[0][:, to[1] : to[1] + parts[f"out.{name}"][1]], launch.part(f"out.{name}"))
    final = {s: tape.states(launch.tape, s)[ends_of(layout, s in plan.history)] for s in step.states}
    if not training:
        return final, None
    tape_of = (layer, sizes, layout, dict(xs), rows, y_rows, launch.tape, tokens, dtype, sources, prepared.rounding)
    return final, LoopTape(*tape_of)


def _forward_parts(prepared: Prepared, layout: Layout, inputs, wanted, sources):
    """Room in memory, and the numbers of rows that the kernel's table has."""
    parts, numbers = input_parts(prepared, inputs)
    for name, to in wanted.items():
        dim = prepared.code.plan.outs[name]
        n = dim if isinstance(dim, int) else prepared.sizes[dim] if dim != POSITION else sources.longest
        parts[f"out.{name}"] = (layout.rows, n) if to is not None else (0, n)
        numbers |= {f"want.{name}": int(to is not None), f"ld.out.{name}": n}
    more, widths = source_parts(sources, {})
    return parts | more, numbers | widths


def hoisted(launch: Launch, inputs: Mapping[str, Any], tokens: bool, r0: int, r1: int) -> None:
    """Products of inputs for a chunk, on top of biases or of what is there: straight into the rows of the loop."""
    weights = launch.prepared.weights
    for product in launch.plan.hoisted:
        matrix, slots, at = weights.matrices[id(product)], launch.slots(product, r1 - r0), 0
        if product.first:
            for mine, start in _beside(slots, weights.biases[id(product)]):
                mine[...] = start
        for operand in product.operands:
            x, n = inputs[operand.attrs[1]][r0:r1], launch.number(operand.shape[0])
            for mine, part in _beside(slots, matrix[at : at + n]):
                if tokens and operand.attrs[1] == "x":
                    mine += xp.take(part, x[:, 0], 0)
                else:
                    multiply(x, part, mine, launch.prepared.rounding.products, add=True)
            at += n


def _beside(slots: list[tuple[Any, int]], whole: Any) -> Iterator[tuple[Any, Any]]:
    """Each slot with its columns of a matrix or a vector that has those of all."""
    column = 0
    for mine, wide in slots:
        yield mine, whole[..., column : column + wide]
        column += wide
