"""Run a layer's loop over a batch: memory laid out, tables filled, threads sent through."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any, Mapping

import numpy as np

from ..lang.cell import Layer
from ..plan.adjoint import adjoint_of
from .loop import (
    Compiled,
    LoopWeights,
    call_values,
    compiled,
    direct_gradients,
    functions,
    pack_weights,
    parameter_gradients,
)
from .machine import host
from .memory import Buffer, address_of, take
from .pool import available_parts, run_parts

__all__ = ["Layout", "Rows", "LoopTape", "layout_of", "loop_forward", "loop_backward", "prepare"]

_FORWARD_BYTES = 2**18  # work of a chunk and thread that stays in a second-level cache
_BACKWARD_ROWS = 512  # rows over which one weight-gradient product sums
_PARALLEL_FLOPS = 1.5e6  # below, waking threads costs more than they bring


@dataclass(eq=False)
class Layout:
    """A batch in the order of falling length: how many sequences are active at each step, and where their rows lie."""

    lengths: np.ndarray
    order: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray
    sorted_lengths: np.ndarray
    identity: bool
    chunks: dict[int, tuple[np.ndarray, int]] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        return len(self.lengths)

    @property
    def rows(self) -> int:
        return int(self.offsets[-1])

    @property
    def time(self) -> int:
        return len(self.counts)

    def starts(self, limit: int) -> tuple[np.ndarray, int]:
        """First steps of chunks of at most `limit` rows (one step at least), and the rows of the largest."""
        if limit not in self.chunks:
            marks = [0]
            while marks[-1] < self.time:
                end = int(np.searchsorted(self.offsets, self.offsets[marks[-1]] + limit, "right")) - 1
                marks.append(min(max(end, marks[-1] + 1), self.time))
            starts = np.array(marks, np.int64)
            self.chunks[limit] = starts, int(np.diff(self.offsets[starts]).max(initial=0))
        return self.chunks[limit]

    def finals(self) -> np.ndarray:
        """Row of each sequence's final state in a history of states, in sorted order."""
        n = self.sorted_lengths
        position = np.arange(self.batch)
        return np.where(n == 0, position, self.batch + self.offsets[np.maximum(n - 1, 0)] + position)


def layout_of(lengths: np.ndarray, full: bool) -> Layout:
    """The layout of a batch; that of equal lengths is kept."""
    if full and len(lengths):
        return _full_layout(len(lengths), int(lengths[0]))
    return _layout(lengths)


@lru_cache(maxsize=64)
def _full_layout(batch: int, time: int) -> Layout:
    return _layout(np.full(batch, time, np.int64))


def _layout(lengths: np.ndarray) -> Layout:
    order = np.argsort(-lengths, kind="stable")
    time = int(lengths.max(initial=0))
    ends = np.bincount(lengths, minlength=time + 1)
    counts = (len(lengths) - np.cumsum(ends)[:time]).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    identity = bool(np.array_equal(order, np.arange(len(lengths))))
    return Layout(lengths, order, counts, offsets, lengths[order], identity)


@dataclass(eq=False)
class Rows:
    """Sequences in 2-D arrays: step t of sequence b is row ``base[b] + t * step``."""

    base: np.ndarray
    step: int

    def reversed(self, lengths: np.ndarray) -> Rows:
        """The same rows read backward within each length."""
        return Rows(self.base + self.step * (lengths - 1), -self.step)

    def index(self, lengths: np.ndarray) -> np.ndarray:
        """Rows of all steps, sequence by sequence."""
        total = int(lengths.sum())
        starts = np.cumsum(lengths) - lengths
        within = np.arange(total) - np.repeat(starts, lengths)
        return np.repeat(self.base, lengths) + within * self.step


@dataclass(eq=False)
class Prepared:
    """A layer's weights for one kernel of a step, and the values they were made from."""

    code: Compiled
    weights: LoopWeights
    values: dict[int, np.ndarray]
    sizes: Mapping[Any, int]


