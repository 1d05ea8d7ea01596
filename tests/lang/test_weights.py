"""Names, shapes, roles and starts of what ``w`` gives."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.lang import cell, constant, diag, identity, low_rank, mapped, scalar, sigmoid, tanh
from rnncore.lang.trace import trace
from rnncore.testing import check_gradients


def parameters(fn, **options):
    return {p.name: (tuple(map(str, p.shape)), p.role, p.start) for p in trace(fn, options).params}


def test_an_affine_map_has_a_matrix_for_every_operand_and_a_bias():
    def fn(w, x, h):
        return w.i(x, h)

    assert parameters(fn) == {
        "W_xi": (("units", "x"), "input", None),
        "W_hi": (("units", "units"), "recurrent", None),
        "b_i": (("units",), "bias", None),
    }


def test_a_name_in_two_calls_keeps_its_matrices_and_biases_apart():
    def fn(w, x, h):
        r = sigmoid(w.r(x, h))
        return tanh(w.n(x) + r * w.n(h))

    assert list(parameters(fn)) == ["W_xr", "W_hr", "b_r", "W_xn", "b_xn", "W_hn", "b_hn"]


def test_a_bias_of_one_call_among_two_keeps_the_short_name():
    def fn(w, x, h):
        return tanh(w.n(x) + w.n(h, bias=False))

    assert set(parameters(fn)) == {"W_xn", "W_hn", "b_n"}


def test_the_same_name_with_the_same_operand_is_the_same_matrix():
    def fn(w, x, h):
        a = w.n(x, h)
        return a + tanh(w.n(x, h=tanh(a)))

    assert set(parameters(fn)) == {"W_xn", "W_hn", "b_n"}


def test_a_computed_operand_is_called_by_its_keyword():
    def fn(w, x, h):
        return w.n(x, h=2 * h) + w.n(r=tanh(h), bias=False)

    assert set(parameters(fn)) == {"W_xn", "W_hn", "W_rn", "b_n"}


def test_names_can_be_computed():
    def fn(w, x, h, *, depth=3):
        for k in range(depth):
            h = tanh(w[f"l{k}"](*((x,) if k == 0 else ()), h=h))
        return h

    assert set(parameters(fn, depth=2)) == {"W_xl0", "W_hl0", "b_l0", "W_hl1", "b_l1"}


def test_every_kind_of_weight():
    def fn(w, x, h, c, *, dt):
        a = w.i(x, diag(h), low_rank(c, 2), bias=1.5)
        b = w.j(dt, mapped(h, lambda W: W - W.T), bias=False, init="zeros", size=h)
        return a * w.gain.init(1.0) + b * scalar(w.zeta.init(-2)), c + w.free

    assert parameters(fn) == {
        "W_xi": (("units", "x"), "input", None),
        "W_hi": (("units",), "diagonal", None),
        "U_ci": (("units", "2"), "recurrent", None),
        "V_ci": (("2", "units"), "recurrent", None),
        "b_i": (("units",), "bias", 1.5),
        "W_dtj": (("units", "dt"), "input", "zeros"),
        "W_hj": (("units", "units"), "recurrent", "zeros"),
        "gain": (("units",), "vector", 1.0),
        "zeta": ((), "scalar", -2),
        "free": (("units",), "vector", None),
    }


def test_a_vector_of_one_is_a_scalar():
    """HiPPO-LegS by Euler's method (Gu et al. 2020): a memory of its own size, written by one number, and a counter."""
    k = np.arange(3)
    A = np.tril(np.sqrt(np.outer(2 * k + 1, 2 * k + 1)), -1) + np.diag(k + 1.0)
    B = np.sqrt(2 * k + 1.0)

    @cell
    def legs(w, x, h, m, t):
        h = tanh(w.h(x, h, m))
        steps = scalar(t) + 1
        return h, m + (constant(B) * scalar(w.f(h=h)) - constant(A) @ m) / steps, t + 1

    net = rn.Network(legs(4), inputs=2)
    assert net.state_shapes == {"h": (4,), "m": (3,), "t": (1,)} and net.shapes["W_hf"] == (1, 4)
    params, x = net.init(seed=0, dtype="float64"), np.random.default_rng(0).standard_normal((1, 5, 2))
    h, m = np.zeros(4), np.zeros(3)
    for t, x_t in enumerate(x[0]):
        h = np.tanh(params["W_xh"] @ x_t + params["W_hh"] @ h + params["W_mh"] @ m + params["b_h"])
        m = m + (B * (params["W_hf"] @ h + params["b_f"]) - A @ m) / (t + 1)
    y, state = net(params, x)
    assert np.allclose(y[0, -1], h, rtol=1e-13) and np.allclose(state["m"][0], m, rtol=1e-13) and state["t"] == 5
    check_gradients(net)


def test_a_weight_that_nothing_reads_is_no_parameter():
    def fn(w, x, h):
        w.unused(x, h)
        return tanh(w.h(x, h))

    assert set(parameters(fn)) == {"W_xh", "W_hh", "b_h"}


def test_sizes_may_differ_between_states():
    def fn(w, x, h, c, *, memory=5):
        c = tanh(w.c(x, h, c=diag(c), size=memory))
        return w.p(c=c), c

    net = rn.Network(cell(fn)(3), inputs=2)
    assert net.state_shapes == {"h": (3,), "c": (5,)}
    assert net.shapes["W_cp"] == (3, 5) and net.shapes["W_hc"] == (5, 3) and net.shapes["W_cc"] == (5,)


def test_a_size_may_be_that_of_a_vector():
    def fn(w, x, h):
        return h + w.back(a=tanh(w.a(h, size=x)))

    assert rn.Network(cell(fn)(4), inputs=3).shapes["W_ha"] == (3, 4)


def test_starts_reach_the_initial_parameters():
    @cell
    def fn(w, x, h):
        return tanh(w.a(x, h, bias=2.0, init=0.25) + w.v.init(3.0) + scalar(w.s.init(-1.0)))

    params = rn.Network(fn(4), inputs=2).init(recurrent="zeros", input="zeros")
    for name, number in {"W_xa": 0.25, "W_ha": 0.25, "b_a": 2.0, "v": 3.0, "s": -1.0}.items():
        np.testing.assert_array_equal(params[name], np.full(params[name].shape, number, "float32"))


def test_the_identity_has_the_shape_of_its_matrix():
    @cell
    def fn(w, x, h):
        return w.h(mapped(h, lambda W: 0.0 * W + identity(W)), bias=False)

    net = rn.Network(fn(3), inputs=1)
    start = np.array([[1.0, -2.0, 3.0]])
    y, _ = net(net.init(dtype="float64"), np.zeros((1, 2, 1)), state={"h": start})
    np.testing.assert_array_equal(y[:, 1], start)


@pytest.mark.parametrize("bias, start", [(True, None), (0.0, 0.0), (0.5, 0.5), (-1, -1.0)])
def test_a_bias_may_be_a_number(bias, start):
    def fn(w, x, h):
        return w.a(x, h, bias=bias)

    assert parameters(fn)["b_a"][2] == start
