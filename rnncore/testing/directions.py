"""Laws of derivatives along a direction: forward mode, and products of Hessians, against the complex step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import reference
from ..inputs import Tokens
from ..lang import loss, mean
from ..network import Network
from ..params import Params
from .example import Example, close, example, same_bits

__all__ = ["Directions", "check_curvature", "check_directions", "complex_slope", "directions", "squares"]

BOUNDS = {"float32": (1e-4, 1e-3), "float64": (1e-10, 1e-8)}  # first, second derivatives; relative to the largest
_STEP = 1e-30  # of the complex step: no difference is taken, so none is lost


@loss
def squares(o, target):
    """Half the mean of squares: its Hessian is the same everywhere."""
    return 0.5 * mean((o - target) ** 2)


@dataclass(eq=False)
class Directions:
    """Directions of parameters, inputs (None of tokens and where there are none) and initial states."""

    params: Params
    x: Any
    state: dict[str, np.ndarray]


def directions(net: Network, e: Example, seed: int = 1) -> Directions:
    """Random directions for an example.

    Examples
    --------
    >>> import rnncore as rn
    >>> from rnncore.testing import directions, example
    >>> net = rn.Network(rn.cells.vanilla(4), inputs=3)
    >>> d = directions(net, example(net))
    >>> d.x.shape, list(d.state)
    ((5, 7, 3), ['h'])
    """
    rng = np.random.default_rng(seed)
    params = e.params.with_flat(rng.standard_normal(e.params.flat.size).astype(e.params.dtype))
    still = isinstance(net.inputs, Tokens) or net.inputs is None
    x = None if still else _each(e.x, lambda v: rng.standard_normal(np.shape(v)))
    return Directions(params, x, {k: rng.standard_normal(v.shape) for k, v in e.state.items()})


def _each(x: Any, change) -> Any:
    return {k: change(v) for k, v in x.items()} if isinstance(x, Mapping) else change(x)


def _ahead(value: np.ndarray, direction: np.ndarray) -> np.ndarray:
    return np.asarray(value, float) + 1j * _STEP * direction


def _moved(e: Example, d: Directions) -> tuple[dict[str, np.ndarray], Any, dict[str, np.ndarray]]:
    """Parameters, inputs and states a complex step ahead."""
    params = {path: _ahead(value, d.params[path]) for path, value in e.params.items()}
    x = e.x
    if d.x is not None:
        x = {k: _ahead(v, d.x[k]) for k, v in x.items()} if isinstance(x, Mapping) else _ahead(x, d.x)
    return params, x, {k: _ahead(v, d.state[k]) for k, v in e.state.items()}


def complex_slope(net: Network, e: Example, d: Directions):
    """Derivatives of outputs and final states along directions, by the complex step on the reference."""
    params, x, state = _moved(e, d)
    y, final = reference.run(net, params, x, lengths=e.lengths, state=state)
    return y.imag / _STEP, {path: v.imag / _STEP for path, v in final.items()}


def _spoilt(e: Example, x: np.ndarray) -> np.ndarray:
    """x with NaN, or tokens that are none, past the lengths."""
    past = np.arange(x.shape[1]) >= e.lengths[:, None]
    return np.where(past[..., None], np.nan, x) if x.ndim == 3 else np.where(past, -1, x)


def check_directions(net: Network, *, dtype: str = "float64", batch: int = 5, time: int = 7, seed: int = 0) -> None:
    """``net.jvp`` is the complex step of the reference, the transpose of ``net.backward``, and reads no padding."""
    e = example(net, dtype=dtype, batch=batch, time=time, seed=seed)
    d, bound = directions(net, e), BOUNDS[dtype][0]
    found = net.jvp(e.params, e.x, dparams=d.params, dx=d.x, dstate=d.state, **e.given)
    y, y_dot, final, final_dot = found
    x, dx = (None if v is None else _each(v, lambda a: _spoilt(e, a)) for v in (e.x, d.x))
    again = net.jvp(e.params, x, dparams=d.params, dx=dx, dstate=d.state, **e.given)
    same_bits("with NaN past the lengths", again, found)
    plain, _, tape = net.forward(e.params, e.x, **e.given)
    want, want_final = complex_slope(net, e, d)
    close("output beside its direction", y, plain, bound)
    close("direction of the output", y_dot, want, bound)
    for path in want_final:
        close(f"direction of the final {path}", final_dot[path], want_final[path], bound)
    dx, dstate, grads = net.backward(e.params, tape, e.dy, dstate=e.dstate)
    pairs = [(grads.flat, d.params.flat), *((dstate[k], d.state[k]) for k in d.state)]
    if d.x is not None:
        pairs += [(dx[k], d.x[k]) for k in dx] if isinstance(dx, Mapping) else [(dx, d.x)]
    outside = 0 if net.mode == "many-to-one" else np.arange(time)[:, None] >= e.lengths[:, None, None]
    ahead = [(np.where(outside, 0, e.dy), y_dot), *((e.dstate[k], final_dot[k]) for k in final_dot)]
    slopes = [sum(float(np.vdot(a, b)) for a, b in side) for side in (pairs, ahead)]
    size = sum(float(np.abs(a * b).sum()) for a, b in pairs)
    if not abs(slopes[0] - slopes[1]) <= bound * size:
        raise AssertionError(f"slope {slopes[1]:.12g} by the jvp, {slopes[0]:.12g} by the gradients")


def check_curvature(net: Network, *, dtype: str = "float64", batch: int = 5, time: int = 7, seed: int = 0) -> None:
    """``net.hvp`` is the complex step of the reference's gradient, symmetric, beside the gradient itself."""
    e = example(net, dtype=dtype, batch=batch, time=time, seed=seed)
    bound, target = BOUNDS[dtype][1], e.dy if net.mode == "many-to-one" else _spoilt(e, e.dy)
    d, other = (directions(net, e, s) for s in (1, 2))
    given = {"loss": squares, "reduction": "sum", **e.given}
    value, grads, product = net.hvp(e.params, e.x, target, d.params, **given)
    plain, plain_grads = net.loss_and_grad(e.params, e.x, target, **given)
    close("value", np.array([value]), np.array([plain]), bound)
    close("gradient beside the product", grads.flat, plain_grads.flat, bound)
    d.x, d.state = None, {k: np.zeros_like(v) for k, v in d.state.items()}
    params, x, state = _moved(e, d)
    y, _ = reference.run(net, params, x, lengths=e.lengths, state=state)
    _, _, want = reference.gradients(net, params, x, (y - e.dy) / y.shape[-1], lengths=e.lengths, state=state)
    found = np.concatenate([product[path].ravel() for path in want])
    close("product", found, np.concatenate([v.imag.ravel() for v in want.values()]) / _STEP, bound)
    back = net.hvp(e.params, e.x, target, other.params, **given)[2]
    sides = [v.flat.astype(float) * p.flat for v, p in ((other.params, product), (d.params, back))]
    if not abs(sides[0].sum() - sides[1].sum()) <= bound * np.abs(sides[0]).sum():
        raise AssertionError(f"not symmetric: w H v is {sides[0].sum():.12g}, v H w is {sides[1].sum():.12g}")
