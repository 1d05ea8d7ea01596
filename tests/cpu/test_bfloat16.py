"""Matrices stored as bfloat16: rounding, products against NumPy, networks against rounded parameters."""

import subprocess
import sys

import numpy as np
import pytest
import stress
from hypothesis import given
from hypothesis import strategies as st
from stepwise import NETWORKS, at

import rnncore as rn
from rnncore.cpu.bfloat16 import rounded, upper_halves
from rnncore.errors import InputError
from rnncore.testing import close, example, same_bits


def test_the_nearest_with_ties_to_even():
    one, next_up = 1.0, 1.0 + 2.0**-7
    for given_number, want in (
        (1.0 + 2.0**-8, one), (1.0 + 2.0**-8 + 2.0**-20, next_up), (next_up + 2.0**-8, 1.0 + 2.0**-6),
        (-(1.0 + 2.0**-8), -one), (0.0, 0.0), (-0.0, -0.0), (np.inf, np.inf), (-np.inf, -np.inf),
        (3.4e38, np.inf), (1e-45, 0.0), (np.nan, np.nan),
    ):  # fmt: skip
        got = rounded(np.array([given_number], "float32"))
        np.testing.assert_array_equal(got, np.array([want], "float32"))
        assert np.signbit(got[0]) == np.signbit(np.float32(want))
    payloads = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(rounded(payloads)).all()


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20))
def test_the_error_is_at_most_half_of_the_eighth_bit(numbers):
    exact = np.array(numbers, "float32")
    near = rounded(exact)
    normal = abs(exact) >= 2.0**-126
    assert (abs(near.astype(float) - exact)[normal] <= 2.0**-8 * abs(exact.astype(float))[normal]).all()
    np.testing.assert_array_equal(rounded(near), near)
    assert upper_halves(exact).dtype == np.uint16


def rounded_params(params):
    """Parameters whose matrices are rounded in NumPy."""
    made = params.copy()
    for array in made.values():
        if array.ndim == 2:
            array[:] = rounded(array)
    return made


@pytest.mark.parametrize("batch", [1, 3, 17])
@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "separate"])
def test_it_has_the_bits_of_rounded_parameters(name, batch):
    net = NETWORKS[name]
    e = example(net, batch=batch, dtype="float32")
    oracle = rounded_params(e.params)
    bound, want = net.bind(e.params, weights="bfloat16"), net(oracle, e.x, **e.given)
    same_bits("bound", bound(e.x, **e.given), want)
    stream, other = net.stream(e.params, batch, e.state, weights="bfloat16"), net.stream(oracle, batch, e.state)
    stepper = net.stepper(e.params, batch, weights="bfloat16")
    assert stepper.state_size
    for t in range(2):
        same_bits(f"step {t}", stream.step(at(e.x, t)), other.step(at(e.x, t)))


@pytest.mark.parametrize("units, inputs", [(1, 1), (16, 7), (65, 3), (130, 17), (300, 64)])
def test_odd_sizes(units, inputs):
    net = rn.Network(stress.memory(units), inputs=inputs, outputs=5)
    e = example(net, batch=7, time=3, dtype="float32")
    same_bits("bound", net.bind(e.params, weights="bfloat16")(e.x), net(rounded_params(e.params), e.x))


@pytest.mark.parametrize("cell", rn.cells)
def test_the_error_of_every_cell(cell):
    """A relative error of at most 2**-8 in each weight gives outputs within a hundredth."""
    net = rn.Network(rn.cells[cell](33), inputs=9)
    e = example(net, batch=3, time=20, dtype="float32")
    close("y", net.bind(e.params, weights="bfloat16")(e.x)[0], net(e.params, e.x)[0], 0.01)


@pytest.mark.parametrize("name", ["antisymmetric", "indrnn", "lstmp"])
def test_computed_diagonal_and_projected_weights(name):
    net = rn.Network(stress.CELLS[name](12), inputs=5)
    e = example(net, batch=2, dtype="float32")
    close("y", net.bind(e.params, weights="bfloat16")(e.x)[0], net(e.params, e.x)[0], 0.02)


def test_a_decoder():
    decoder = rn.topologies.encoder_decoder(stress.gated(6), stress.memory(5), outputs=4, scorer=rn.scorers.bahdanau)
    net = rn.Network(decoder, inputs=3)
    params, x = net.init(seed=1), np.random.default_rng(0).standard_normal((2, 6, 3)).astype("float32")
    exact, near = (net.stream(params, x=x, weights=w) for w in (None, "bfloat16"))
    y, want = near.step(), exact.step()
    close("y", y, want, 0.02)
    assert not np.array_equal(y, want)


ASKED = """
import numpy as np, rnncore as rn
from rnncore.cpu.bfloat16 import products
net, x = rn.Network(rn.cells.vanilla(4), inputs=3), np.ones((1, 2, 3))
net.bind(net.init())(x), net.stream(net.init()).step(x[:, 0])
assert products.cache_info().currsize == 0
net.bind(net.init(), weights="bfloat16")
assert products.cache_info().currsize == 1
"""


def test_its_products_are_made_when_they_are_asked_for():
    subprocess.run([sys.executable, "-c", ASKED], check=True)


def test_half_the_memory():
    net = rn.Network(stress.memory(64), inputs=64)
    runs = [net.bind(net.init(), weights=w) for w in (None, "bfloat16")]
    held = [sum(p.weights.memory.nbytes for p in run.loops.values()) for run in runs]
    assert held[1] < 0.55 * held[0]


@pytest.mark.parametrize("make", ["bind", "stream", "stepper"])
def test_what_cannot_be_stored_so(make):
    net = NETWORKS["plain"]
    with pytest.raises(InputError, match="weights='bfloat16' stores matrices of float32 parameters, these are float64"):
        getattr(net, make)(net.init(dtype="float64"), weights="bfloat16")
    with pytest.raises(InputError, match="weights must be None or 'bfloat16', got 'int8'"):
        getattr(net, make)(net.init(), weights="int8")
