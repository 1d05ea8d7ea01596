"""Directional derivatives of whole sequences: Jacobian times vector, and Hessian times vector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .backends import backend_of, device_of
from .dual import Directed, DualPass, halves
from .errors import InputError
from .execute import backward_rows, for_caller, forward_rows, infer
from .inputs import Batch, Tokens, as_checkpoint, as_state
from .objective import reduced, second_derivative, task_of
from .params import Params
from .plan.tangent import dotted
from .vectors import batch_of

__all__ = ["network_hvp", "network_jvp"]


def network_jvp(net, params, x, dparams, dx, dstate, lengths, state, seed, target, teacher_forcing, **given):
    """Values and directional derivatives (see `Network.jvp`)."""
    batch = net._batch(params, x, lengths, state, target, teacher_forcing, seed, **given)
    dparams = None if dparams is None else _direction(net, params, dparams, "dparams")
    moved = _input_directions(net, params, batch, x, dx, given["steps"])
    dstart = _start_directions(net, batch, dstate)
    directed = Directed(net, params, dparams, frozenset(moved))
    both, final = infer(directed, directed.params, directed.batch(batch, moved, dstart), seed=seed, kind=DualPass)
    y, dy = halves(both)
    ends, dends = ({path: final[name(path)] for path in net.state_shapes} for name in (str, dotted))
    y, dy, ends, dends = (for_caller(batch, result) for result in (y, dy, ends, dends))
    return y, dy, ends, dends


def network_hvp(
    net, params, x, target, direction, loss, lengths, state, reduction, seed, teacher_forcing, checkpoint, **given
):  # fmt: skip
    """Value, gradient and Hessian-vector product of a loss (see `Network.hvp`)."""
    bound, batch, rows = task_of(net, params, x, target, loss, lengths, state, reduction, seed, teacher_forcing, given)
    batch.checkpoint = as_checkpoint(checkpoint)
    direction = _direction(net, params, direction, "direction")
    directed = Directed(net, params, direction, frozenset())
    both, _, tape = forward_rows(directed, directed.params, directed.batch(batch, {}, {}), seed, DualPass)
    try:
        each, first, second = second_derivative(bound, *halves(both), rows)
        scale = 1 / len(both) if reduction == "mean" and len(both) else 1.0
        shape = len(both), both.shape[1] // 2
        xp = backend_of(params.device).xp
        back = xp.concatenate([xp.broadcast_to(g, shape) * scale for g in (second, first)], 1)
        grads = backward_rows(directed, directed.params, tape, back.astype(params.dtype))
    finally:
        tape.release()
    hessian, gradient = (Params.zeros(net.shapes, params.dtype, params.device) for _ in range(2))
    for path, twin in directed.twins.items():
        hessian[path], gradient[path] = grads[path], grads[twin]
    return reduced(each, reduction), gradient, hessian


def _direction(net, params: Params, given, what: str) -> Params:
    """A direction in the space of the parameters, in their dtype."""
    if isinstance(given, np.ndarray) or device_of(given) is not None:
        if given.shape != params.flat.shape:
            raise InputError(f"{what} must have the shape of params.flat, {params.flat.shape}, got {given.shape}")
        given = params.with_flat(given.astype(params.dtype) if isinstance(given, np.ndarray) else given)
    if not isinstance(given, Params):
        raise InputError(f"{what} must be rn.Params or a vector such as params.flat, got {type(given).__name__}")
    if given.shapes != params.shapes:
        raise InputError(f"{what} must have the layout of params; it has {', '.join(given)}")
    if given.device != params.device:
        raise InputError(f"{what} is on {given.device!r}, the parameters are on {params.device!r}")
    return given if given.dtype == params.dtype else given.astype(params.dtype)


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
    other = batch_of(net, params.dtype, whole, None, steps if net.counts_steps else None, backend=batch.backend)
    same = other.form == batch.form and other.time == batch.time and np.array_equal(other.base, batch.base)
    if not same:
        raise InputError("dx must have the shape of x, sequence by sequence")
    return {n: other.arrays[n] if other.vector is None else other.vector for n in given}


def _start_directions(net, batch: Batch, dstate) -> dict[str, np.ndarray]:
    """Directions of initial states: of those that something else makes, only where they are given instead."""
    directions, given = as_state(net, batch.size, dstate, batch.backend) or {}, batch.state or {}
    made = {*batch.bridged, *(path for path, *_ in net.block.handed("", net.fed) if path not in given)}
    for path in directions:
        if path in made:
            raise InputError(
                f"the initial state {path!r} is made of what the network reads, and moves with that: "
                "give its value in state= if it shall have a direction of its own"
            )
    return directions
