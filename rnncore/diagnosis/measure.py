"""Measure how gradients flow through a network on given data."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import whole
from ..combine.blocks import reads_backward
from ..cpu.dense import affine, affine_backward
from ..dual import dual_block
from ..errors import InputError
from ..inputs import as_array
from ..lang.ops import OPS
from ..layout import Rows
from ..objective import as_loss, reduced, second_derivative, target_rows
from ..params import Params
from ..passes import loops_of
from ..writing import refuse_decoder
from .result import Diagnosis
from .spectrum import Carrier
from .watched import Record, WatchedPass, gates_of

__all__ = ["diagnose"]


def diagnose(
    net, params, x=None, target=None, *, loss=None, dy=None, lengths=None, state=None, steps=None, at: Any = 5,
    sequence: int = 0, exponents: int = 4, threshold: float = 0.05,
) -> Diagnosis:  # fmt: skip
    """Show how gradients flow: their size at every step, what a step does to a small change, which gates are shut.

    Everything is computed in float64, whatever the parameters are in: what vanishes is still a number.

    Parameters
    ----------
    net : Network
        Of layers stacked, side by side or reversed, with an output at every step or at the end.
    params : Params
    x : as for a call
    target, loss
        As for ``net.loss_and_grad``: L is the sum of the loss over steps and sequences.
    dy : array_like, shape of y, optional
        Instead of a target: the gradient of L with respect to y. Without both, L = sum(y_T ** 2) / 2 over each
        sequence's last output y_T; over all outputs where a network with an output at every step reads backward.
    lengths, state, steps
        As for a call.
    at : int or sequence of int
        Steps of a loop, counted from 0 in the order in which it runs, of which the Jacobian of the new by the old
        state is taken; a number: so many, evenly spread.
    sequence : int
        The sequence whose Jacobians and Lyapunov exponents are taken.
    exponents : int
        How many Lyapunov exponents; 0 for none.
    threshold : float
        A gate is saturated within this distance of a limit.

    Returns
    -------
    Diagnosis
        Arrays; ``print`` it, or ``.plot("picture.png")``.

    Raises
    ------
    InputError
        As of ``net.loss_and_grad``; both of `target` and `dy`; an `at`, `sequence`, `exponents` or `threshold`
        that cannot be; a decoder, or ``feed="state"``.

    Examples
    --------
    >>> import numpy as np, rnncore as rn
    >>> net = rn.Network(rn.cells.lstm(8), inputs=2)
    >>> x = np.random.default_rng(0).standard_normal((3, 50, 2))
    >>> d = rn.diagnose(net, net.init(), x)
    >>> d.gradient_norms["c"].shape, d.singular_values[""].shape
    ((3, 50), (5, 16))
    """
    if target is not None and dy is not None:
        raise InputError("give a target and a loss, or dy, not both")
    if (target is None) != (loss is None):
        raise InputError("a target and a loss belong together: give both or none")
    if net.feed == "state":
        raise InputError("there is no diagnosis of a network with feed='state'")
    refuse_decoder(net, "diagnose looks into")
    dual_block(net.block, frozenset(), False)  # what has no directional derivative is refused here
    net.check_params(params)
    many = _at_least("exponents", exponents, 0)
    if not 0 < threshold < 0.5:
        raise InputError(f"threshold must lie between 0 and 0.5, got {threshold!r}")
    exact = params.astype("float64")
    batch = net._batch(exact, x, lengths, state, steps=steps)
    if _at_least("sequence", sequence, 0) >= max(batch.size, 1):
        raise InputError(f"sequence must be one of the {batch.size} that are given, got {sequence}")
    pass_ = WatchedPass(net, exact, batch)
    value = _through(net, exact, batch, pass_, target, loss, dy)
    chosen = _chosen(at, int(batch.lengths[sequence]) if batch.size else 0)
    found = Diagnosis(value, {}, chosen, {}, {}, {}, {}, threshold)
    for prefix, record in pass_.records.items():
        for s, rows in record.gradients.items():
            found.gradient_norms[prefix + s] = _over_time(rows, record, batch.time)
        for name, node in gates_of(record.layer.step).items():
            found.saturation[prefix + name] = _saturation(record.gates[name], OPS[node.op].limits, threshold)
        if batch.size:
            carrier = Carrier(record, int(record.lengths[:sequence].sum()), int(record.lengths[sequence]), sequence)
            jacobians = carrier.jacobians(chosen)
            found.singular_values[prefix] = np.linalg.svd(jacobians, compute_uv=False)
            moduli = np.abs(np.linalg.eigvals(jacobians)) if len(chosen) else np.zeros((0, carrier.size))
            found.eigenvalue_moduli[prefix] = np.sort(moduli, -1)[:, ::-1]
            found.lyapunov_exponents[prefix] = carrier.exponents(many)
    return found


def _through(net, params: Params, batch, pass_: WatchedPass, target, loss, dy) -> float:
    """Forward and back, every loop watched; the value of L (NaN where `dy` is given)."""
    one = not net.per_step
    bound = None if loss is None else as_loss(loss)
    wanted = None if bound is None else target_rows(bound, target, net, batch)
    given = None if dy is None else _rows_of(dy, net, batch, one)
    out = None if one else (np.empty((pass_.total, net.features)), 0, pass_.ragged())
    end, node = pass_.run(net.block, "", batch.arrays, Rows(batch.base, 1), net.sizes, out, one)
    try:
        h = end if out is None else out[0]
        o = h if net.outputs is None else affine(h, params["readout.V"], params["readout.c"])
        value, do = _seed(bound, o, wanted, given, batch, one, reads_backward(net.block))
        grads = Params.zeros(params.shapes, "float64")
        back = do
        if net.outputs is not None:
            back = affine_backward(do, h, params["readout.V"], grads["readout.V"], grads["readout.c"])
        pass_.back(node, None if one else (back, 0, pass_.ragged()), back if one else None, (), grads, {})
    finally:
        for loop in loops_of(node):
            loop.release()
    return value


def _seed(bound, o: np.ndarray, target, dy, batch, one: bool, everywhere: bool) -> tuple[float, np.ndarray]:
    """The value of L and its gradient with respect to the output rows."""
    if bound is not None:
        each, gradient, _ = second_derivative(bound, o, np.zeros_like(o), target)
        return reduced(each, "sum"), np.array(np.broadcast_to(gradient, o.shape), "float64")
    if dy is not None:
        return float("nan"), dy
    do = o.copy()
    if not one and not everywhere:
        last = np.zeros(len(o), bool)
        last[(np.cumsum(batch.lengths) - 1)[batch.lengths > 0]] = True
        do[~last] = 0
    return float((do * do).sum() / 2), do


def _rows_of(dy, net, batch, one: bool) -> np.ndarray:
    width = net.outputs or net.features
    want = (batch.size, width) if one else (batch.size, batch.time, width)
    array = as_array(dy, "dy")
    if array.shape != want or array.dtype.kind not in "fiub":
        raise InputError(f"dy must be numbers in the shape of y, {want}, got {array.dtype} in {array.shape}")
    array = array.astype("float64")
    return array if one else array[np.arange(batch.time) < batch.lengths[:, None]]


def _over_time(rows: np.ndarray, record: Record, time: int) -> np.ndarray:
    """Norms of rows as (batch, time) in the order of the loop, NaN past the lengths."""
    norms = np.full((len(record.lengths), time), np.nan)
    at = np.cumsum(record.lengths) - record.lengths
    for b, (first, n) in enumerate(zip(at, record.lengths)):
        norms[b, :n] = np.linalg.norm(rows[first : first + n], axis=1)
    return norms


def _saturation(values: np.ndarray, limits: tuple[float, ...], threshold: float) -> dict[float, float]:
    """Share of the outputs near each limit."""
    return {limit: float((np.abs(values - limit) < threshold).mean()) if values.size else np.nan for limit in limits}


def _chosen(at, count: int) -> np.ndarray:
    if not isinstance(at, (list, tuple, np.ndarray, range)):
        many = min(_at_least("at", at, 0), count)
        return np.unique(np.linspace(0, count - 1, many).round().astype(np.int64)) if many else np.zeros(0, np.int64)
    chosen = as_array(at, "at")
    if chosen.ndim != 1 or chosen.size and (chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= count):
        raise InputError(f"at must be integers from 0 to {count - 1}, the steps of the sequence, got {at!r}")
    return chosen.astype(np.int64)


def _at_least(what: str, value, least: int) -> int:
    number = whole(value, least)
    if number is None:
        raise InputError(f"{what} must be an integer of at least {least}, got {value!r}")
    return number
