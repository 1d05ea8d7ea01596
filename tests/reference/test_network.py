"""The reference over whole sequences, held against loops written by hand."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import reference
from rnncore.reference.passes import reversed_within
from rnncore.testing import close

rng = np.random.default_rng(0)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def by_hand(p, x, h, c):
    """An LSTM over one sequence."""
    ys = []
    for x_t in x:
        i, f, o, g = (p[f"W_x{k}"] @ x_t + p[f"W_h{k}"] @ h + p[f"b_{k}"] for k in "ifog")
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
    return np.array(ys).reshape(len(x), len(h)), h, c


def test_an_lstm_written_by_hand_sequence_by_sequence():
    net = rn.Network(stress.memory(4), inputs=3, initial_state="learned")
    params = net.init(seed=1, dtype="float64")
    params["h0"][:], params["c0"][:] = 0.1, -0.2
    x, lengths = rng.standard_normal((3, 6, 3)), np.array([6, 0, 4])
    y, state = reference.run(net, params, x, lengths=lengths)
    for b, n in enumerate(lengths):
        ys, h, c = by_hand(params, x[b, :n], params["h0"], params["c0"])
        np.testing.assert_allclose(y[b, :n], ys, rtol=1e-13)
        np.testing.assert_allclose([state["h"][b], state["c"][b]], [h, c], rtol=1e-13)
        assert not y[b, n:].any()


def test_sequences_turn_within_their_lengths():
    x = np.arange(1.0, 9).reshape(2, 4, 1)
    np.testing.assert_array_equal(reversed_within(x, np.array([4, 2]))[..., 0], [[4, 3, 2, 1], [6, 5, 0, 0]])


@pytest.mark.parametrize("mode", ["many-to-many", "many-to-one"])
def test_gradients_against_differences_of_everything(mode):
    net = rn.Network(stress.both_ways(stress.gated(2)), inputs=2, outputs=2, mode=mode, initial_state="learned")
    params = net.init(seed=2, dtype="float64")
    x, lengths = rng.standard_normal((2, 3, 2)), np.array([3, 2])
    dy = rng.standard_normal((2, 2) if mode == "many-to-one" else (2, 3, 2))
    dx, _, grads = reference.gradients(net, params, x, dy, lengths=lengths)

    def objective(flat, x):
        y, _ = reference.run(net, params.with_flat(flat), x, lengths=lengths)
        return (y * dy).sum()

    flat = np.concatenate([grads[k].ravel() for k in params])
    for k in range(params.flat.size):
        step = np.eye(params.flat.size)[k] * 1e-6
        slope = (objective(params.flat + step, x) - objective(params.flat - step, x)) / 2e-6
        assert slope == pytest.approx(flat[k], abs=1e-8)
    for at in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[at] = 1e-6
        slope = (objective(params.flat, x + step) - objective(params.flat, x - step)) / 2e-6
        assert slope == pytest.approx(dx["x"][at], abs=1e-8)


def test_the_residual_and_the_merges():
    upper = stress.both_ways(stress.simple(3), merge="mean")
    net = rn.Network(stress.stacked(stress.simple(3), upper, residual=True), inputs=2)
    params = net.init(seed=3, dtype="float64")
    x = rng.standard_normal((1, 5, 2))

    def layer(prefix, x):
        h, ys = np.zeros(3), []
        for x_t in x:
            h = np.tanh(params[prefix + "W_xh"] @ x_t + params[prefix + "W_hh"] @ h + params[prefix + "b_h"])
            ys.append(h)
        return np.array(ys)

    first = layer("0.", x[0])
    second = (layer("1.forward.", first) + layer("1.backward.", first[::-1])[::-1]) / 2
    close("output", reference.run(net, params, x)[0][0], first + second, 1e-13)


def test_complex_numbers_pass_through_everything():
    net = rn.Network(stress.both_ways(stress.memory(3)), inputs=2, outputs=1)
    params = net.init(dtype="float64")
    x = rng.standard_normal((1, 3, 2))
    for given in ({"x": x + 1e-20j}, {"x": x, "state": {"forward.h": np.full((1, 3), 1e-20j)}}):
        y, state = reference.run(net, params, **given)
        assert np.iscomplexobj(y) and y.imag.any() and np.iscomplexobj(state["forward.c"])
    y, _ = reference.run(net, {k: v + 0j for k, v in params.items()}, x)
    assert np.iscomplexobj(y) and not y.imag.any()
