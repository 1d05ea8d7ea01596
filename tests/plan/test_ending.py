"""Outputs that follow from the new states: what a sequence of length 0 ends in."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.lang import cell, constant, mapped, relu, sigmoid, tanh
from rnncore.plan.ending import ending_of
from rnncore.testing import check_gradients, check_kernel, check_lengths, close


@cell
def read(w, x, h, c, *, gate=False):
    """An output that is read off the new states."""
    h, c = tanh(w.h(x, h)), 0.5 * c + 0.5 * sigmoid(w.c(x, c))
    o = w.o(new=h, memory=relu(c - 0.5), size=3)
    return (sigmoid(o) if gate else o), h, c


@cell
def handed(w, x, h, o):
    """An output that is a state, too."""
    h = tanh(w.h(x, h, o))
    o = w.o(new=h, size=2)
    return o, h, o


@cell
def second(w, x, h, c):
    """The second state is the output."""
    h, c = tanh(w.h(x, h)), 0.5 * c + 0.5 * tanh(w.c(x, c))
    return c, h, c


@cell
def through(w, x, h):
    """An output through a function of its matrix."""
    h = tanh(w.h(x, h))
    return w.o(new=mapped(h, lambda W: W + W)), h


@cell
def fixed(w, x, h):
    """An output through constants."""
    h = tanh(w.h(x, h))
    return w.o(new=h) * constant(np.arange(1.0, 5.0)), h


@pytest.mark.parametrize("layer", [
    stress.simple(4), stress.state_space(4), through(4), fixed(4), rn.lang.cell(stress.memory.fn)(4),
])  # fmt: skip
def test_other_outputs_are_none(layer):
    assert ending_of(layer.step) is None
    check_kernel(rn.Network(layer, inputs=2, mode="many-to-one"))


@pytest.mark.parametrize("layer", [read(4), read(4, gate=True), handed(4), second(4)], ids=repr)
@pytest.mark.parametrize("options", [{}, {"outputs": 2, "initial_state": "learned"}])
def test_kernel_and_reference_agree_where_there_are_no_steps(layer, options):
    net = rn.Network(layer, inputs=3, mode="many-to-one", **options)
    for check in (check_kernel, check_gradients, check_lengths):
        check(net)


def test_what_it_is():
    params = rn.Network(handed(4), inputs=3, mode="many-to-one").init(dtype="float64")
    net, state = rn.Network(handed(4), inputs=3, mode="many-to-one"), {"h": np.full((1, 4), 0.3), "o": np.ones((1, 2))}
    y, _, tape = net.forward(params, np.zeros((1, 0, 3)), state=state)
    close("of the other states", y, state["h"] @ params["W_newo"].T + params["b_o"], 1e-14)
    grads = net.backward(params, tape, np.ones((1, 2)))[2]
    close("matrix", grads["W_newo"], np.full((2, 4), 0.3), 1e-14)
    only = rn.Network(second(4), inputs=3, mode="many-to-one")
    last = only(only.init(dtype="float64"), np.zeros((1, 0, 3)), state={"h": state["h"], "c": 2 * state["h"]})[0]
    close("where it is a state alone", last, 2 * state["h"], 1e-14)


def test_forward_mode():
    net = rn.Network(read(4), inputs=3, mode="many-to-one", outputs=2)
    rng = np.random.default_rng(0)
    params, x, lengths = net.init(dtype="float64"), rng.standard_normal((3, 4, 3)), [4, 0, 2]
    state = {k: rng.standard_normal((3, *s)) for k, s in net.state_shapes.items()}
    direction, h = rng.standard_normal(params.flat.size), 1e-6
    y, y_dot, *_ = net.jvp(params, x, dparams=direction, lengths=lengths, state=state)
    ends = [net(params.with_flat(params.flat + s * h * direction), x, lengths=lengths, state=state)[0] for s in (1, -1)]
    close("derivative", y_dot, (ends[0] - ends[1]) / (2 * h), 1e-8)
