"""Products that tensor cores round, for those who ask: off by their rounding and no more, forward and back."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import testing
from rnncore.cuda import geometry, launch, target
from rnncore.errors import InputError

UNITS = {"tf32": 2.0**-11, "bf16": 2.0**-8}  # the most that rounding changes a number, relative to it


@pytest.fixture(params=[(1, 2), (2, 1), (1, 3)], ids=str)
def layout(request, monkeypatch):
    """A layout whose slices are large enough for tensor cores."""
    monkeypatch.setattr(geometry, "_TENSOR_LEAST", 1)
    monkeypatch.setattr(launch, "chosen", lambda shape, device: geometry.laid_out(shape, device, *request.param))


def passed(net, params, x, lengths):
    y, _, tape = net.forward(params, x, lengths=lengths)
    return y, net.backward(params, tape, np.ones_like(y))[2].to("cpu").flat


@pytest.mark.parametrize("kind", UNITS)
@pytest.mark.parametrize("cell", [rn.cells.lstm(13), rn.cells.gru(6), rn.cells.gru(37), rn.cells.vanilla(16)], ids=str)
def test_what_is_rounded_is_off_by_its_rounding(cell, kind, layout):
    net = rn.Network(cell, inputs=3, outputs=2)
    params = net.init(seed=0)
    x = np.random.default_rng(0).standard_normal((5, 4, 3)).astype("float32")
    want = passed(net, params, x, [4, 2, 4, 0, 3])
    got = passed(net, params.to("cuda", products=kind), x, [4, 2, 4, 0, 3])
    for a, b in zip(got, want):
        error = np.abs(a - b).max() / np.abs(b).max()
        assert UNITS[kind] / 100 < error < 4 * UNITS[kind]


def test_products_are_exact_unless_asked_and_float64_ones_always(layout):
    net = rn.Network(rn.cells.gru(6), inputs=3)
    x = np.random.default_rng(0).standard_normal((3, 4, 3))
    for dtype, bound in (("float32", 1e-6), ("float64", 1e-14)):
        params = net.init(dtype=dtype)
        kinds = ("exact",) if dtype == "float32" else ("exact", "tf32", "bf16")
        for kind in kinds:
            y = net(params.to("cuda", products=kind), x)[0]
            assert np.abs(y - net(params, x)[0]).max() < bound


def test_checkpoints_streams_and_bound_networks_round_alike(layout):
    net = rn.Network(rn.cells.lstm(8), inputs=3)
    params = net.init().to("cuda", products="bf16")
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    y, _, tape = net.forward(params, x)
    kept_y, _, kept = net.forward(params, x, checkpoint=2)
    dy = np.ones_like(y)
    back, again = net.backward(params, tape, dy), net.backward(params, kept, dy)
    for got, want in ((kept_y, y), (again[0], back[0]), (net.bind(params)(x)[0], y)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)  # a library sums in an order of its own
    assert np.abs(y - net(params.to("cuda", products="exact"), x)[0]).max() > 1e-4


def test_parameters_say_how_they_are_multiplied_and_keep_it():
    params = rn.Network(rn.cells.gru(2), inputs=1).init()
    on = params.to("cuda", products="tf32")
    assert on.products == on.copy().products == copy.deepcopy(on).products == on.with_flat(on.flat).products == "tf32"
    assert "tf32 products" in repr(on) and on.to("cuda") is on and on.to("cuda", products="exact").products == ""
    assert on.to("cpu").products == params.products == "" and pickle.loads(pickle.dumps(on)).products == ""


def test_other_products_and_a_cpu_that_should_round_are_errors():
    params = rn.Network(rn.cells.gru(2), inputs=1).init()
    with pytest.raises(InputError, match="products must be one of 'exact', 'tf32', 'bf16', got 'fp8'"):
        params.to("cuda", products="fp8")
    with pytest.raises(InputError, match="for a GPU's tensor cores"):
        params.to("cpu", products="tf32")


def test_a_device_without_such_tensor_cores_is_an_error(monkeypatch):
    params = rn.Network(rn.cells.gru(3), inputs=2).init(device="cuda")
    old = replace(target.properties(), name="an older GPU", capability=(7, 5))
    monkeypatch.setattr(target, "properties", lambda: old)
    for move in (params.to, params.to("cpu").to):
        with pytest.raises(InputError, match="'bf16' needs tensor cores of .* 8.0 or more, an older GPU has 7.5"):
            move("cuda", products="bf16")
        assert move("cuda", functions="fast").functions == "fast"


@pytest.mark.parametrize("outputs", [5, 7])
def test_adjoints_of_outputs_apart_from_states_are_read_four_at_a_time_whatever_their_number(outputs):
    net = rn.Network(stress.state_space(3, outputs=outputs), inputs=2)
    testing.check_kernel(net, dtype="float32", batch=3, time=3, device="cuda")
