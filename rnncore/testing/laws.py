"""Laws that hold for every network: compiled code against the reference, gradients, lengths, chunks, bits."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import reference
from ..combine.blocks import reads_backward
from ..errors import InputError
from ..inputs import Tokens
from ..network import Network
from .directions import check_curvature, check_directions
from .example import Example, close, example, same_bits

__all__ = [
    "CHECKS", "check_bind", "check_checkpoints", "check_chunks", "check_curvature", "check_determinism",
    "check_directions", "check_gradients", "check_inputs_untouched", "check_json", "check_kernel", "check_lengths",
    "check_list", "check_pickle", "check_stream", "check_tape",
]  # fmt: skip

BOUNDS = {"float32": (1e-5, 1e-4), "float64": (1e-12, 1e-10)}  # forward, gradients; relative to the largest number
_STEP = 1e-30  # of the complex step: no difference is taken, so none is lost


def _by_name(net: Network, x: Any) -> dict[str, Any]:
    return dict(x) if isinstance(x, Mapping) else {next(iter(net.sizes)): x}


def _like(net: Network, x: Any, change) -> Any:
    """x with every array changed."""
    return {k: change(v) for k, v in x.items()} if isinstance(x, Mapping) else change(x)


def _back(net: Network, e: Example, **given: Any):
    y, final, tape = net.forward(e.params, e.x, **given)
    return y, final, net.backward(e.params, tape, e.dy, dstate=e.dstate)


def _all_close(what: str, got: Any, want: Any, bound: float) -> None:
    """As `close`, of all arrays in mappings and tuples."""
    if isinstance(want, Mapping):
        got, want = tuple(got.values()), tuple(want.values())
    if isinstance(want, tuple):
        for k, (one, other) in enumerate(zip(got, want, strict=True)):
            _all_close(f"{what} {k}", one, other, bound)
    elif want is not None:
        close(what, got, want, bound)


def check_kernel(
    net: Network, *, dtype: str = "float64", batch: int = 5, time: int = 7, seed: int = 0, device: str = "cpu"
) -> None:  # fmt: skip
    """Inference, the training pass and every gradient agree with the reference interpreter."""
    e = example(net, dtype=dtype, batch=batch, time=time, seed=seed, device=device)
    forward, back = BOUNDS[dtype]
    exact = e.params.to("cpu").astype("float64")
    want, want_final = reference.run(net, exact, e.x, **e.given)
    rdx, rdstate, rgrads = reference.gradients(net, exact, e.x, e.dy, dstate=e.dstate, **e.given)
    y, final = net(e.params, e.x, **e.given)
    kept_y, kept_final, (dx, dstate, grads) = _back(net, e, **e.given)
    close("output", y, want, forward)
    close("output of the training pass", kept_y, want, forward)
    for path in want_final:
        close(f"final {path}", final[path], want_final[path], forward)
        close(f"final {path} of the training pass", kept_final[path], want_final[path], forward)
        close(f"gradient of the initial {path}", dstate[path], rdstate[path], back)
    for path in rgrads:
        close(f"gradient of {path}", grads[path], rgrads[path], back)
    if dx is not None:
        for name, d in _by_name(net, dx).items():
            close(f"gradient of the input {name}", d, rdx[name], back)


def check_gradients(net: Network, *, bound: float = 1e-9, batch: int = 3, time: int = 4, seed: int = 0) -> None:
    """The reference's BPTT agrees with complex-step derivatives along random directions.

    One direction for every parameter, input and initial state; `bound` is relative to the sum of the
    magnitudes of the terms of the directional derivative.
    """
    e = example(net, batch=batch, time=time, seed=seed)
    rng = np.random.default_rng(seed + 1)
    dx, dstate, grads = reference.gradients(net, e.params, e.x, e.dy, dstate=e.dstate, **e.given)
    params, xs = dict(e.params), _by_name(net, e.x)
    if isinstance(net.inputs, Tokens):
        dx = {}
    inside = np.arange(time)[:, None] < e.lengths[:, None, None]
    dy = e.dy if net.mode == "many-to-one" else np.where(inside, e.dy, 0)

    def objective(params, xs, state):
        x = xs if len(xs) > 1 else next(iter(xs.values()))
        y, final = reference.run(net, params, x, lengths=e.lengths, state=state)
        return (y * dy).sum() + sum((final[k] * e.dstate[k]).sum() for k in final)

    for kind, found in (("parameter", grads), ("input", dx), ("initial state", dstate)):
        for name, gradient in found.items():
            direction = rng.standard_normal(gradient.shape)
            moved = [dict(params), dict(xs), dict(e.state)]
            part = moved[("parameter", "input", "initial state").index(kind)]
            if name not in part:
                continue
            part[name] = part[name] + 1j * _STEP * direction
            slope = objective(*moved).imag / _STEP
            found_slope, size = (gradient * direction).sum(), np.abs(gradient * direction).sum()
            if not abs(slope - found_slope) <= bound * size:
                raise AssertionError(f"{kind} {name}: slope {slope:.12g} by complex step, {found_slope:.12g} by BPTT")


def check_lengths(net: Network, *, dtype: str = "float64", device: str = "cpu") -> None:
    """Nothing past a length is read or left: NaN there changes no bit; a sequence alone gives the same."""
    e = example(net, dtype=dtype, device=device)
    clean, called = _back(net, e, **e.given), net(e.params, e.x, **e.given)
    past = np.arange(7) >= e.lengths[:, None]
    if isinstance(net.inputs, Tokens):
        e.x = np.where(past, -1, e.x)
    else:
        e.x = _like(net, e.x, lambda v: np.where(past[..., None], v.dtype.type(np.nan), v))
    if net.mode != "many-to-one":
        e.dy = np.where(past[..., None], e.dy.dtype.type(np.nan), e.dy)
        if np.any(clean[0][past]):
            raise AssertionError("outputs past a length are not zero")
    same_bits("with NaN past the lengths", _back(net, e, **e.given), clean)
    same_bits("inference with NaN past the lengths", net(e.params, e.x, **e.given), called)
    for b, n in enumerate(e.lengths):
        alone = _like(net, e.x, lambda v, b=b, n=n: v[b : b + 1, :n])
        y, final = net(e.params, alone, state={k: v[b : b + 1] for k, v in e.state.items()})
        whole = clean[0][b : b + 1] if net.mode == "many-to-one" else clean[0][b : b + 1, :n]
        close(f"sequence {b} alone", y, whole, BOUNDS[dtype][0])
        for path, value in final.items():
            close(f"final {path} of sequence {b} alone", value[0], clean[1][path][b], BOUNDS[dtype][0])


def check_chunks(net: Network, *, dtype: str = "float64", device: str = "cpu", at: int = 3) -> None:
    """Two chunks of time with the state handed on give what the whole gives, gradients too."""
    if reads_backward(net.block):
        return
    e = example(net, dtype=dtype, device=device)
    e.lengths[:] = np.maximum(e.lengths, at + 1)  # many-to-one: the output is the last chunk's
    forward, back = BOUNDS[dtype]
    y, final, (dx, dstate, grads) = _back(net, e, **e.given)
    first, second = np.minimum(e.lengths, at), e.lengths - at
    one = net.mode == "many-to-one"
    y1, middle, tape1 = net.forward(e.params, _like(net, e.x, lambda v: v[:, :at]), lengths=first, state=e.state)
    y2, end, tape2 = net.forward(e.params, _like(net, e.x, lambda v: v[:, at:]), lengths=second, state=middle)
    close("output in chunks", y2 if one else np.concatenate([y1, y2], 1), y, forward)
    dx2, handed, grads2 = net.backward(e.params, tape2, e.dy if one else e.dy[:, at:], dstate=e.dstate)
    dx1, start, grads1 = net.backward(e.params, tape1, None if one else e.dy[:, :at], dstate=handed)
    close("gradient in chunks", grads1.flat + grads2.flat, grads.flat, back)
    for path in final:
        close(f"final {path} in chunks", end[path], final[path], forward)
        close(f"gradient of the initial {path} in chunks", start[path], dstate[path], back)
    if dx is not None:
        for name, whole in _by_name(net, dx).items():
            parts = [_by_name(net, dx1)[name], _by_name(net, dx2)[name]]
            close(f"gradient of the input {name} in chunks", np.concatenate(parts, 1), whole, back)


def check_checkpoints(net: Network, *, dtype: str = "float64", device: str = "cpu") -> None:
    """A tape of every k-th step's states gives the same bits, and the parameters' gradient to rounding, twice.

    Elsewhere than on the CPU, products over all steps are a library's, which sums as their number has it: all agree to
    rounding.
    """
    e = example(net, dtype=dtype, device=device)
    y, final, (dx, dstate, grads) = _back(net, e, **e.given)
    for every in (1, 3, "sqrt", 100):
        kept_y, kept_final, tape = net.forward(e.params, e.x, checkpoint=every, **e.given)
        first, again = (net.backward(e.params, tape, e.dy, dstate=e.dstate) for _ in range(2))
        whole, stretched = (y, final, dx, dstate), (kept_y, kept_final, *first[:2])
        if device == "cpu":
            same_bits(f"checkpoint={every}", stretched, whole)
        _all_close(f"checkpoint={every}", stretched, whole, BOUNDS[dtype][1])
        same_bits(f"checkpoint={every}, the second backward", again, first)
        for path in grads:
            close(f"gradient of {path} with checkpoint={every}", first[2][path], grads[path], BOUNDS[dtype][1])


def check_inputs_untouched(net: Network, *, dtype: str = "float64", device: str = "cpu") -> None:
    """Read-only arguments are accepted and hold the same bits afterwards."""
    e = example(net, dtype=dtype, device=device)
    arrays = [*_by_name(net, e.x).values(), e.lengths, *e.state.values(), e.dy, *e.dstate.values()]
    arrays += [e.params.flat] if device == "cpu" else []
    before, params = [a.copy() for a in arrays], e.params.copy()
    for a in arrays:
        a.setflags(write=False)
    net(e.params, e.x, **e.given)
    _back(net, e, **e.given)
    same_bits("arguments", arrays, before)
    same_bits("parameters", e.params, params)


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = os.environ.get("RNNCORE_NUM_THREADS")
    os.environ["RNNCORE_NUM_THREADS"] = str(n)
    try:
        yield
    finally:
        os.environ.pop("RNNCORE_NUM_THREADS")
        if before is not None:
            os.environ["RNNCORE_NUM_THREADS"] = before


def check_determinism(net: Network, *, dtype: str = "float32", batch: int = 19) -> None:
    """The same bits call after call, with 1, 2 and 3 threads, on a batch large enough to be shared out."""
    numbers = sum(int(np.prod(s)) for s in net.shapes.values())
    e = example(net, dtype=dtype, batch=batch, time=max(9, min(200, 4_000_000 // (numbers * batch))))
    results = []
    for n in (1, 1, 2, 3):
        with _threads(n):
            results.append((net(e.params, e.x, **e.given), _back(net, e, **e.given)))
    same_bits("a second call", results[1], results[0])
    same_bits("2 threads", results[2], results[0])
    same_bits("3 threads", results[3], results[0])


def check_tape(net: Network, *, dtype: str = "float64", device: str = "cpu") -> None:
    """A tape serves twice, whatever ran in between; a released one is an error."""
    e = example(net, dtype=dtype, device=device)
    _, _, tape = net.forward(e.params, e.x, **e.given)
    first = net.backward(e.params, tape, e.dy, dstate=e.dstate)
    other = example(net, dtype=dtype, device=device, seed=1)
    _back(net, other, **other.given)
    same_bits("the second backward", net.backward(e.params, tape, e.dy, dstate=e.dstate), first)
    tape.release()
    try:
        net.backward(e.params, tape, e.dy)
    except InputError:
        return
    raise AssertionError("a released tape was accepted")


def check_list(net: Network, *, dtype: str = "float64", device: str = "cpu") -> None:
    """A list of sequences, each with its own number of steps, gives the same as an array."""
    e = example(net, dtype=dtype, device=device)
    y, final = net(e.params, e.x, **e.given)
    parts = _like(net, e.x, lambda v: [v[b, :n] for b, n in enumerate(e.lengths)])
    listed, listed_final = net(e.params, parts, state=e.state)
    close("output of a list", listed, y, BOUNDS[dtype][0])
    for path in final:
        close(f"final {path} of a list", listed_final[path], final[path], BOUNDS[dtype][0])


def check_bind(net: Network, *, dtype: str = "float64", device: str = "cpu") -> None:
    """A bound network gives the bits of a call, and is a snapshot of the parameters."""
    e = example(net, dtype=dtype, device=device)
    run, want = net.bind(e.params), net(e.params, e.x, **e.given)
    e.params.flat[:] = 0
    same_bits("bound", run(e.x, **e.given), want)


def check_stream(net: Network, *, dtype: str = "float64", device: str = "cpu") -> None:
    """One step at a time gives what the whole sequence gives, and the bits of calls of one step."""
    if reads_backward(net.block):
        return
    e = example(net, dtype=dtype, device=device, batch=2)
    want, final = net(e.params, e.x, state=e.state)
    stream = net.stream(e.params, batch=2, state=e.state)
    ys = [stream.step(_like(net, e.x, lambda v, t=t: v[:, t])) for t in range(7)]
    close("stream", ys[-1] if net.mode == "many-to-one" else np.stack(ys, 1), want, BOUNDS[dtype][0])
    for path, value in (stream.state or {}).items():
        close(f"state {path} of the stream", value, final[path], BOUNDS[dtype][0])
    state = e.state
    for t in range(3):
        y, state = net(e.params, _like(net, e.x, lambda v, t=t: v[:, t : t + 1]), state=state)
        same_bits(f"step {t} of the stream", ys[t], y if net.mode == "many-to-one" else y[:, 0])


def check_json(net: Network) -> None:
    """The JSON text gives an equal network; its components must be registered."""
    again = Network.from_json(net.to_json())
    if again != net or hash(again) != hash(net) or again.to_json() != net.to_json():
        raise AssertionError(f"{net!r} came back from JSON as {again!r}")


def check_pickle(net: Network) -> None:
    """A pickled description is an equal one; its components must be importable."""
    again = pickle.loads(pickle.dumps(net))
    if again != net or hash(again) != hash(net) or repr(again) != repr(net):
        raise AssertionError(f"{net!r} came back from a pickle as {again!r}")


CHECKS = (
    check_kernel, check_gradients, check_lengths, check_chunks, check_checkpoints, check_inputs_untouched,
    check_determinism, check_tape, check_list, check_bind, check_stream, check_directions, check_curvature, check_json,
    check_pickle,
)  # fmt: skip
