"""Inputs that are no sequences: one vector a sequence, or none at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .arguments import whole
from .backends import Backend, backend_of, namespace, zeros_beside
from .errors import InputError
from .inputs import Batch, Tokens, as_array, as_batch, as_lengths, as_numbers, by_name

if TYPE_CHECKING:
    from .params import Params

__all__ = ["batch_of", "bridge", "bridge_back", "bridge_names", "bridge_parameters", "spread_back"]


def batch_of(net, dtype, x, lengths, steps=None, state=None, backend: Backend | None = None) -> Batch:
    """Check what is given for the inputs, of sequences or not, and lay it out, where `backend` has its numbers.

    Raises
    ------
    InputError
        Anything does not fit the network (see `as_batch`).
    """
    count = _steps(net, steps)
    if net.inputs is None:
        if x is not None:
            raise InputError(f"this network has no inputs, so x must be None, got {type(x).__name__}")
        return _without_inputs(_batch_size(state, lengths), count, lengths, backend)
    if not net.reads_vectors:
        return as_batch(net, dtype, x, lengths, backend)
    vectors, xp = _vectors(net, by_name(net, x), dtype is None, backend), namespace(backend)
    if net.feed == "state":
        batch = _without_inputs(len(vectors["x"]), count, lengths, backend)
        v = vectors["x"] if not isinstance(net.inputs, Tokens) else xp.eye(net.inputs.size)[vectors["x"]]
        batch.vector = xp.ascontiguousarray(v, dtype)
    else:
        batch = as_batch(net, dtype, _spread(net, vectors, count, xp), lengths, backend)
    batch.single = not isinstance(x, Mapping)
    return batch


def _batch_size(state, lengths) -> int:
    """Of a network without inputs: that of the state, else of the lengths, else 1."""
    first = next(iter(state.values()), None) if isinstance(state, Mapping) else None
    for what, value in (("state", first), ("lengths", lengths)):
        if value is not None:
            shape = value.shape if hasattr(value, "shape") else as_array(value, what).shape
            return shape[0] if shape else 1
    return 1


def _without_inputs(size: int, time: int, lengths, backend: Backend | None) -> Batch:
    full = lengths is None
    counts = np.full(size, time, np.int64) if full else as_lengths(lengths, size, time, of="y")
    return Batch({}, np.arange(size, dtype=np.int64) * time, counts, time, "padded", full, backend=backend)


def _steps(net, steps) -> int:
    """The number of steps of a call.

    Raises
    ------
    InputError
        It is missing, negative or no integer, or `x` says it already.
    """
    if not net.counts_steps:
        if steps is not None:
            raise InputError(f"steps={steps!r} is for networks without inputs and one-to-many; here x has the steps")
        return 1
    if steps is None:
        kind = "without inputs" if net.inputs is None else "one-to-many"
        raise InputError(f"a network {kind} needs the number of steps: give steps=")
    number = whole(steps, 0)
    if number is None:
        raise InputError(f"steps must be an integer of at least 0, got {steps!r}")
    return number


def _vectors(net, given: Mapping[str, Any], complex_too: bool, backend: Backend | None) -> dict[str, Any]:
    """Inputs of one vector (or token) a sequence, checked.

    Raises
    ------
    InputError
        Wrong shape or type; different numbers of sequences; a token out of range.
    """
    checked: dict[str, np.ndarray] = {}
    for name, value in given.items():
        tokens = isinstance(net.inputs, Tokens) and name == "x"
        array = as_numbers(value, f"input {name!r}", tokens, complex_too, backend)
        features = net.sizes[name]
        want = "(batch,)" if tokens else f"(batch, {features})"
        if array.ndim != (1 if tokens else 2) or (not tokens and array.shape[1] != features):
            raise InputError(f"input {name!r} of a {net.mode} network must have shape {want}, got {array.shape}")
        if checked and len(array) != len(next(iter(checked.values()))):
            other = next(iter(checked))
            raise InputError(f"input {name!r} has {len(array)} sequences, input {other!r} has {len(checked[other])}")
        if tokens and array.size and (array.min() < 0 or array.max() >= features):
            bad = int(array[(array < 0) | (array >= features)][0])
            raise InputError(f"tokens must lie in 0..{features - 1}, got {bad}")
        checked[name] = array
    return checked


def _spread(net, vectors: Mapping[str, Any], steps: int, xp) -> dict[str, Any]:
    """Vectors as sequences of `steps` steps, as the network's `feed` says."""
    if net.feed != "first":
        return {name: xp.repeat(v[:, None], steps, 1) for name, v in vectors.items()}
    spread = {}
    for name, v in vectors.items():
        if isinstance(net.inputs, Tokens):  # no token is zero
            v = xp.eye(net.inputs.size)[v]
        spread[name] = xp.zeros((len(v), steps, v.shape[1]), v.dtype)
        spread[name][:, :1] = v[:, None]
    return spread


def spread_back(net, d: np.ndarray) -> np.ndarray:
    """Adjoint (batch, features) of a vector, from that of its sequence (batch, steps, features)."""
    return (d[:, :1] if net.feed == "first" else d).sum(1)


# a vector as the initial state
def bridge_parameters(net):
    """(path, shape, role, start, the author's line) of the maps from the vector to each state."""
    for path, (size,) in net.state_shapes.items():
        matrix, bias = bridge_names(path)
        yield matrix, (size, net.sizes["x"]), "input", None, None
        yield bias, (size,), "bias", None, None


def bridge(net, params: Params, batch: Batch) -> dict[str, np.ndarray]:
    """Initial states by name: s_0 = W x + b, and what the caller gives in place of it."""
    affine = backend_of(params.device).affine
    assert batch.vector is not None
    given = batch.state or {}
    batch.bridged = batch.steady = tuple(path for path in net.state_shapes if path not in given)
    return {**given, **{p: affine(batch.vector, *(params[n] for n in bridge_names(p))) for p in batch.bridged}}


def bridge_names(path: str) -> tuple[str, str]:
    """Paths of the matrix and the vector of the map that makes a state."""
    return f"bridge.W_{path}", f"bridge.b_{path}"


def bridge_back(pass_: Any, batch: Batch, dstate: Mapping[str, np.ndarray], grads: Params) -> np.ndarray:
    """Adjoint of the vector, from those of the initial states; adds to the gradients of the maps."""
    assert batch.vector is not None
    dx = zeros_beside(batch.vector, batch.vector.shape)
    for path in batch.bridged:
        d = pass_.backend.xp.ascontiguousarray(pass_.rows_of(dstate, [path]), dx.dtype)
        dx += pass_.affine_back(d, batch.vector, *bridge_names(path), grads)
    return dx
