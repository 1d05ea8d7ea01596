"""Measure how gradients flow through a network on given data."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import whole
from ..combine.blocks import reads_backward
from ..errors import InputError
from ..execute import backward_rows, forward_rows
from ..inputs import Batch, as_array, hosted
from ..lang.ops import OPS
from ..objective import reduced, second_derivative, task_of
from ..params import Params
from .record import Course, Record
from .result import Diagnosis
from .spectrum import Carrier
from .watched import Loops, WatchedPass, gates_of

__all__ = ["diagnose"]


def diagnose(
    net, params, x=None, target=None, *, loss=None, dy=None, lengths=None, state=None, seed=None, teacher_forcing=None,
    mask=None, reset=None, steps=None, target_lengths=None, at: Any = 5, sequence: int = 0, exponents: int = 4,
    threshold: float = 0.05,
) -> Diagnosis:  # fmt: skip
    """Show how gradients flow: their size at every step, what a step does to a small change, which gates are shut.

    Everything is computed in float64 on the CPU, whatever the parameters are in: what vanishes is still a number.

    Parameters
    ----------
    net : Network
    params : Params
    x : as for a call
    target, loss
        As for ``net.loss_and_grad``: L is the sum of the loss over steps and sequences.
    dy : array_like, shape of y, optional
        Instead of a target: the gradient of L with respect to y. Without both, L = sum(y_T ** 2) / 2 over each
        sequence's last output y_T; over all outputs where a network with an output at every step reads backward.
    lengths, state, seed, teacher_forcing, mask, reset, steps, target_lengths
        As for ``net.loss_and_grad``.
    at : int or sequence of int
        Steps of a loop, counted from 0 in the order in which it runs, of which the Jacobian of the new by the old
        state is taken; a number: so many, evenly spread. A loop with fewer steps than others gives those it has.
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
        that cannot be.

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
    many = _at_least("exponents", exponents, 0)
    if not 0 < threshold < 0.5:
        raise InputError(f"threshold must lie between 0 and 0.5, got {threshold!r}")
    net.check_params(params)
    exact, bound, wanted = params.to("cpu").astype("float64"), None, None
    x, target, dy, state = map(hosted, (x, target, dy, state))
    given = {"mask": mask, "reset": reset, "steps": steps, "target_lengths": target_lengths}
    if loss is not None:
        taught = seed, teacher_forcing, given
        bound, batch, wanted = task_of(net, exact, x, target, loss, lengths, state, "sum", *taught)
    else:
        batch = net._batch(exact, x, lengths, state, None, teacher_forcing, seed, **given)
    if _at_least("sequence", sequence, 0) >= max(batch.size, 1):
        raise InputError(f"sequence must be one of the {batch.size} that are given, got {sequence}")
    lead = None if dy is None else _rows_of(dy, net, batch)
    most = _at_most(net, batch, sequence)
    _chosen(at, most, most)  # refused here, if it cannot be
    value, records = _through(net, exact, batch, seed, bound, wanted, lead)
    found = Diagnosis(value, {}, {}, {}, {}, {}, {}, threshold)
    for prefix, record in records.items():
        _add_flow(found, prefix, record)
        if batch.size and record.before:
            _add_spectra(found, prefix, Carrier(record, sequence), at, most, many)
    return found


def _at_most(net, batch: Batch, sequence: int) -> int:
    """Steps of a sequence in the longest of the loops that it goes through."""
    return max((int(b.inside[sequence].sum()) for b in (batch, batch.out)), default=0) if batch.size else 0


def _add_flow(found: Diagnosis, prefix: str, record: Record) -> None:
    """What a loop's gradients and gates are."""
    for s, rows in record.gradients.items():
        found.gradient_norms[prefix + s] = _over_time(rows, record.course)
    for name, node in gates_of(record.layer.step).items():
        found.saturation[prefix + name] = _saturation(record.gates[name], OPS[node.op].limits, found.threshold)


