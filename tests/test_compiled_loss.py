"""Losses of many rows in compiled code: what the interpreter gives, for every loss, with rows to spare or none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore import objective


def numbers(name, n, k, dtype, seed=0):
    rng = np.random.default_rng(seed)
    loss = objective.as_loss(name)
    o = (3 * rng.standard_normal((n, k))).astype(dtype)
    if loss.component.target == "class":
        return loss, o, np.eye(k, dtype=dtype)[rng.integers(0, k, n)]
    return loss, o, rng.random((n, k)).astype(dtype)


def both(monkeypatch, loss, o, target):
    monkeypatch.setattr(objective, "_COMPILED", 0)
    compiled = objective.value_and_gradient(loss, o, target)
    monkeypatch.setattr(objective, "_COMPILED", np.inf)
    return compiled, objective.value_and_gradient(loss, o.astype(float), target.astype(float))


@pytest.mark.parametrize("dtype, bound", [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("name", list(rn.losses))
def test_every_loss_is_what_the_interpreter_gives(name, dtype, bound, monkeypatch):
    for n, k in ((1, 1), (64, 3), (65, 17), (200, 33)):
        (each, gradient), (want, want_gradient) = both(monkeypatch, *numbers(name, n, k, dtype))
        assert each.dtype == np.float64 and gradient.dtype == dtype and gradient.shape == (n, k)
        assert np.abs(each - want).max() <= bound * max(np.abs(want).max(), 1)
        assert np.abs(gradient - want_gradient).max() <= bound * max(np.abs(want_gradient).max(), 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.sampled_from([1, 2, 3, 7, 16, 31]), st.integers(0, 9))
def test_any_number_of_rows(n, k, seed):
    with pytest.MonkeyPatch.context() as patch:
        (each, gradient), (want, want_gradient) = both(patch, *numbers("cross_entropy", n, k, "float64", seed))
    assert each == pytest.approx(want, rel=1e-13, abs=1e-13)
    assert gradient == pytest.approx(want_gradient, rel=1e-13, abs=1e-13)


def test_a_long_batch_takes_this_way_and_trains_alike(monkeypatch):
    net = rn.Network(rn.cells.vanilla(4), inputs=2, outputs=40)
    params = net.init(dtype="float64")
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((30, 30, 2)), rng.integers(0, 40, (30, 30))
    seen = []
    taken = objective.loss_of_rows
    monkeypatch.setattr(objective, "loss_of_rows", lambda *a: seen.append(a[1].shape) or taken(*a))
    value, grads = net.loss_and_grad(params, x, target, loss="cross_entropy")
    assert seen == [(900, 40)]
    monkeypatch.setattr(objective, "_COMPILED", np.inf)
    again, want = net.loss_and_grad(params, x, target, loss="cross_entropy")
    assert value == pytest.approx(again, rel=1e-14)
    assert np.abs(grads.flat - want.flat).max() <= 1e-14


def test_what_is_not_finite_stays_so(monkeypatch):
    loss, o, target = numbers("mean_squared", 70, 5, "float32")
    o[3, 2], o[69, 0] = np.nan, np.inf
    (each, gradient), (want, _) = both(monkeypatch, loss, o, target)
    assert np.array_equal(np.isfinite(each), np.isfinite(want)) and np.isnan(gradient[3, 2])
