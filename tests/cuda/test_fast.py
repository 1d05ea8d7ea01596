"""Functions that a GPU approximates, for those who ask: off by their bounds and no more, forward and back."""

import copy
import pickle

import numpy as np
import pytest

import rnncore as rn
from rnncore.cuda import target, twins
from rnncore.errors import InputError

needed = pytest.mark.skipif(target.missing() is not None, reason="needs a GPU or the simulator")
NAMES = ("exp", "tanh", "sigmoid", "softplus")


def exact(name, x):
    e = np.exp(-np.abs(x))
    return {
        "exp": lambda: np.exp(x), "tanh": lambda: np.tanh(x), "sigmoid": lambda: np.where(x < 0, e, 1) / (1 + e),
        "softplus": lambda: np.maximum(x, 0) + np.log1p(e),
    }[name]()  # fmt: skip


def bound(name, x, want):
    """What `rnncore.Params.to` promises, and the rounding of the result."""
    off = {"exp": want * (2.0**-22 + 2.0**-23 * np.abs(x)), "tanh": 2.0**-11 * np.abs(want), "sigmoid": 2.0**-12,
           "softplus": 2.0**-21}[name]  # fmt: skip
    return off + np.spacing(np.abs(want).astype(np.float32)) / 2


@pytest.mark.parametrize("name", NAMES)
def test_twins_are_off_by_the_bounds_and_not_by_less(name):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-reach, reach, 2000) for reach in (1e-3, 1, 5, 80)]).astype(np.float32)
    with np.errstate(all="ignore"):
        got = np.array([getattr(twins.functions("float32", fast=True), name)(a) for a in x])
    want = exact(name, x.astype(np.float64))
    share = np.abs(got - want) / bound(name, x.astype(np.float64), want)
    assert got.dtype == np.float32 and 0.4 < share.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_limits_are_exact_and_what_is_no_number_stays_none(name):
    op = getattr(twins.functions("float32", fast=True), name)
    with np.errstate(all="ignore"):
        found = [op(np.float32(x)) for x in (np.inf, -np.inf, np.nan)]
        np.testing.assert_array_equal(found, exact(name, np.array([np.inf, -np.inf, np.nan])))


def test_float64_is_never_approximated():
    assert twins.functions("float64", fast=True).tanh(np.float64(0.3)) == np.tanh(0.3)


def passed(net, params, x):
    y, _, tape = net.forward(params, x)
    return y, net.backward(params, tape, np.ones_like(y))[2].to("cpu").flat


@needed
@pytest.mark.parametrize("cell", [rn.cells.lstm(6), rn.cells.vanilla(5)], ids=str)
def test_what_is_approximated_is_off_by_its_bounds(cell):
    net = rn.Network(cell, inputs=3, outputs=2)
    params, x = net.init(seed=0), np.random.default_rng(0).standard_normal((4, 3, 3)).astype("float32")
    want, got = passed(net, params, x), passed(net, params.to("cuda", functions="fast"), x)
    for a, b in zip(got, want):
        assert 2.0**-18 < np.abs(a - b).max() / np.abs(b).max() < 2.0**-8
    double = net.init(seed=0, dtype="float64")
    wide = x.astype("float64")
    for a, b in zip(passed(net, double.to("cuda", functions="fast"), wide), passed(net, double.to("cuda"), wide)):
        np.testing.assert_array_equal(a, b)


@needed
def test_every_way_to_call_approximates_alike():
    net = rn.Network(rn.cells.lstm(4), inputs=3)
    params = net.init().to("cuda", functions="fast")
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    y, _, tape = net.forward(params, x)
    kept_y, _, kept = net.forward(params, x, checkpoint=2)
    back, again = (net.backward(params, t, np.ones_like(y)) for t in (tape, kept))
    np.testing.assert_array_equal(kept_y, y)
    np.testing.assert_array_equal(again[0], back[0])
    np.testing.assert_array_equal(net.bind(params)(x)[0], y)
    stream = net.stream(params, batch=2)
    np.testing.assert_array_equal([stream.step(x[:, t]) for t in range(5)], y.transpose(1, 0, 2))
    assert not np.array_equal(net(params.to("cuda", functions="exact"), x)[0], y)


@needed
def test_parameters_say_how_functions_are_computed_and_keep_it():
    params = rn.Network(rn.cells.gru(2), inputs=1).init()
    on = params.to("cuda", functions="fast")
    assert on.functions == on.copy().functions == copy.deepcopy(on).functions == on.with_flat(on.flat).functions
    assert on.functions == on.astype("float64").functions == "fast" and on.products == params.functions == ""
    assert on.to("cuda") is on and on.to("cuda", functions="exact").functions == ""
    both = on.to("cuda", products="tf32")
    assert (both.products, both.functions) == ("tf32", "fast") and "tf32 products, fast functions" in repr(both)
    assert both.to("cuda", products="exact").functions == "fast" and "fast functions)" in repr(on)
    assert on.to("cpu").functions == "" and pickle.loads(pickle.dumps(on)).functions == ""


@needed
def test_other_functions_and_a_cpu_that_should_approximate_are_errors():
    params = rn.Network(rn.cells.gru(2), inputs=1).init()
    with pytest.raises(InputError, match="functions must be one of 'exact', 'fast', got 'quick'"):
        params.to("cuda", functions="quick")
    with pytest.raises(InputError, match="functions='fast' is for a GPU's approximations, the device is 'cpu'"):
        params.to("cpu", functions="fast")
