"""Run a layer's loop over a batch: memory laid out, tables filled, threads sent through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..lang.cell import Stepped
from ..lang.graph import topological
from ..layout import Layout, Rows, Sources
from ..reference.parameters import call_values
from .bfloat16 import halved, products
from .board import SHARED
from .call import Call, Prepared
from .chunks import forward_chunk
from .loop import Packing, compiled, packing_of
from .memory import Buffer, take
from .pool import available_threads

__all__ = [
    "LoopTape", "forward_call", "forward_sequences", "loop_forward", "prepare", "row_bytes", "threads_for", "unsorted",
]  # fmt: skip

_PARALLEL_FLOPS = 1.5e6  # below, waking threads costs more than they bring


@dataclass(eq=False)
class LoopTape:
    """What BPTT needs of one layer."""

    layer: Stepped
    sizes: Mapping[Any, int]
    layout: Layout
    xs: dict[str, np.ndarray]
    rows: Rows
    y_rows: Rows
    buffers: dict[str, Buffer]
    tokens: bool
    dtype: np.dtype
    sources: Sources | None = None
    row_bytes: int = 0  # of `nbytes`, those of each row

    @property
    def nbytes(self) -> int:
        return sum(b.nbytes for b in self.buffers.values())

    def parts(self, params: Mapping[str, np.ndarray]) -> Iterator[LoopTape]:
        """Tapes of stretches of time, the last first, that together are the whole."""
        yield self

    def release(self) -> None:
        for buffer in self.buffers.values():
            buffer.give_back()
        self.buffers = {}


def prepare(layer: Stepped, which: str, params: Mapping[str, np.ndarray], sizes, dtype: str, stored="") -> Prepared:
    """Kernel and packed weights of a layer; `which` is ``"infer"``, ``"forward"`` or ``"backward"``.

    To infer, matrices may be `stored` as ``"bfloat16"``.
    """
    code = compiled(layer.step, which, dtype)
    packing = packing_of(code, layer.step, sizes)
    weights = packing(params, call_values(layer.step, params, sizes, dtype))
    return Prepared(code, halved(packing, weights), packing, products()) if stored else Prepared(code, weights, packing)


def threads_for(layer: Stepped, sizes, layout: Layout, packing: Packing, factor: float = 1.0) -> int:
    """Threads that a call of a loop is worth; `factor`: its products, in those of a forward pass."""
    allowed = available_threads()
    if allowed == 1:
        return 1
    weights, computed = _work(layer.step, tuple(sizes.items()))
    if 2.0 * (weights + computed) * layout.rows * factor <= _PARALLEL_FLOPS:
        return 1
    if layout.batch == 1:  # threads have no sequences of their own: they share out the columns of products
        return allowed if packing.largest >= SHARED or packing.code.plan.sums and weights >= SHARED else 1
    return min(allowed, layout.batch)


@lru_cache(maxsize=512)
def _work(step, items: tuple[tuple[Any, int], ...]) -> tuple[int, int]:
    """What each row of a step takes: the numbers of its weights, and the numbers that are computed one by one."""
    sizes = dict(items)
    computed = [n for n in topological(step.roots.values()) if n.args and n.level == "step"]
    weights, numbers = (sum(prod(sizes.get(d, 1) for d in one.shape) for one in of) for of in (step.params, computed))
    return weights, numbers


def loop_forward(
    layer: Stepped,
    sizes: Mapping[Any, int],
    prepared: Prepared,
    layout: Layout,
    xs: Mapping[str, np.ndarray],
    rows: Rows,
    state: Mapping[str, np.ndarray],
    out: tuple[np.ndarray, int, Rows] | None,
    training: bool,
    tokens: bool,
    sources: Sources | None = None,
    extras: Mapping[str, np.ndarray] | None = None,
):
    """Run a layer forward.

    Parameters
    ----------
    state : mapping of str to ndarray
        Initial states (batch, size) in the caller's order; those missing are zero.
    out : (array, first column, rows) or None
        Where the output goes; None if nobody reads it.
    sources : Sources or None
        Other sequences that every step sees whole.
    extras : mapping of str to ndarray
        Where further outputs go, in the rows of the output; those missing are not written.

    Returns
    -------
    final : dict of str to ndarray
    tape : LoopTape or None
    """
    plan, dtype, step = prepared.code.plan, np.dtype(prepared.code.dtype), layer.step
    threads = threads_for(layer, sizes, layout, prepared.packing)
    call, kept, arrays = forward_call(layer, sizes, prepared, layout, state, threads, sources, training)
    y_rows = rows if out is None else out[2]
    forward_sequences(call, step, xs, rows, out, tokens, extras or {})
    call.go()
    call.release()
    final = {s: _final(arrays[s], s in plan.history, layout, sizes[step.dims[s]]) for s in step.states}
    if not training:
        for buffer in kept.values():
            buffer.give_back()
        return final, None
    each = row_bytes(prepared, step, sources)
    return final, LoopTape(layer, sizes, layout, dict(xs), rows, y_rows, kept, tokens, dtype, sources, each)


def row_bytes(prepared: Prepared, step, sources: Sources | None = None) -> int:
    """Bytes that a tape keeps of each step of each sequence."""
    packing = prepared.packing_for(sources)
    return packing.saved_width + sum(packing.row_bytes(step.dims[s]) for s in prepared.code.plan.history)


def forward_call(
    layer: Stepped, sizes, prepared: Prepared, layout: Layout, state, threads: int, sources=None, training=False
):
    """The call of a forward kernel: itself, the memory of the states (`training`: and of all that BPTT needs), and the
    states as arrays which begin with `state`."""
    plan, step, dtype = prepared.code.plan, layer.step, np.dtype(prepared.code.dtype)
    packing = prepared.packing_for(sources)
    chunk = forward_chunk(packing.work_width, min(threads, layout.batch))
    call = Call(prepared, layout, chunk, threads, {}, sources)
    kept: dict[str, Buffer] = {}
    arrays: dict[str, np.ndarray] = {}
    for s in step.states:
        full = s in plan.history
        n_rows = layout.batch + layout.rows if full else 2 * layout.batch
        width = packing.row_bytes(step.dims[s])
        buffer = take(n_rows * width)
        kept[f"state.{s}"] = buffer
        call.addresses[f"state.{s}"] = buffer.address
        array = arrays[s] = buffer.array((n_rows, width // dtype.itemsize), dtype)
        given = state.get(s)
        size = sizes[step.dims[s]]
        array[: layout.batch, :size] = 0 if given is None else layout.sorted(given)
    if training:
        kept["saved"] = take(layout.rows * packing.saved_width)
        call.addresses["saved"] = kept["saved"].address
    return call, kept, arrays


def forward_sequences(call: Call, step, xs, rows: Rows, out, tokens: bool, extras: Mapping[str, np.ndarray]) -> None:
    """Tell a forward kernel where its inputs and outputs lie (see `loop_forward`)."""
    for name in step.inputs:
        call.sequence(f"in.{name}", xs[name])
    call.rows("in", rows)
    call.sizes["want.y"] = int(out is not None)
    call.rows("y", rows if out is None else out[2])
    if out is not None:
        call.sequence("out.y", out[0], out[1])
    else:
        call.addresses["out.y"], call.sizes["ld.out.y"] = 0, 0
    if out is not None:
        call.sizes["ld.out.y"] = out[0].strides[0]
    for name in step.extras:
        extra = extras.get(name)
        call.sizes[f"want.{name}"] = int(extra is not None)
        call.addresses[f"out.{name}"], call.sizes[f"ld.out.{name}"] = 0, 0
        if extra is not None:
            call.sequence(f"out.{name}", extra)
            call.sizes[f"ld.out.{name}"] = extra.strides[0]
    if tokens:
        call.inputs_as(call.functions["lookup"], call.functions["scatter"])


def _final(array: np.ndarray, full: bool, layout: Layout, size: int) -> np.ndarray:
    return unsorted(array[layout.finals if full else layout.turns, :size], layout)


def unsorted(rows: np.ndarray, layout: Layout) -> np.ndarray:
    """A copy of rows of sequences in sorted order, in the caller's order."""
    result = np.empty(rows.shape, rows.dtype)
    result[slice(None) if layout.identity else layout.order] = rows
    return result
