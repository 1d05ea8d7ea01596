"""Losses over rows of outputs: traced once, differentiated, evaluated with NumPy over all rows at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backends import Backend, backend_of, chosen, device_of, namespace
from .compiled_loss import loss_of_rows, loss_step
from .errors import InputError
from .forking import renewed
from .inputs import as_array, as_checkpoint, listed
from .lang.component import Bound, Component
from .lang.diff import reverse, tangent
from .lang.dims import Dim, unify
from .lang.graph import Graph, Node
from .lang.origin import fail, pinned_origin
from .lang.trace import run_traced
from .reference.interpreter import Program
from .registry import current

__all__ = [
    "as_loss", "check_outputs", "check_reduction", "compared", "loss_grads_and_state", "network_loss", "reduced",
    "second_derivative", "target_rows", "task_of", "value_and_gradient", "width_of",
]  # fmt: skip


_COMPILED = 2**15  # numbers of outputs from which loading a kernel is worth its time


@dataclass(frozen=True, eq=False)
class _Traced:
    value: Program
    both: Program
    second: Program
    constants: dict[tuple[str, str], np.ndarray]
    outputs: int | None  # where the equations fix their number
    width: int | None  # that of targets, likewise


_lock = renewed(threading.Lock())
_traced: dict[Bound, _Traced] = {}


def as_loss(loss: Any) -> Bound:
    """A loss with its options, from a name, a loss, or itself.

    Raises
    ------
    InputError
        There is no such loss.
    """
    if isinstance(loss, str):
        loss = current().get("loss", loss)
    if isinstance(loss, Component) and loss.kind == "loss":
        loss = loss()
    if not isinstance(loss, Bound) or loss.component.kind != "loss":
        raise InputError(f"loss must be the name of a loss or a loss, got {loss!r}")
    return loss


def _equations(loss: Bound, graph: Graph) -> tuple[Node, Node, Dim, Dim]:
    """Value and gradient of a loss of one row of outputs, and the sizes of its inputs ``o`` and ``target``.

    The two are one size, unless the equations fix that of the target: ``scalar(target)``.
    """
    size, width = Dim(symbols=["o"]), Dim()
    o = graph.leaf("input", "o", (size,), "step")
    target = graph.leaf("input", "target", (width,), "step")
    value, origin = run_traced(graph, loss.component.fn, o, target, **loss.options)
    with pinned_origin(origin):
        if not isinstance(value, Node) or value.shape != ():
            raise fail(f"loss {loss.name!r} must return a scalar; reduce it with sum() or mean()")
        if width.root().number is None or loss.component.target == "class":
            unify(size, width, origin)
        gradient = reverse({value: graph.const(1.0)}).get(o.id)
        if gradient is None:
            raise fail(f"loss {loss.name!r} does not depend on the output", origin)
    return value, gradient, size, width


def _trace(loss: Bound) -> _Traced:
    found = _traced.get(loss)
    if found is None:
        with _lock:
            found = _traced.get(loss) or _traced.setdefault(loss, _programs(loss))
    return found


def _programs(loss: Bound) -> _Traced:
    graph = Graph(scalar_inputs=False)
    value, gradient, size, width = _equations(loss, graph)
    o = graph.leaf("input", "o", gradient.shape, "step")
    value_only = Program({"value": value})
    both = {"value": value, "gradient": gradient}
    with pinned_origin(gradient.origin):
        moved = tangent([gradient], {o: graph.leaf("input", "do", o.shape, "step")}).get(gradient.id)
    second = {**both, "second": graph.const(0.0) if moved is None else moved}
    constants = {("array", key): array for key, array in graph.arrays.items()}
    return _Traced(value_only, Program(both), Program(second), constants, size.root().number, width.root().number)


def check_outputs(loss: Bound, outputs: int) -> None:
    """Raise `InputError` where the equations of a loss are of another number of outputs."""
    wanted = _trace(loss).outputs
    if wanted not in (None, outputs):
        raise InputError(f"the equations of loss {loss.name!r} are of {wanted} outputs, the network has {outputs}")


def width_of(loss: Bound, outputs: int) -> int:
    """Numbers of a target that a loss reads beside so many outputs; classes as it reads them."""
    return _trace(loss).width or outputs


class _Sizes(dict):
    """Every size of a loss that its equations do not fix is the number of outputs."""

    def __init__(self, n: int):
        self.n = n

    def __missing__(self, key):
        fixed = key.root().number if isinstance(key, Dim) else key
        return fixed if isinstance(fixed, int) else self.n


def value_and_gradient(
    loss: Bound, o: np.ndarray, target: np.ndarray, gradient: bool = True, backend: Backend | None = None
):  # fmt: skip
    """Loss of every row (rows,), float64, and its gradient (rows, outputs) or None."""
    many = o.size >= _COMPILED or backend is not None and o.size  # elsewhere every operation is a launch
    if gradient and many and o.dtype == target.dtype and str(o.dtype) in ("float32", "float64"):
        backend = backend or backend_of("cpu")
        o, target = map(backend.xp.ascontiguousarray, (o, target))
        each, gradients = loss_of_rows(loss_step(loss, _equations), o, target, backend)
        return each.astype(np.float64), gradients
    traced = _trace(loss)
    leaves = {**_constants(traced, o), ("input", "o"): o, ("input", "target"): target}
    values = (traced.both if gradient else traced.value)(leaves, _Sizes(o.shape[1]))
    each = np.broadcast_to(values["value"], (len(o),))
    if not gradient:
        return each, None
    return each, np.broadcast_to(values["gradient"], o.shape)


def _constants(traced: _Traced, o: Any) -> dict[tuple[str, str], Any]:
    """The fixed arrays of a loss where the outputs are, in their dtype."""
    device = device_of(o)
    xp = namespace(None if device is None else backend_of(device))
    return {key: xp.asarray(array, o.dtype) for key, array in traced.constants.items()}


def second_derivative(loss: Bound, o: np.ndarray, do: np.ndarray, target: np.ndarray):
    """Loss of every row (rows,), its gradient, and the product of its Hessian with `do`, each (rows, outputs)."""
    traced = _trace(loss)
    leaves = {**_constants(traced, o), ("input", "o"): o, ("input", "do"): do, ("input", "target"): target}
    values = traced.second(leaves, _Sizes(o.shape[1]))
    return np.broadcast_to(values["value"], (len(o),)), values["gradient"], values["second"]


def target_rows(loss: Bound, target, net, batch) -> np.ndarray:
    """Targets of the rows that the loss reads, as (rows, width) numbers; classes one-hot.

    Raises
    ------
    InputError
        Wrong shape or type, or a class outside the outputs.
    """
    outputs = net.outputs or net.features
    width = width_of(loss, outputs)
    one, target = not net.per_step, listed(target)
    classes = loss.component.target == "class"
    several = isinstance(target, (list, tuple)) and not one and len(target) > 0
    if several and np.ndim(target[0]) == (1 if classes else 2):
        target = _joined(target, batch, classes, width)
    else:
        target = as_array(target, "target", backend=batch.backend)
        lead = (batch.size,) if one else (batch.size, batch.time)
        want = lead if classes else (*lead, width)
        if target.shape != want:
            kind = "class targets" if classes else "targets"
            raise InputError(f"{kind} of loss {loss.name!r} must have shape {want}, got {target.shape}")
        if not one:
            target = chosen(target, batch.inside)
    if classes and not target.size:
        target = target.astype(np.int64)  # an empty list says nothing of its type
    if target.dtype.kind not in ("iu" if classes else "fiub") and target.size:
        wanted = "integers" if classes else "numbers"
        raise InputError(f"targets of loss {loss.name!r} must be {wanted}, got {target.dtype}")
    if not classes:
        return target
    if target.size and (target.min() < 0 or target.max() >= outputs):
        bad = int(target[(target < 0) | (target >= outputs)][0])
        raise InputError(f"class targets must lie in 0..{outputs - 1}, got {bad}")
    return target


def _joined(target, batch, classes: bool, width: int) -> np.ndarray:
    if len(target) != batch.size:
        raise InputError(f"{len(target)} target sequences are given for {batch.size} input sequences")
    parts = []
    inside = None if batch.segments is None else batch.inside
    steps = batch.counts if batch.form == "list" else np.full(batch.size, batch.time)
    for k, (part, n, m) in enumerate(zip(target, batch.lengths.tolist(), steps)):
        part = as_array(part, f"the target of sequence {k}", backend=batch.backend)
        want = (n,) if classes else (n, width)
        if part.shape[:1] == (m,):  # as long as its input: what is past the length is not read
            part = part[:n]
        if inside is not None and len(part) == n:
            part, want = chosen(part, inside[k, :n]), (int(inside[k].sum()), *want[1:])
        if part.shape != want:
            raise InputError(f"targets of sequence {k} must have shape {want}, got {part.shape}")
        parts.append(part)
    return namespace(batch.backend).concatenate(parts)


def _one_hot(target: np.ndarray, outputs: int, dtype, backend: Backend | None = None) -> np.ndarray:
    backend = backend or backend_of("cpu")
    full = backend.zeros((len(target), outputs), dtype)
    full[backend.xp.arange(len(target)), target] = 1
    return full


def check_reduction(reduction: str) -> None:
    """Raise `InputError` unless `reduction` is ``"mean"`` or ``"sum"``."""
    if reduction not in ("mean", "sum"):
        raise InputError(f"reduction must be 'mean' or 'sum', got {reduction!r}")


def reduced(each: np.ndarray, reduction: str) -> float:
    """The mean or the sum of the losses of all rows, in float64; 0 where there is none."""
    if not len(each):
        return 0.0
    return float(each.mean(dtype=np.float64) if reduction == "mean" else each.sum(dtype=np.float64))


def compared(loss: Bound, target, net, batch, dtype) -> np.ndarray:
    """Target rows as a loss reads them: numbers as they are, classes one-hot."""
    check_outputs(loss, net.outputs or net.features)
    rows, backend = target_rows(loss, target, net, batch.out), batch.backend
    if loss.component.target == "class":
        return _one_hot(rows, net.outputs or net.features, dtype, backend)
    return rows if backend is None else backend.xp.asarray(rows, dtype)  # compiled there, in one precision


def task_of(net, params, x, target, loss, lengths, state, reduction, seed, teacher_forcing, given):
    """What a loss and its derivatives are taken of: the loss, the batch with what it is taught, and target rows."""
    from .teaching import lesson, ratio_of

    check_reduction(reduction)
    bound = as_loss(loss)
    batch = net._batch(params, x, lengths, state, target, "never", **given)
    rows = compared(bound, target, net, batch, params.dtype)
    ratio = ratio_of("always" if teacher_forcing is None and batch.writing is not None else teacher_forcing)
    batch.lesson = lesson(net, batch, rows, ratio, seed, params.dtype)
    return bound, batch, rows


def network_loss(net, params, x, target, loss, lengths, state, reduction, **given) -> float:
    """The value alone (see `Network.loss`)."""
    from .execute import infer_rows

    check_reduction(reduction)
    bound = as_loss(loss)
    batch = net._batch(params, x, lengths, state, target, **given)
    rows = compared(bound, target, net, batch, params.dtype)
    o, _ = infer_rows(net, params, batch)
    each, _ = value_and_gradient(bound, o, rows, False)
    return reduced(each, reduction)


def loss_grads_and_state(
    net, params, x, target, loss, lengths=None, state=None, reduction="mean", seed=None, teacher_forcing=None,
    checkpoint=None, **given,
):  # fmt: skip
    """Value and gradient (see `Network.loss_and_grad`), and the final state."""
    from .execute import backward_rows, for_caller, forward_rows

    bound, batch, rows = task_of(net, params, x, target, loss, lengths, state, reduction, seed, teacher_forcing, given)
    batch.checkpoint = as_checkpoint(checkpoint)
    o, final, tape = forward_rows(net, params, batch, seed)
    try:
        each, gradient = value_and_gradient(bound, o, rows, True, batch.backend)
        do = backend_of(params.device).empty(gradient.shape, params.dtype)
        np.divide(gradient, max(len(o), 1) if reduction == "mean" else 1, out=do, casting="same_kind")
        grads = backward_rows(net, params, tape, do)
    finally:
        tape.release()
    return reduced(each, reduction), grads, for_caller(batch, final)