@dataclass(eq=False)
class LoopTape:
    """What BPTT needs of one layer."""

    layer: Layer
    sizes: Mapping[Any, int]
    layout: Layout
    xs: dict[str, np.ndarray]
    rows: Rows
    y_rows: Rows
    values: dict[int, np.ndarray]
    buffers: dict[str, Buffer]
    tokens: bool

    def release(self) -> None:
        for buffer in self.buffers.values():
            buffer.give_back()
        self.buffers = {}


def prepare(layer: Layer, which: str, params: Mapping[str, np.ndarray], sizes, dtype: str, values=None) -> Prepared:
    """Kernel and packed weights of a layer."""
    code = compiled(layer.step, which, dtype)
    if values is None:
        values = call_values(layer.step, params, sizes, dtype)
    return Prepared(code, pack_weights(code, values, sizes), values, sizes)


class _Call:
    """The tables of one kernel call."""

    def __init__(self, prepared: Prepared, layout: Layout, limit: int, parts: int):
        self.code, self.layout, self.parts = prepared.code, layout, parts
        self.kernel, self.sizes_of = prepared.code.kernel, prepared.sizes
        self.item = 4 if self.code.dtype == "float32" else 8
        self.addresses = dict(prepared.weights.addresses)
        self.constants = prepared.weights.constants
        self.held: list[Any] = [prepared]
        self.scratch: list[Buffer] = []
        starts, most = layout.starts(max(limit, 1))
        batch = layout.batch
        self.sizes = {"chunks": len(starts) - 1, "batch": batch, "list_rows": most, "step": 1, "step_y": 1}
        for k, dim in enumerate(self.kernel.dims):
            self.sizes[f"n{k}"] = dim if isinstance(dim, int) else self.sizes_of[dim]
        self.ints("starts", starts)
        self.ints("counts", layout.counts)
        self.ints("offsets", layout.offsets)
        self.temporary("work", most * self.width(self.code.plan.columns))
        stride = 8 * (3 * batch + 6 * most) + 64
        self.sizes["list_stride"] = stride
        self.temporary("lists", stride * parts)
        self.sizes["scratch_stride"] = most * 16 * self.item + 64
        self.temporary("scratch", (most * 16 * self.item + 64) * parts)
        self.ints("sync", np.zeros(16, np.int64))
        table = functions(self.code.dtype)
        for name in ("gemm", "outer", "colsum", "barrier"):
            self.addresses[f"fn.{name}"] = table[name]
        self.inputs_as(table["gemm"], table["outer"])

    def inputs_as(self, gemm: int, outer: int) -> None:
        self.addresses["fn.gemm.in"], self.addresses["fn.outer.in"] = gemm, outer

    def width(self, columns: Mapping[str, Any]) -> int:
        """Bytes of a row of padded columns."""
        return sum(self.padded(d) for d in columns.values())

    def padded(self, dim) -> int:
        count = host().lanes(self.code.dtype)
        n = dim if isinstance(dim, int) else self.sizes_of[dim]
        return -(-n // count) * count * self.item

    def ints(self, name: str, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array, np.int64)
        self.held.append(array)
        self.addresses[name] = address_of(array)

    def temporary(self, name: str, nbytes: int) -> Buffer:
        buffer = take(nbytes)
        self.scratch.append(buffer)
        self.addresses[name] = buffer.address
        return buffer

    def rows(self, name: str, rows: Rows) -> None:
        self.ints(f"base.{name}", rows.base[self.layout.order])
        self.sizes["step" if name == "in" else "step_y"] = rows.step

    def sequence(self, name: str, array: np.ndarray, column: int = 0) -> None:
        """An outside array of rows (C-contiguous, 2-D), from a column on."""
        self.held.append(array)
        self.addresses[name] = address_of(array) + column * array.itemsize
        self.sizes[f"ld.{name}"] = array.strides[0] if array.ndim == 2 else 0

    def go(self) -> None:
        p = np.array([self.addresses[n] for n in self.kernel.pointers], np.int64)
        s = np.array([self.sizes[n] for n in self.kernel.sizes], np.int64)
        run, pa, sa, ka = self.code.run, address_of(p), address_of(s), address_of(self.constants)
        run_parts(lambda part, parts: run(pa, sa, ka, part, parts), self.parts)

    def release(self) -> None:
        """Give the working memory back."""
        for buffer in self.scratch:
            buffer.give_back()


def _parts(layer: Layer, sizes, layout: Layout, factor: float) -> int:
    allowed = available_parts()
    if allowed == 1 or layout.batch < 2:
        return 1
    weights = sum(prod(sizes[d] for d in p.shape) for p in layer.step.params)
    return min(allowed, layout.batch) if 2.0 * weights * layout.rows * factor > _PARALLEL_FLOPS else 1


def loop_forward(
    layer: Layer,
    sizes: Mapping[Any, int],
    prepared: Prepared,
    layout: Layout,
    xs: Mapping[str, np.ndarray],
    rows: Rows,
    state: Mapping[str, np.ndarray],
    out: tuple[np.ndarray, int, Rows] | None,
    training: bool,
    tokens: bool,
):
    """Run a layer forward.

    Parameters
    ----------
    state : mapping of str to ndarray
        Initial states (batch, size) in the caller's order; those missing are zero.
    out : (array, first column, rows) or None
        Where the output goes; None if nobody reads it.

    Returns
    -------
    final : dict of str to ndarray
    tape : LoopTape or None
    """
    code = prepared.code
    plan, dtype, step = code.plan, np.dtype(code.dtype), layer.step
    parts = _parts(layer, sizes, layout, 1.0)
    call = _Call(prepared, layout, _forward_rows(plan, sizes, dtype, parts), parts)
    kept: dict[str, Buffer] = {}
    arrays: dict[str, np.ndarray] = {}
    for s in step.states:
        full = s in plan.history
        n_rows = layout.batch + layout.rows if full else 2 * layout.batch
        width = call.padded(step.dims[s])
        buffer = take(n_rows * width)
        kept[f"state.{s}"] = buffer
        call.addresses[f"state.{s}"] = buffer.address
        array = arrays[s] = buffer.array((n_rows, width // dtype.itemsize), dtype)
        given = state.get(s)
        size = sizes[step.dims[s]]
        array[: layout.batch, :size] = 0 if given is None else given if layout.identity else given[layout.order]
    if training:
        kept["saved"] = take(layout.rows * call.width(plan.saved))
        call.addresses["saved"] = kept["saved"].address
    for name in step.inputs:
        call.sequence(f"in.{name}", xs[name])
    call.rows("in", rows)
    call.sizes["want.y"] = int(out is not None)
    y_rows = rows if out is None else out[2]
    call.rows("y", y_rows)
    if out is not None:
        call.sequence("out.y", out[0], out[1])
    else:
        call.addresses["out.y"], call.sizes["ld.out.y"] = 0, 0
    if out is not None:
        call.sizes["ld.out.y"] = out[0].strides[0]
    if tokens:
        table = functions(code.dtype)
        call.inputs_as(table["lookup"], table["scatter"])
    call.go()
    call.release()
    final = {s: _final(arrays[s], s in plan.history, layout, sizes[step.dims[s]]) for s in step.states}
    if not training:
        for buffer in kept.values():
            buffer.give_back()
        return final, None
    tape = LoopTape(layer, sizes, layout, dict(xs), rows, y_rows, prepared.values, kept, tokens)
    return final, tape


def _forward_rows(plan, sizes, dtype, parts: int) -> int:
    width = sum((d if isinstance(d, int) else sizes[d]) for d in plan.columns.values()) * dtype.itemsize
    return max(1, _FORWARD_BYTES * parts // max(width, 1))


def _final(array: np.ndarray, full: bool, layout: Layout, size: int) -> np.ndarray:
    position = np.arange(layout.batch)
    rows = layout.finals() if full else (layout.sorted_lengths % 2) * layout.batch + position
    result = np.empty((layout.batch, size), array.dtype)
    result[layout.order] = array[rows, :size]
    return result


def loop_backward(
    tape: LoopTape,
    params: Mapping[str, np.ndarray],
    dy: tuple[np.ndarray, int] | None,
    dfinal: Mapping[str, np.ndarray],
    want: tuple[str, ...],
    grads: Mapping[str, np.ndarray],
):
    """BPTT through a layer.

    Parameters
    ----------
    dy : (array, first column) or None
        Adjoint of the output, in the rows of the output.
    dfinal : mapping of str to ndarray
        Adjoints of final states; those missing are zero.
    want : tuple of str
        Inputs whose adjoint is wanted.
    grads : mapping of str to ndarray
        Gradients of the layer's parameters, added to in place.

    Returns
    -------
    dxs : dict of str to ndarray
        In the rows of the inputs, zero elsewhere.
    dstate : dict of str to ndarray
    """
    layer, sizes, layout = tape.layer, tape.sizes, tape.layout
    step, dtype = layer.step, next(iter(grads.values())).dtype if grads else np.dtype("float32")
    prepared = prepare(layer, "backward", params, sizes, str(dtype), tape.values)
    plan = prepared.code.plan
    call = _Call(prepared, layout, _BACKWARD_ROWS, _parts(layer, sizes, layout, 2.0))
    for name, buffer in tape.buffers.items():
        call.addresses[name] = buffer.address
    for name in step.inputs:
        call.sequence(f"in.{name}", tape.xs[name])
    call.rows("in", tape.rows)
    call.rows("y", tape.y_rows)
    features = sizes[step.output.shape[0]]
    if dy is None:
        call.sequence("in.y", np.zeros(features, dtype))
    else:
        call.sequence("in.y", dy[0], dy[1])
    carried = {}
    for s in step.states:
        size = sizes[step.dims[s]]
        buffer = call.temporary(f"adj.{s}", 2 * layout.batch * call.padded(step.dims[s]))
        array = buffer.array((2 * layout.batch, call.padded(step.dims[s]) // dtype.itemsize), dtype)
        array[:] = 0
        if s in dfinal:
            at = (layout.sorted_lengths % 2) * layout.batch + np.arange(layout.batch)
            array[at, :size] = dfinal[s][layout.order]
        carried[s] = array
    dxs = {}
    for label in plan.outs:
        name = label[2:]
        wanted = name in want
        call.sizes[f"want.{label}"] = int(wanted)
        call.addresses[f"out.{label}"], call.sizes[f"ld.out.{label}"] = 0, 0
        if wanted:
            dxs[name] = np.zeros((len(tape.xs[name]), sizes[step.dims[name]]), dtype)
            call.sequence(f"out.{label}", dxs[name])
            call.sizes[f"ld.out.{label}"] = dxs[name].strides[0]
    for name in want:
        if name not in dxs:
            dxs[name] = np.zeros((len(tape.xs[name]), sizes[step.dims[name]]), dtype)
    sums = _sums(call, plan, step, sizes, grads, dtype)
    if tape.tokens:
        table = functions(prepared.code.dtype)
        call.inputs_as(table["lookup"], table["scatter"])
    call.go()
    results = {}
    for s in step.states:
        results[s] = np.empty((layout.batch, sizes[step.dims[s]]), dtype)
        results[s][layout.order] = carried[s][: layout.batch, : sizes[step.dims[s]]]
    call.release()
    prepared.weights.release()
    for name, g in parameter_gradients(step, params, sizes, sums).items():
        grads[name][...] += g
    return dxs, results


def _sums(call: _Call, plan, step, sizes, grads, dtype) -> dict[str, np.ndarray]:
    """Arrays that gradients of call-level values are summed in: the parameters' own where they are parameters."""
    boundary, direct = adjoint_of(step).boundary, direct_gradients(step)
    sums = {}
    for total in plan.sums:
        if total.name in direct:
            array = grads[total.name]
        else:
            array = np.zeros([sizes[d] for d in boundary[total.name].shape], dtype)
        sums[total.name] = array
        call.held.append(array)
        call.addresses[f"sum.{total.name}"] = address_of(array)
    return sums
