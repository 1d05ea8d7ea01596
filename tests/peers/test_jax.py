"""JAX differentiates what PyTorch has no layer for: reset before the product, peepholes by vector and by matrix."""

import numpy as np
import pytest

import rnncore as rn
from rnncore import cells
from rnncore.testing import close

jax = pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def gru(p, x, h):
    s, jnp = jax.nn.sigmoid, jax.numpy

    def a(gate, h):
        return x @ p[f"W_x{gate}"].T + h @ p[f"W_h{gate}"].T + p[f"b_{gate}"]

    z, r = s(a("z", h)), s(a("r", h))
    return ((1 - z) * h + z * jnp.tanh(a("n", r * h)),)


def lstm(p, x, h, c):
    s, jnp = jax.nn.sigmoid, jax.numpy

    def a(gate, memory=None):
        total = x @ p[f"W_x{gate}"].T + h @ p[f"W_h{gate}"].T + p[f"b_{gate}"]
        w = p.get(f"W_c{gate}")
        return total if w is None else total + (memory * w if w.ndim == 1 else memory @ w.T)

    i, f, g = s(a("i", c)), s(a("f", c)), jnp.tanh(a("g"))
    c = f * c + i * g
    return s(a("o", c)) * jnp.tanh(c), c


def scanned(step, p, x, lengths, state):
    """Outputs and final states, frozen and zero past the lengths."""
    jnp = jax.numpy

    def body(state, now):
        x_t, t = now
        inside = (t < lengths)[:, None]
        new = tuple(jnp.where(inside, n, s) for n, s in zip(step(p, x_t, *state), state, strict=True))
        return new, jnp.where(inside, new[0], 0)

    final, y = jax.lax.scan(body, state, (x.swapaxes(0, 1), jnp.arange(x.shape[1])))
    return y.swapaxes(0, 1), final


@pytest.mark.parametrize("layer, step", [
    (lambda n: cells.gru(n), gru), (lambda n: cells.lstm(n), lstm),
    (lambda n: cells.lstm(n, peephole="diagonal"), lstm), (lambda n: cells.lstm(n, peephole="full"), lstm),
], ids=["gru-before", "lstm", "lstm-diagonal", "lstm-full"])  # fmt: skip
@pytest.mark.parametrize("units", [1, 19])
def test_gradients_through_a_scan(layer, step, units):
    rng = np.random.default_rng(units)
    net = rn.Network(layer(units), inputs=5)
    params = net.init(seed=1, dtype="float64")
    params.flat[:] += 0.1 * rng.standard_normal(params.flat.size)
    x, lengths = rng.standard_normal((6, 8, 5)), np.array([8, 0, 3, 1, 8, 5])
    state = {k: rng.standard_normal((6, units)) for k in net.state_shapes}
    dstate = {k: rng.standard_normal((6, units)) for k in state}
    dy = rng.standard_normal((6, 8, units))

    def objective(p, x, state):
        y, final = scanned(step, p, x, lengths, state)
        return (y * dy).sum() + sum((f * dstate[k]).sum() for f, k in zip(final, state_names, strict=True)), y

    state_names = list(state)
    grad = jax.grad(objective, argnums=(0, 1, 2), has_aux=True)
    (want, want_dx, want_dstate), want_y = grad(dict(params), x, tuple(state.values()))
    y, _, tape = net.forward(params, x, lengths=lengths, state=state)
    dx, dstart, grads = net.backward(params, tape, dy, dstate=dstate)
    close("output", y, want_y, 1e-11)
    close("gradient of the input", dx, want_dx, 1e-9)
    for name, value in want.items():
        close(f"gradient of {name}", grads[name], value, 1e-9)
    for name, value in zip(state, want_dstate, strict=True):
        close(f"gradient of the initial {name}", dstart[name], value, 1e-9)
