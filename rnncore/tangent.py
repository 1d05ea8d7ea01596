"""Directional derivatives of whole sequences: Jacobian times vector, and Hessian times vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .cpu.dense import affine, affine_backward
from .dual import Directed, DualPass
from .errors import InputError
from .inputs import Batch, Tokens, as_state
from .layout import Rows
from .objective import as_loss, check_reduction, reduced, second_derivative, target_rows
from .params import Params
from .passes import loops_of
from .plan.tangent import dotted
from .vectors import batch_of
from .writing import refuse_decoder

__all__ = ["network_hvp", "network_jvp"]


def network_jvp(net, params, x, dparams, dx, dstate, lengths, state, steps=None):
    """Values and directional derivatives (see `Network.jvp`)."""
    refuse_decoder(net, "directional derivatives go through")
    _check_bridge(net)
    batch = net._batch(params, x, lengths, state, steps=steps)
    dparams = None if dparams is None else _direction(net, params, dparams, "dparams")
    moved = _input_directions(net, params, batch, x, dx, steps)
    dstart = as_state(net, batch, dstate) or {}
    directed = Directed(net, params, dparams, frozenset(moved))
    both = _start(net, directed, batch, dstart, dparams)
    pass_ = DualPass(directed, directed.batch(batch, moved, both), training=False)
    one = not net.per_step
    rows, _ = pass_.run_all(one)
    o, do = _readout(net, params, dparams, rows)
    y, dy = (v if one else _padded(v, batch) for v in (o, do))
    final = {path: pass_.final[path] for path in net.state_shapes}
    dfinal = {path: pass_.final[dotted(path)] for path in net.state_shapes}
    return y, dy, final, dfinal


def network_hvp(net, params, x, target, direction, loss, lengths, state, reduction, steps=None):
    """Value, gradient and Hessian-vector product of a loss (see `Network.hvp`)."""
    refuse_decoder(net, "directional derivatives go through")
    check_reduction(reduction)
    _check_bridge(net)
    bound = as_loss(loss)
    batch = net._batch(params, x, lengths, state, steps=steps)
    direction = _direction(net, params, direction, "direction")
    rows = target_rows(bound, target, net, batch)
    directed = Directed(net, params, direction, frozenset())
    pass_ = DualPass(directed, directed.batch(batch, {}, _start(net, directed, batch, {}, direction)), training=True)
    one = not net.per_step
    read, node = pass_.run_all(one)
    try:
        o, do = _readout(net, params, direction, read)
        each, first, second = second_derivative(bound, o, do, rows)
        scale = 1 / len(o) if reduction == "mean" and len(o) else 1.0
        seeds = [np.array(np.broadcast_to(g, o.shape) * scale, params.dtype) for g in (second, first)]
        hessian, gradient = Params.zeros(net.shapes, params.dtype), Params.zeros(net.shapes, params.dtype)
        back = _readout_back(net, params, direction, read, seeds, hessian, gradient)
        grads = Params.zeros(directed.params.shapes, params.dtype)
        dy, dlast = (None, back) if one else ((back, 0, pass_.ragged()), None)
        pass_.back(node, dy, dlast, (), grads, {})
    finally:
        for tape in loops_of(node):
            tape.release()
    _starts_back(pass_, grads)
    for path, twin in directed.twins.items():
        if path in grads:
            hessian[path][...] += grads[path]
            gradient[path][...] += grads[twin]
    return reduced(each, reduction), gradient, hessian


def _direction(net, params: Params, given, what: str) -> Params:
    """A direction in the space of the parameters, in their dtype."""
    if isinstance(given, np.ndarray):
        if given.shape != params.flat.shape:
            raise InputError(f"{what} must have the shape of params.flat, {params.flat.shape}, got {given.shape}")
        given = params.with_flat(given.astype(params.dtype))
    if not isinstance(given, Params):
        raise InputError(f"{what} must be rn.Params or a vector such as params.flat, got {type(given).__name__}")
    if given.shapes != params.shapes:
        raise InputError(f"{what} must have the layout of params; it has {', '.join(given)}")
    return given if given.dtype == params.dtype else given.astype(params.dtype)


def _check_bridge(net) -> None:
    if net.feed == "state":
        raise InputError("directional derivatives do not go through the map that makes the initial state: feed='state'")


def _input_directions(net, params: Params, batch: Batch, x, dx, steps) -> dict[str, np.ndarray]:
    """Directions of the inputs that have one, in the rows of the inputs."""
    if dx is None:
        return {}
    if isinstance(net.inputs, Tokens):
        raise InputError("dx must be None for tokens: integers have no direction")
    names = list(net.sizes)
    given = dict(dx) if isinstance(dx, Mapping) else {names[0]: dx} if len(names) == 1 else {}
    unknown = [n for n in given if n not in names]
    if unknown or not given and not isinstance(dx, Mapping):
        got = unknown or type(dx).__name__
        raise InputError(f"dx must be given by the names of inputs, {', '.join(names)}, got {got}")
    whole = {n: given.get(n, x[n] if isinstance(x, Mapping) else x) for n in names}
    other = batch_of(net, params.dtype, whole, None, steps)
    same = other.form == batch.form and other.time == batch.time and np.array_equal(other.base, batch.base)
    if not same:
        raise InputError("dx must have the shape of x, sequence by sequence")
    return {n: other.arrays[n] for n in given}


def _start(net, directed: Directed, batch: Batch, dstart, dparams) -> dict[str, np.ndarray]:
    """Initial states and their directions: given ones move along `dstart` alone, learned ones with parameters too."""
    start = dict(batch.state or {})
    both: dict[str, Any] = dict(start)
    for path in net.state_shapes:
        if path in start or path in dstart:
            move = dstart.get(path, np.zeros((1, *net.state_shapes[path]), directed.params.dtype))
            if path not in start and dparams is not None and path + "0" in dparams:
                move = move + dparams[path + "0"]
            both[dotted(path)] = np.broadcast_to(move, (batch.size, *net.state_shapes[path]))
    return both


def _readout(net, params, dparams, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and their direction: o = c + V h, do = dc + dV h + V dh."""
    h, dh = _halves(rows)
    if net.outputs is None:
        return h, dh
    V, c = params["readout.V"], params["readout.c"]
    do = affine(dh, V, np.zeros_like(c))
    if dparams is not None:
        do += affine(h, dparams["readout.V"], dparams["readout.c"])
    return affine(h, V, c), do


