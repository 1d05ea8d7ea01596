"""JAX: `lax.scan` under jit, the input's products of all steps before the loop; training is its value and `vjp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..common import Case
from . import stacked


def weights(one: Case) -> dict[str, np.ndarray]:
    """One matrix of each side for all gates, (features, gates x units), as one would write it for speed."""
    gates = {"l": "ifgo", "g": "zrn", "v": "h"}[one.cell[0]]
    found = {"x": stacked(one.params, "W_x", gates).T, "h": stacked(one.params, "W_h", gates).T}
    if one.cell == "gru, reset before":  # the candidate's product waits for the reset gate
        n = one.dy.shape[2]
        found["h"], found["hn"] = found["h"][:, : 2 * n], found["h"][:, 2 * n :]
    found["b"] = np.concatenate([one.params.get(f"b_{g}", one.params.get(f"b_x{g}")) for g in gates])
    if "b_hn" in one.params:
        found["b_hn"] = one.params["b_hn"]
    return {k: np.ascontiguousarray(v) for k, v in found.items()}


def lstm(p, a, state):
    import jax
    import jax.numpy as jnp

    h, c = state
    i, f, g, o = jnp.split(a + h @ p["h"], 4, axis=1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru_after(p, a, state):
    import jax
    import jax.numpy as jnp

    (h,) = state
    n = h.shape[1]
    u = h @ p["h"]
    z, r = jnp.split(jax.nn.sigmoid(a[:, : 2 * n] + u[:, : 2 * n]), 2, axis=1)
    new = jnp.tanh(a[:, 2 * n :] + r * (u[:, 2 * n :] + p["b_hn"]))
    return ((1 - z) * h + z * new,)


def gru_before(p, a, state):
    import jax
    import jax.numpy as jnp

    (h,) = state
    n = h.shape[1]
    z, r = jnp.split(jax.nn.sigmoid(a[:, : 2 * n] + h @ p["h"]), 2, axis=1)
    new = jnp.tanh(a[:, 2 * n :] + (r * h) @ p["hn"])
    return ((1 - z) * h + z * new,)


def vanilla(p, a, state):
    import jax.numpy as jnp

    return (jnp.tanh(a + state[0] @ p["h"]),)


STEPS = {"lstm": lstm, "gru, reset after": gru_after, "gru, reset before": gru_before, "vanilla": vanilla}


def outputs(step: Callable, states: int, units: int) -> Callable:
    """y of (weights, x), time first; the first state is the output."""
    import jax
    import jax.numpy as jnp

    def run(p, x):
        def body(state, a):
            state = step(p, a, state)
            return state, state[0]

        start = (jnp.zeros((x.shape[1], units), x.dtype),) * states
        return jax.lax.scan(body, start, x @ p["x"] + p["b"])[1]

    return run


def compiled(run: Callable, p, x: np.ndarray, dy: np.ndarray) -> dict[str, Callable[[], Any]]:
    """A call of `run(p, x)`, and one of its value with every gradient; x and dy are batch first."""
    import jax

    p = jax.tree.map(jax.numpy.asarray, p)
    x, dy = (jax.numpy.asarray(np.ascontiguousarray(v.swapaxes(0, 1))) for v in (x, dy))
    forward = jax.jit(run)

    @jax.jit
    def both(p, x, dy):
        y, pull = jax.vjp(run, p, x)
        return y, *pull(dy)

    return {
        "infer": lambda: jax.block_until_ready(forward(p, x)),
        "train": lambda: jax.block_until_ready(both(p, x, dy))[2],
    }


def calls(one: Case, threads: int) -> dict[str, Callable[[], Any]]:
    if one.cell not in STEPS:
        return {}
    import jax

    jax.config.update("jax_enable_x64", one.x.dtype == np.float64)
    run = outputs(STEPS[one.cell], 2 if one.cell == "lstm" else 1, one.dy.shape[2])
    return compiled(run, weights(one), one.x, one.dy)