def _add_spectra(found: Diagnosis, prefix: str, carrier: Carrier, at, most: int, many: int) -> None:
    """What a loop does to a small change of its state."""
    chosen = found.steps[prefix] = _chosen(at, carrier.count, most)
    jacobians = carrier.jacobians(chosen)
    found.singular_values[prefix] = np.linalg.svd(jacobians, compute_uv=False)
    moduli = np.abs(np.linalg.eigvals(jacobians)) if len(chosen) else np.zeros((0, carrier.size))
    found.eigenvalue_moduli[prefix] = np.sort(moduli, -1)[:, ::-1]
    found.lyapunov_exponents[prefix] = carrier.exponents(many)


def _through(net, params: Params, batch: Batch, seed, bound, wanted, dy) -> tuple[float, dict[str, Record]]:
    """Forward and back, every loop watched: the value of L (NaN where `dy` is given), what the loops did."""
    loops = Loops(net)
    o, _, tape = forward_rows(loops, params, loops.batch(batch), seed, WatchedPass)
    try:
        value, do = _seed(bound, o, wanted, dy, net, batch)
        backward_rows(loops, params, tape, do)
    finally:
        tape.release()
    return value, tape.pass_.records


def _seed(bound, o: np.ndarray, target, dy, net, batch: Batch) -> tuple[float, np.ndarray]:
    """The value of L and its gradient with respect to the output rows."""
    if bound is not None:
        each, gradient, _ = second_derivative(bound, o, np.zeros_like(o), target)
        return reduced(each, "sum"), np.array(np.broadcast_to(gradient, o.shape), "float64")
    if dy is not None:
        return float("nan"), dy
    do = o.copy()
    if net.per_step and not reads_backward(net.block):
        last, counts = np.zeros(len(o), bool), batch.out.inside.sum(1)
        last[(np.cumsum(counts) - 1)[counts > 0]] = True
        do[~last] = 0
    return float((do * do).sum() / 2), do


def _rows_of(dy, net, batch: Batch) -> np.ndarray:
    width = net.outputs or net.features
    want = (batch.size, batch.out.time, width) if net.per_step else (batch.size, width)
    array = as_array(dy, "dy")
    if array.shape != want or array.dtype.kind not in "fiub":
        raise InputError(f"dy must be numbers in the shape of y, {want}, got {array.dtype} in {array.shape}")
    array = array.astype("float64")
    return array[batch.out.inside] if net.per_step else array


def _over_time(rows: np.ndarray, course: Course) -> np.ndarray:
    """Norms of rows as (batch, time) in the order of the loop, NaN where no step counts."""
    norms = np.full((len(course.counts), course.time), np.nan)
    norms.reshape(-1)[course.at] = np.linalg.norm(rows, axis=1)
    return norms


def _saturation(values: np.ndarray, limits: tuple[float, ...], threshold: float) -> dict[float, float]:
    """Share of the outputs near each limit."""
    return {limit: float((np.abs(values - limit) < threshold).mean()) if values.size else np.nan for limit in limits}


def _chosen(at, count: int, most: int) -> np.ndarray:
    """Of the steps `at`, which some loop has, those of a loop with `count`."""
    if not isinstance(at, (list, tuple, np.ndarray, range)):
        many = min(_at_least("at", at, 0), count)
        return np.unique(np.linspace(0, count - 1, many).round().astype(np.int64)) if many else np.zeros(0, np.int64)
    chosen = as_array(at, "at")
    if chosen.ndim != 1 or chosen.size and (chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= most):
        raise InputError(f"at must be integers from 0 to {most - 1}, the steps of the sequence, got {at!r}")
    return chosen[chosen < count].astype(np.int64)


def _at_least(what: str, value, least: int) -> int:
    number = whole(value, least)
    if number is None:
        raise InputError(f"{what} must be an integer of at least {least}, got {value!r}")
    return number
