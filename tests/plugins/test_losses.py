"""Losses: values against SciPy and by hand, extremes, PyTorch's definitions."""

import importlib

import numpy as np
import pytest
from scipy import special

from rnncore.objective import value_and_gradient

NAMES = ["cross_entropy", "binary_cross_entropy", "mean_squared", "mean_absolute", "huber"]


def component(name):
    return getattr(importlib.import_module(f"rnncore_plugins.losses.{name}"), name)


def value(name, o, target, **options):
    return float(component(name)(**options)(np.asarray(o, float), np.asarray(target, float)))


def test_cross_entropy_against_scipy(rng=3):
    o = np.random.default_rng(rng).standard_normal(7) * 4
    for k in range(7):
        assert value("cross_entropy", o, np.eye(7)[k]) == pytest.approx(-special.log_softmax(o)[k], rel=1e-13)


@pytest.mark.parametrize("shift", [-1e6, 0, 1e6])
def test_cross_entropy_does_not_overflow(shift):
    o = np.array([0.0, 1000.0, -1000.0]) + shift
    assert value("cross_entropy", o, [0, 1, 0]) == pytest.approx(0)
    assert value("cross_entropy", o, [0, 0, 1]) == pytest.approx(2000)


def test_binary_cross_entropy_against_scipy():
    o, t = np.array([-3.0, 0.0, 0.5, 9.0]), np.array([0.0, 1.0, 0.25, 1.0])
    expected = -(t * special.log_expit(o) + (1 - t) * special.log_expit(-o)).mean()
    assert value("binary_cross_entropy", o, t) == pytest.approx(expected, rel=1e-13)


def test_binary_cross_entropy_is_exact_where_it_is_small():
    assert value("binary_cross_entropy", [40.0], [1.0]) == pytest.approx(np.exp(-40.0), rel=1e-12)
    assert value("binary_cross_entropy", [-1e4], [1.0]) == pytest.approx(1e4)


def test_regressions_by_hand():
    o, t = [1.0, -2.0, 0.5], [0.0, 1.0, 0.5]
    assert value("mean_squared", o, t) == pytest.approx(10 / 3)
    assert value("mean_absolute", o, t) == pytest.approx(4 / 3)
    assert value("huber", o, t, delta=2.0) == pytest.approx((0.5 + 2 * (3 - 1)) / 3)


def test_huber_against_scipy():
    e = np.linspace(-5, 5, 41)
    for delta in (0.3, 1.0, 4.0):
        ours = [value("huber", [v], [0.0], delta=delta) for v in e]
        np.testing.assert_allclose(ours, special.huber(delta, e), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("delta", [0, -1.0])
def test_huber_refuses_a_delta_of_no_meaning(delta):
    with pytest.raises(ValueError, match="delta must be above 0"):
        value("huber", [1.0], [0.0], delta=delta)


def test_targets():
    assert {name: component(name).target for name in NAMES} == {
        name: "class" if name == "cross_entropy" else "values" for name in NAMES
    }


def rows(name, n=9, outputs=4):
    """Outputs and targets that keep away from kinks."""
    rng = np.random.default_rng(11)
    o = rng.standard_normal((n, outputs)) * 2
    if name == "cross_entropy":
        return o, np.eye(outputs)[rng.integers(0, outputs, n)]
    return o, rng.random((n, outputs)) if name == "binary_cross_entropy" else rng.standard_normal((n, outputs))


@pytest.mark.parametrize("name", NAMES)
def test_derivative_against_central_differences(name):
    loss = component(name)()
    o, t = rows(name)
    values, slope = value_and_gradient(loss, o, t)
    np.testing.assert_allclose(values, [value(name, *row) for row in zip(o, t, strict=True)], rtol=1e-12)
    for k in range(o.shape[1]):
        step = np.zeros_like(o)
        step[:, k] = 1e-6
        up, down = (value_and_gradient(loss, o + s, t, gradient=False)[0] for s in (step, -step))
        np.testing.assert_allclose(slope[:, k], (up - down) / 2e-6, rtol=1e-7, atol=1e-9)


def test_cross_entropy_derivative_is_softmax_less_the_class():
    o, t = rows("cross_entropy")
    _, slope = value_and_gradient(component("cross_entropy")(), o, t)
    np.testing.assert_allclose(slope, special.softmax(o, axis=1) - t, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.0, 1e-3, 80.0, 1e4])
def test_extremes_stay_finite_in_float32(name, scale):
    """0 is where a network starts whose readout is 0; there binary cross-entropy has the slope s(0) - t."""
    o, t = ((a * s).astype("float32") for a, s in zip(rows(name), (scale, 1), strict=True))
    values, slope = value_and_gradient(component(name)(), o, t)
    assert np.isfinite(values).all() and np.isfinite(slope).all()
    if scale == 0 and name == "binary_cross_entropy":
        np.testing.assert_allclose(slope, (0.5 - t) / 4, rtol=1e-6)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("name", "torch_name"),
    [
        ("cross_entropy", "cross_entropy"),
        ("binary_cross_entropy", "binary_cross_entropy_with_logits"),
        ("mean_squared", "mse_loss"),
        ("mean_absolute", "l1_loss"),
        ("huber", "huber_loss"),
    ],
)
def test_equals_pytorch(name, torch_name):
    torch = pytest.importorskip("torch")
    o, t = rows(name)
    theirs = torch.tensor(o, requires_grad=True)
    mean = getattr(torch.nn.functional, torch_name)(theirs, torch.tensor(t))
    mean.backward()
    values, slope = value_and_gradient(component(name)(), o, t)
    assert values.mean() == pytest.approx(mean.item(), rel=1e-12)
    np.testing.assert_allclose(slope / len(o), theirs.grad.numpy(), rtol=1e-10, atol=1e-14)