def _halves(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = rows.shape[1] // 2
    return np.ascontiguousarray(rows[:, :half]), np.ascontiguousarray(rows[:, half:])


def _readout_back(net, params, direction, rows, seeds, hessian: Params, gradient: Params) -> np.ndarray:
    """Adjoint of values and directions that the readout read, from those of the outputs and their direction."""
    if net.outputs is None:
        return np.concatenate(seeds, 1)
    (h, dh), (od, dod) = _halves(rows), seeds
    V, dV = params["readout.V"], direction["readout.V"]
    names = "readout.V", "readout.c"
    nothing = Params.zeros({"readout.c": params["readout.c"].shape}, params.dtype)["readout.c"]
    back = affine_backward(od, h, V, *(hessian[n] for n in names))
    back = back + affine_backward(dod, h, dV, *(gradient[n] for n in names))
    return np.concatenate([back, affine_backward(dod, dh, V, hessian["readout.V"], nothing)], 1)


def _starts_back(pass_: DualPass, grads: Params) -> None:
    given = pass_.batch.state or {}
    for path, d in pass_.dstate.items():
        if path + "0" in grads and path not in given:
            grads[path + "0"][...] += d.sum(0)


def _padded(rows: np.ndarray, batch: Batch) -> np.ndarray:
    """Rows sequence by sequence as (batch, time, features), zero past the lengths."""
    y = np.zeros((batch.size, batch.time, rows.shape[1]), rows.dtype)
    y.reshape(-1, rows.shape[1])[Rows(np.arange(batch.size) * batch.time, 1).index(batch.lengths)] = rows
    return y
