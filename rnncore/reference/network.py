"""Whole sequences through a network, forward and back: the calls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .passes import Run
from .translation import Written

__all__ = ["run", "gradients"]


def _prepare(net, params, x, lengths, state, steps):
    """Inputs as float64 or complex128 arrays (tokens one-hot), lengths and initial states."""
    xs, lengths = net.as_padded(x, lengths, steps, state)
    given = [*params.values(), *xs.values(), *(state or {}).values()]
    kind = complex if any(np.iscomplexobj(a) for a in given) else float
    xs = {k: np.where(_mask(lengths, v), v, 0).astype(kind) for k, v in xs.items()}
    start = {}
    vector = np.eye(net.sizes["x"])[np.asarray(x)] if net.feed == "state" and np.ndim(x) == 1 else x
    for path, shape in net.state_shapes.items():
        if state is not None and path in state:
            start[path] = np.asarray(state[path]).astype(kind)
        elif net.feed == "state":
            start[path] = vector @ params[f"bridge.W_{path}"].T + params[f"bridge.b_{path}"]
        else:
            learned = params[path + "0"] if path + "0" in params else np.zeros(shape)
            start[path] = np.broadcast_to(learned, (len(lengths), *shape)).astype(kind)
    return xs, lengths, start


def _numbers(value) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(complex if np.iscomplexobj(array) else float)


def _mask(lengths, x):
    return (np.arange(x.shape[1]) < lengths[:, None])[:, :, None]


def run(net, params: Mapping[str, np.ndarray], x, *, lengths=None, state=None, written: Written | None = None,
        steps: int | None = None):  # fmt: skip
    """The network's output and final state.

    Parameters
    ----------
    net : Network
    params : mapping of str to array, float64 or complex128
    x, lengths, state
        As for ``net(params, x, lengths=, state=)``; complex inputs are allowed.
    written : Written, optional
        What a decoder writes.

    Returns
    -------
    y : ndarray
        (batch, time, features) or, many-to-one, (batch, features).
    state : dict of str to ndarray
    """
    xs, lengths, start = _prepare(net, params, x, lengths, state, steps)
    pass_ = Run(params, lengths, start, written, steps)
    y, last, _ = pass_.forward(net.block, "", xs, net.fed)
    return _readout(net, params, y, last, lengths), pass_.final


def _readout(net, params, y, last, lengths):
    out = y if net.per_step else last
    if net.outputs is None:
        return out
    o = out @ params["readout.V"].T + params["readout.c"]
    return np.where(_mask(lengths, o), o, 0) if net.per_step else o


def gradients(net, params: Mapping[str, np.ndarray], x, dy, *, lengths=None, state=None, dstate=None, written=None):
    """Adjoints of the inputs, of the initial state and of the parameters: BPTT step by step.

    Numbers may be complex: with a complex step in parameters, inputs or adjoints the imaginary parts of the gradients
    are their directional derivatives, products of a Hessian.

    Returns
    -------
    dx : dict of str to ndarray
        By input name, (batch, time, features).
    dstate : dict of str to ndarray
    grads : dict of str to ndarray
    """
    xs, lengths, start = _prepare(net, params, x, lengths, state, None)
    pass_ = Run(params, lengths, start, written)
    y, last, tape = pass_.forward(net.block, "", xs, net.fed)
    one = not net.per_step
    dy = _numbers(dy)
    if not one:
        dy = np.where(_mask(lengths if written is None else written.lengths, dy), dy, 0)
    if net.outputs is not None:
        rows = dy.reshape(-1, dy.shape[-1])
        pass_.grads["readout.V"] = rows.T @ (last if one else y).reshape(len(rows), -1)
        pass_.grads["readout.c"] = rows.sum(0)
        dy = dy @ params["readout.V"]
    dlast = dy if one else np.zeros_like(last)
    dys = np.zeros_like(y) if one else dy
    dfinal = {k: np.zeros_like(v) for k, v in start.items()}
    for path, value in (dstate or {}).items():
        dfinal[path] = _numbers(value)
    dxs = pass_.backward(net.block, "", dys, dlast, tape, dfinal)
    for path, d in pass_.dstate.items():
        if path + "0" in params:
            given = state is not None and path in state
            pass_.grads[path + "0"] = np.zeros(d.shape[1:]) if given else d.sum(0)
    return dxs, pass_.dstate, pass_.grads
