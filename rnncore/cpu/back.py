"""BPTT through a layer's loop: the call of the kernel that goes back, and what its sums are gradients of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..plan.adjoint import adjoint_of
from ..reference.parameters import direct_gradients, parameter_gradients, parameter_roots
from .call import Call, Prepared
from .chunks import backward_chunk
from .loop import functions
from .memory import address_of, zeros
from .run import LoopTape, prepare, threads_for, unsorted

__all__ = ["loop_backward", "reverse_call", "sums_are_gradients"]

def loop_backward(
    tape: LoopTape,
    params: Mapping[str, np.ndarray],
    dy: tuple[np.ndarray, int] | None,
    dfinal: Mapping[str, np.ndarray],
    want: tuple[str, ...],
    grads: Mapping[str, np.ndarray],
    dsources: Mapping[str, np.ndarray] | None = None,
    dextras: Mapping[str, tuple[np.ndarray, int]] | None = None,
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
    dsources : mapping of str to ndarray
        Adjoints of the sources, in their rows and as wide, added to in place.
    dextras : mapping of str to (array, first column)
        Adjoints of further outputs, in the rows of the output; those missing are zero.

    Returns
    -------
    dxs : dict of str to ndarray
        In the rows of the inputs, zero elsewhere.
    dstate : dict of str to ndarray
    """
    step, sizes, dtype = tape.layer.step, tape.sizes, tape.dtype
    prepared = prepare(tape.layer, "backward", params, sizes, str(dtype))
    dxs = {name: zeros((len(tape.xs[name]), sizes[step.dims[name]]), dtype) for name in want}
    nothing = np.zeros(sizes[step.output.shape[0]], dtype), 0
    adjoints = {f"d{n}": (dextras or {}).get(n) or nothing for n in step.seeded} | {"dy": dy or nothing}
    sums = _own_sums(prepared.code.plan, step, sizes, dtype)
    for part in tape.parts(params):
        dfinal = _reverse(part, prepared, adjoints, dfinal, dxs, grads, sums, dsources or {})
    prepared.weights.release()
    for name, g in parameter_gradients(step, params, sizes, sums).items():
        grads[name][...] += g
    return dxs, dfinal


def _reverse(tape: LoopTape, prepared: Prepared, adjoints, dfinal, dxs, grads, sums, dsources) -> dict[str, np.ndarray]:
    """The way back through one tape: adds to `dxs`, `grads`, `sums` and `dsources`; adjoints of its initial states."""
    sizes, layout, step = tape.sizes, tape.layout, tape.layer.step
    call, carried = reverse_call(tape, prepared, adjoints, dxs, grads, sums, dsources)
    for s in dfinal.keys() & carried.keys():
        carried[s][layout.turns, : sizes[step.dims[s]]] = layout.sorted(dfinal[s])
    call.go()
    starts = {s: unsorted(a[: layout.batch, : sizes[step.dims[s]]], layout) for s, a in carried.items()}
    call.release()
    return starts


def reverse_call(tape: LoopTape, prepared: Prepared, adjoints, dxs, grads, sums, dsources):
    """The call of a reverse kernel: itself, and the arrays that carry adjoints of states from step to step.

    They take turns: rows ``layout.turns`` are of the final states, in the end the first are of the initial ones.
    """
    layer, layout, step = tape.layer, tape.layout, tape.layer.step
    plan, packing = prepared.code.plan, prepared.packing_for(tape.sources)
    widths = {s: packing.row_bytes(step.dims[s]) for s in step.states}
    carries = {f"adj.{s}": 2 * layout.batch * width for s, width in widths.items()}
    each = tape.row_bytes
    chunk = backward_chunk(packing.work_width, tape.nbytes - layout.rows * each, each)
    call = Call(prepared, layout, chunk, threads_for(layer, tape.sizes, layout, packing, 2.0), carries, tape.sources)
    for name, buffer in tape.buffers.items():
        call.addresses[name] = buffer.address
    for name in step.inputs:
        call.sequence(f"in.{name}", tape.xs[name])
    for name in step.sources:
        call.ints(f"adj.source.{name}", dsources[name])
    call.rows("in", tape.rows)
    call.rows("y", tape.y_rows)
    for name, given in adjoints.items():
        call.sequence(name, *given)
    for label in plan.outs:
        dx = dxs.get(label[2:])
        call.sizes[f"want.{label}"] = int(dx is not None)
        call.addresses[f"out.{label}"], call.sizes[f"ld.out.{label}"] = 0, 0
        if dx is not None:
            call.sequence(f"out.{label}", dx)
            call.sizes[f"ld.out.{label}"] = dx.strides[0]
    _add_to(call, plan, grads, sums)
    if tape.tokens:
        table = functions(prepared.code.dtype)
        call.inputs_as(table["lookup"], table["scatter"])
    return call, {s: call.carried_array(f"adj.{s}", 2 * layout.batch, widths[s]) for s in step.states}


def sums_are_gradients(step, plan) -> bool:
    """Whether what a reverse kernel sums are the gradients of the parameters, with nothing to be done after it."""
    return not parameter_roots(step) and all(total.name in direct_gradients(step) for total in plan.sums)


def _own_sums(plan, step, sizes, dtype) -> dict[str, np.ndarray]:
    """Arrays for the gradients of call-level values that are no parameters, or reach the loop in several ways."""
    boundary, direct = adjoint_of(step).boundary, direct_gradients(step)
    names = [total.name for total in plan.sums if total.name not in direct]
    return {name: np.zeros([sizes[d] for d in boundary[name].shape], dtype) for name in names}


def _add_to(call: Call, plan, grads, sums: Mapping[str, np.ndarray]) -> None:
    """Where gradients of call-level values are summed: the parameters' own arrays, but for `sums`."""
    offsets = call.packing.offsets
    first = address_of(grads[call.packing.first]) if call.packing.first else 0
    for total in plan.sums:
        if total.name in sums:
            call.held.append(sums[total.name])
            call.addresses[f"sum.{total.name}"] = address_of(sums[total.name])
        else:
            call.addresses[f"sum.{total.name}"] = first + offsets[total.name]
