"""Initializers: shapes, bounds, moments, and one stream of numbers per seed."""

import importlib
import math

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import InputError

NAMES = [
    "zeros", "ones", "constant", "uniform", "normal", "glorot_uniform", "glorot_normal", "he_normal",
    "lecun_normal", "orthogonal", "identity", "fan_uniform",
]  # fmt: skip


def make(name, shape, seed=0, **options):
    component = getattr(importlib.import_module(f"rnncore_plugins.initializers.{name}"), name)
    return component(**options)(shape, np.random.default_rng(seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (1,), (6,), (1, 1), (4, 7), (7, 4), (3, 5, 5)])
def test_shape_dtype_and_seed(name, shape):
    value = make(name, shape)
    assert isinstance(value, np.ndarray) and value.shape == shape and value.dtype == np.float64
    assert np.isfinite(value).all() and value.flags.writeable
    np.testing.assert_array_equal(value, make(name, shape))


def test_fixed_values():
    assert not make("zeros", (3, 2)).any()
    assert (make("ones", (3, 2)) == 1).all()
    assert (make("constant", (3, 2), value=0.5) == 0.5).all()
    np.testing.assert_array_equal(make("identity", (2, 3), gain=0.5), [[0.5, 0, 0], [0, 0.5, 0]])
    assert (make("identity", (4,)) == 1).all()


@pytest.mark.parametrize(
    ("name", "options", "deviation"),
    [
        ("uniform", {"low": -1.0, "high": 3.0}, 4 / math.sqrt(12)),
        ("normal", {"std": 0.3}, 0.3),
        ("glorot_uniform", {}, math.sqrt(2 / 300)),
        ("glorot_normal", {"gain": 2.0}, 2 * math.sqrt(2 / 300)),
        ("he_normal", {}, math.sqrt(2 / 200)),
        ("lecun_normal", {}, math.sqrt(1 / 200)),
        ("fan_uniform", {}, 0.1 / math.sqrt(3)),
    ],
)
def test_standard_deviation_of_a_matrix(name, options, deviation):
    value = make(name, (100, 200), **options)
    assert value.std() == pytest.approx(deviation, rel=0.02)
    assert value.mean() == pytest.approx(1.0 if name == "uniform" else 0.0, abs=0.03 * deviation)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("zeros", "ones", "constant", "identity")])
def test_seeds_differ(name):
    assert (make(name, (4, 4)) != make(name, (4, 4), seed=1)).any()


def test_bounds():
    assert np.abs(make("glorot_uniform", (50, 70))).max() <= math.sqrt(6 / 120)
    assert np.abs(make("fan_uniform", (64, 5))).max() <= 1 / 8
    assert np.abs(make("fan_uniform", (64,))).max() <= 1 / 8


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (2, 4, 4)])
def test_orthogonal(shape):
    q = make("orthogonal", shape, gain=2.0) / 2
    product = q @ q.swapaxes(-1, -2) if shape[-2] <= shape[-1] else q.swapaxes(-1, -2) @ q
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(product.shape[-1]), product.shape), atol=1e-12)


def test_orthogonal_has_no_preferred_direction():
    """Over many draws each entry's mean is 0: the signs of R are put back."""
    mean = np.mean([make("orthogonal", (3, 3), seed=s) for s in range(600)], axis=0)
    assert np.abs(mean).max() < 0.12
    assert np.linalg.norm(make("orthogonal", (9,))) == pytest.approx(1)


def chrono_of(layer, seed=0, **options):
    return rn.Network(layer, inputs=2).init(seed=seed, dtype="float64", bias=rn.initializers.chrono(**options))


def test_chrono_spreads_the_times_that_gates_remember():
    """Tallec and Ollivier 2018: b_f = log U(1, t_max - 1), b_i = -b_f."""
    params = chrono_of(rn.cells.lstm(2000), t_max=100)
    times = np.exp(params["b_f"])
    np.testing.assert_array_equal(params["b_i"], -params["b_f"])
    assert 1 <= times.min() < 1.5 and 98 < times.max() <= 99
    assert times.mean() == pytest.approx(50, rel=0.03) and times.std() == pytest.approx(98 / math.sqrt(12), rel=0.03)
    assert not params["b_g"].any() and not params["b_o"].any()
    assert (chrono_of(rn.cells.lstm(5), t_max=100)["b_f"] != chrono_of(rn.cells.lstm(5), 1, t_max=100)["b_f"]).all()


def test_chrono_of_one_gate():
    """z admits and 1 - z keeps; a gate alone is set alone."""
    params = chrono_of(rn.cells.gru(5), t_max=100, input="z")
    assert (params["b_z"] < 0).all() and (params["b_z"] >= -math.log(99)).all() and not params["b_r"].any()
    params = chrono_of(rn.cells.lstm(5), t_max=100, input=None)
    assert (params["b_f"] > 0).all() and not params["b_i"].any()


def test_chrono_remembers_as_long_as_it_says():
    """Gates that are left to their biases: c shrinks by sigmoid(b_f) in each step."""
    params = chrono_of(rn.cells.lstm(50), t_max=200)
    for path in params:
        if path.startswith("W_"):
            params[path][...] = 0
    net = rn.Network(rn.cells.lstm(50), inputs=2)
    for k in (10, 100):
        _, state = net(params, np.zeros((1, k, 2)), state={"c": np.ones((1, 50))})
        want = (1 + np.exp(-params["b_f"])) ** -k
        np.testing.assert_allclose(state["c"][0], want, rtol=1e-10)


@pytest.mark.parametrize("options", [{}, {"t_max": 2}, {"t_max": -5}])
def test_chrono_needs_a_time(options):
    with pytest.raises(InputError, match="t_max must be a number of steps above 2"):
        chrono_of(rn.cells.lstm(3), **options)
    with pytest.raises(InputError, match="sets nothing in this network; of this role it has: b_h"):
        chrono_of(rn.cells.vanilla(3), t_max=10)
