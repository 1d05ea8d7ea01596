"""Cells that no library has: as equations for us, as a step for a JAX scan and for a loop in Python over PyTorch.

A step is written once for both: `m` has the functions of the library. The input's products of all steps come before the
loop and those that read the same state are one, as one would write it for speed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnncore.lang import cell, diag, relu, sigmoid, tanh

from ..common import Case
from . import stacked

__all__ = ["CUSTOM", "calls"]


@cell
def ugrnn(w, x, h):
    """Update-gate network: two gates ready at once. Collins et al. 2017, arXiv:1611.09913."""
    z = sigmoid(w.z(x, h))
    return z * h + (1 - z) * tanh(w.n(x, h))


@cell
def mgu(w, x, h):
    """Minimal gated unit: a product waits for another one. Zhou et al. 2016, arXiv:1603.09420."""
    f = sigmoid(w.f(x, h))
    return (1 - f) * h + f * tanh(w.n(x, h=f * h))


@cell
def indrnn(w, x, h):
    """No product in the loop. Li et al. 2018, arXiv:1803.04831."""
    return relu(w.h(x, diag(h)))


@cell
def lem(w, x, h, z):
    """Long expressive memory: two states, three gates and one that waits. Rusch et al. 2022, arXiv:2110.04744."""
    fast, slow = sigmoid(w.a(x, h)), sigmoid(w.b(x, h))
    z = (1 - fast) * z + fast * tanh(w.z(x, h))
    return (1 - slow) * h + slow * tanh(w.h(x, z=z)), z


@cell
def cornn(w, x, h, z):
    """Coupled oscillators, both states multiplied. Rusch and Mishra 2021, arXiv:2010.00951."""
    z = z + 0.042 * (tanh(w.h(x, h, z)) - 2.7 * h - 4.7 * z)
    return h + 0.042 * z, z


def ugrnn_step(m, p, a, h):
    z, n = m.split(a + h @ p["h"], 2)
    z = m.sigmoid(z)
    return (z * h + (1 - z) * m.tanh(n),)


def mgu_step(m, p, a, h):
    f, n = m.split(a, 2)
    f = m.sigmoid(f + h @ p["f"])
    return ((1 - f) * h + f * m.tanh(n + (f * h) @ p["n"]),)


def indrnn_step(m, p, a, h):
    return (m.relu(a + p["d"] * h),)


def lem_step(m, p, a, h, z):
    a, b, c, d = m.split(a, 4)
    u, v, s = m.split(h @ p["h"], 3)
    fast, slow = m.sigmoid(a + u), m.sigmoid(b + v)
    z = (1 - fast) * z + fast * m.tanh(c + s)
    return (1 - slow) * h + slow * m.tanh(d + z @ p["z"]), z


def cornn_step(m, p, a, h, z):
    z = z + 0.042 * (m.tanh(a + h @ p["h"] + z @ p["z"]) - 2.7 * h - 4.7 * z)
    return h + 0.042 * z, z


@dataclass(frozen=True)
class Custom:
    """A cell, its gates in the order of the step, its other weights, its states, and the step."""

    cell: Any
    gates: str
    weights: Callable
    states: int
    step: Callable


CUSTOM = {
    "ugrnn": Custom(ugrnn, "zn", lambda p: {"h": stacked(p, "W_h", "zn").T}, 1, ugrnn_step),
    "mgu": Custom(mgu, "fn", lambda p: {"f": p["W_hf"].T, "n": p["W_hn"].T}, 1, mgu_step),
    "indrnn": Custom(indrnn, "h", lambda p: {"d": p["W_hh"]}, 1, indrnn_step),
    "lem": Custom(lem, "abzh", lambda p: {"h": stacked(p, "W_h", "abz").T, "z": p["W_zh"].T}, 2, lem_step),
    "cornn": Custom(cornn, "h", lambda p: {"h": p["W_hh"].T, "z": p["W_zh"].T}, 2, cornn_step),
}


def weights(custom: Custom, one: Case) -> dict[str, np.ndarray]:
    p = custom.weights(one.params)
    p |= {"x": stacked(one.params, "W_x", custom.gates).T, "b": stacked(one.params, "b_", custom.gates)}
    return {k: np.ascontiguousarray(v) for k, v in p.items()}


def calls(peer: str, custom: Custom, one: Case, threads: int) -> dict[str, Callable[[], Any]]:
    """``infer`` and ``train`` of a JAX scan or of a PyTorch loop (see `benchmarks.peers`)."""
    return {"jax": in_jax, "torch": in_torch}[peer](custom, one, threads)


def in_jax(custom: Custom, one: Case, threads: int) -> dict[str, Callable[[], Any]]:
    import jax
    import jax.numpy as jnp

    from .jax_scan import compiled, outputs

    jax.config.update("jax_enable_x64", one.x.dtype == np.float64)
    m = SimpleNamespace(sigmoid=jax.nn.sigmoid, tanh=jnp.tanh, relu=jax.nn.relu, split=lambda a, n: jnp.split(a, n, 1))
    run = outputs(lambda p, a, state: custom.step(m, p, a, *state), custom.states, one.dy.shape[2])
    return compiled(run, weights(custom, one), one.x, one.dy)


def in_torch(
    custom: Custom, one: Case, threads: int, device: str = "cpu", dtype: Any = None
) -> dict[str, Callable[[], Any]]:
    import torch

    torch.set_num_threads(threads)
    m = SimpleNamespace(
        sigmoid=torch.sigmoid, tanh=torch.tanh, relu=torch.relu, split=lambda a, n: a.chunk(n, 1)
    )  # fmt: skip
    p = {k: torch.from_numpy(v).to(device, dtype).requires_grad_(True) for k, v in weights(custom, one).items()}
    x, dy = (torch.from_numpy(np.ascontiguousarray(v.swapaxes(0, 1))).to(device, dtype) for v in (one.x, one.dy))
    traced = x.clone().requires_grad_(True)

    def run(x):
        state, y = (x.new_zeros(x.shape[1], dy.shape[2]),) * custom.states, []
        for a in (x @ p["x"] + p["b"]).unbind(0):
            state = custom.step(m, p, a, *state)
            y.append(state[0])
        return torch.stack(y)

    def infer():
        with torch.inference_mode():
            return run(x)

    def train():
        for leaf in (traced, *p.values()):
            leaf.grad = None
        run(traced).backward(dy)
        return traced.grad

    return {"infer": infer, "train": train}
