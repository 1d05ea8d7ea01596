"""The reverse of a step, and of what parameters go through before the loop."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.lang import cell, mapped, scalar, softplus, tanh
from rnncore.plan.adjoint import adjoint_of, boundary_of
from rnncore.plan.split import split_of
from rnncore.testing import check_gradients, check_kernel


def test_a_cell_has_an_adjoint_for_each_state_input_and_parameter():
    step = stress.memory.step()
    roots = adjoint_of(step).roots
    assert {k for k in roots if k.startswith("d.")} == {"d.h", "d.c", "d.x"}
    assert {k[2:] for k in roots if k.startswith("p.")} == {p.name for p in step.params}


def test_it_is_made_once():
    assert adjoint_of(stress.memory.step()) is adjoint_of(stress.memory.step())


def test_the_loop_sees_the_value_of_a_function_of_parameters():
    step = stress.antisymmetric.step()
    names = [n.attrs[1] if n.op == "leaf" else n.op for n in boundary_of(step)]
    assert sorted(names) == ["W_xh", "b_h", "sub"]  # W - W.T - gamma I is one value
    adjoint = adjoint_of(step)
    assert set(adjoint.call_roots) == {"W_xh", "W_hh", "b_h"}
    assert any(n.op == "transpose" for n in adjoint.call_roots["W_hh"].args + adjoint.call_roots["W_hh"].args[0].args)


def test_constants_have_no_gradient():
    roots = adjoint_of(stress.dale.step()).roots
    assert {k[2:] for k in roots if k.startswith("p.")} >= {"W_xh", "b_h"} and not any("array" in k for k in roots)


def test_what_is_kept_is_named_and_the_rest_is_computed_again():
    split = split_of(stress.memory.step())
    assert list(split.saved) == [f"s{k}" for k in range(5)]
    assert {n.op for n in split.saved.values()} == {"sigmoid", "tanh"}


@pytest.mark.parametrize("write", [
    lambda w, x, h: h,  # nothing learned
    lambda w, x, h: tanh(w.h(x)),  # no state read
    lambda w, x, a, b, c, d, e: (b, a, c, w.v, tanh(w.v * scalar(w.s) + e)),  # states that change places or stay
    lambda w, x, a, b, c: (tanh(w.a(x, a)), w.b(x), c * w.v),  # adjoints of states that are gradients themselves
    lambda w, x, h: (w.y(x), w.y(x)),  # an output that is the new state
    lambda w, x, h: (h, tanh(w.h(x, h))),  # an output that is the old state
    lambda w, x, h: tanh(w.h(x, mapped(h, lambda W: W * softplus(W) - 0.5 * W.T))),
    lambda w, x, h: w.a(x, h) * w.b(x, h) + w.b(x, h) + w.c(x, h),  # sums of sums of products, read twice
    lambda w, x, h: w.a(x, p=w.b(x, h)),  # a product of a product
    lambda w, x, h: tanh(w.a(x, h, p=h, q=h * h, r=x * x)),  # one operand under several names, computed inputs
], ids=lambda f: f.__code__.co_firstlineno)  # fmt: skip
def test_odd_steps(write):
    for options in ({}, {"mode": "many-to-one", "outputs": 2, "initial_state": "learned"}):
        net = rn.Network(cell(write)(6), inputs=4, **options)
        check_kernel(net)
        check_gradients(net)


def test_a_gradient_that_is_nought_is_zeros():
    @cell
    def fn(w, x, h):
        return 0.0 * w.v + tanh(h)

    net = rn.Network(fn(3), inputs=2)
    params = net.init(dtype="float64")
    y, _, tape = net.forward(params, np.ones((1, 2, 2)))
    dx, _, grads = net.backward(params, tape, np.ones(y.shape))
    assert not dx.any() and not grads["v"].any()
