"""Random numbers for a network, and how two results are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inputs import Tokens, hosted
from ..network import Network
from ..params import Params

__all__ = ["Example", "close", "example", "same_bits"]


@dataclass(eq=False)
class Example:
    """Parameters, inputs, lengths, initial states, and adjoints of the outputs and final states."""

    params: Params
    x: Any
    lengths: np.ndarray
    state: dict[str, np.ndarray]
    dy: np.ndarray
    dstate: dict[str, np.ndarray]

    @property
    def given(self) -> dict[str, Any]:
        return {"lengths": self.lengths, "state": self.state}


def example(
    net: Network, *, batch: int = 5, time: int = 7, dtype: str = "float64", seed: int = 0, device: str = "cpu"
) -> Example:  # fmt: skip
    """Random numbers for a network, the first sequence full, one empty where there are several.

    Parameters
    ----------
    net : Network
    batch, time : int
        At least 1.
    dtype : {"float32", "float64"}
    seed : int
    device : {"cpu", "cuda"}
        Where the parameters are; everything else is NumPy arrays.

    Examples
    --------
    >>> import rnncore as rn
    >>> from rnncore.testing import example
    >>> e = example(rn.Network(rn.cells.vanilla(4), inputs=3))
    >>> e.x.shape, e.dy.shape
    ((5, 7, 3), (5, 7, 4))
    """
    rng = np.random.default_rng(seed)
    params = net.init(seed=seed, dtype=dtype)
    # zeros and equal numbers hide mistakes
    params.flat[:] += 0.1 * rng.standard_normal(params.flat.size)
    if isinstance(net.inputs, Tokens):
        x: Any = rng.integers(0, net.inputs.size, (batch, time))
    else:
        x = {k: rng.standard_normal((batch, time, n)).astype(dtype) for k, n in net.sizes.items()}
        x = x if len(x) > 1 else x.popitem()[1]
    lengths = rng.integers(1, time + 1, batch)
    lengths[0], lengths[1:][-1:] = time, 0
    state = {k: rng.uniform(0.1, 0.9, (batch, *s)).astype(dtype) for k, s in net.state_shapes.items()}
    shape = (batch, net.outputs or net.features)
    dy = rng.standard_normal(shape if net.mode == "many-to-one" else (batch, time, shape[1])).astype(dtype)
    dstate = {k: rng.standard_normal(v.shape).astype(dtype) for k, v in state.items()}
    return Example(params.to(device), x, lengths, state, dy, dstate)


def close(what: str, got: Any, want: Any, bound: float) -> None:
    """Raise `AssertionError` unless max|got - want| <= bound * max|want| and NaN stands where NaN is wanted."""
    got, want = (np.asarray(hosted(value)) for value in (got, want))
    if got.shape != want.shape:
        raise AssertionError(f"{what}: shape {got.shape}, expected {want.shape}")
    if not got.size:
        return
    if not np.array_equal(np.isfinite(got), np.isfinite(want)):
        raise AssertionError(f"{what}: not finite in other places than expected")
    finite = np.isfinite(want)
    error, size = np.abs(got - want)[finite].max(initial=0), np.abs(want)[finite].max(initial=0)
    if error > bound * size:
        raise AssertionError(f"{what}: off by {error:.3g} where the largest is {size:.3g}; allowed is {bound:g} of it")


def same_bits(what: str, a: Any, b: Any) -> None:
    """Raise `AssertionError` unless two results are equal bit for bit; mappings, tuples and lists are entered."""
    if isinstance(a, Params) and isinstance(b, Params):
        a, b = a.to("cpu").flat, b.to("cpu").flat
    if isinstance(a, Mapping):
        if list(a) != list(b):
            raise AssertionError(f"{what}: {list(a)} and {list(b)}")
        for key in a:
            same_bits(f"{what} {key!r}", a[key], b[key])
    elif isinstance(a, (tuple, list)):
        for k, (p, q) in enumerate(zip(a, b, strict=True)):
            same_bits(f"{what} {k}", p, q)
    elif a is not None and np.asarray(a).tobytes() != np.asarray(b).tobytes():
        raise AssertionError(f"{what}: not the same bits")
