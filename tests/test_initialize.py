"""Biases as a role, and initialisers that set several arrays of a layer together."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError
from rnncore.lang import initializer


@initializer
def opposed(shapes, rng, *, first="f", second="i"):
    """Two biases that are each other's negative."""
    values = rng.standard_normal(shapes.get(f"b_{first}", (0,)))
    return {name: sign * values for name, sign in ((f"b_{first}", 1), (f"b_{second}", -1)) if name in shapes}


@initializer
def names_too_much(shapes, rng):
    """Sets what is not there."""
    return {"b_nobody": np.zeros(3)}


@initializer
def too_short(shapes, rng):
    """A number for each array."""
    return {name: np.zeros(1) for name in shapes}


@initializer
def transposes(shapes, rng, *, gain=1.0):
    """Every matrix alike."""
    return {name: np.full(shape, gain) for name, shape in shapes.items()}


@initializer
def gives_a_text(shape, rng):
    return "orthogonal"


@initializer
def refuses(shape, rng, *, least=0):
    """Not as it is called."""
    raise ValueError("least is missing")


def network(*layers):
    return rn.Network(stress.stacked(*layers), inputs=2, outputs=3)


def test_biases_start_as_asked_where_the_equations_say_nothing():
    net = network(stress.memory(4), stress.gated(5))
    params = net.init(seed=3, bias=0.25)
    for path, value in params.items():
        if "b_" in path or path == "readout.c":
            assert (value == (1.0 if path == "0.b_f" else 0.25)).all(), path
    zero = net.init(seed=3)
    assert not zero["0.b_i"].any() and not zero["readout.c"].any() and (zero["0.b_f"] == 1).all()
    drawn = net.init(seed=3, bias="uniform")
    assert drawn["0.b_i"].std() > 0 and (drawn["0.b_i"] != drawn["0.b_o"]).all()
    for path in params:
        if "W_" in path:
            assert np.array_equal(params[path], zero[path]) and np.array_equal(drawn[path], zero[path])


def test_several_arrays_of_a_layer_are_set_together():
    net = network(stress.memory(4), stress.gated(5), stress.both_ways(stress.memory(3)))
    plain, params = net.init(seed=1), net.init(seed=1, bias=opposed())
    for layer in ("0.", "2.forward.", "2.backward."):
        assert np.array_equal(params[f"{layer}b_f"], -params[f"{layer}b_i"]) and params[f"{layer}b_f"].any()
    assert (params["2.forward.b_f"] != params["2.backward.b_f"]).all()
    changed = {path for path in params if not np.array_equal(params[path], plain[path])}
    assert changed == {f"{layer}b_{gate}" for layer in ("0.", "2.forward.", "2.backward.") for gate in "fi"}
    assert params == net.init(seed=1, bias=opposed) and params != net.init(seed=2, bias=opposed)


def test_a_plain_layer_has_no_prefix():
    params = rn.Network(stress.memory(4), inputs=2).init(bias=opposed())
    assert np.array_equal(params["b_f"], -params["b_i"]) and params["b_f"].any()


def test_any_role():
    params = network(stress.simple(4)).init(recurrent=transposes(gain=0.5))
    assert (params["0.W_hh"] == 0.5).all() and not (params["0.W_xh"] == 0.5).any()


@pytest.mark.parametrize(
    ("roles", "text"),
    [
        (
            {"bias": opposed(first="nobody", second="no one")},
            "sets nothing in this network; of this role it has: 0.b_h",
        ),
        (
            {"bias": names_too_much()},
            r"'names_too_much' gave shape \(3,\) for '0.b_nobody', there are \{'b_h': \(4,\)\}",
        ),
        ({"bias": too_short()}, r"'too_short' gave shape \(1,\) for '0.b_h'"),
        ({"recurrent": rn.initializers.orthogonal(gain="large")}, "initialiser 'orthogonal': "),
        ({"recurrent": refuses()}, "initialiser 'refuses': least is missing"),
        ({"recurrent": gives_a_text}, "'gives_a_text' gave no array of numbers for '0.W_hh': could not convert"),
        ({"biases": 0.0}, "'biases' is no role of parameters; roles are input, .*bias"),
    ],
)
def test_what_cannot_be_is_refused(roles, text):
    with pytest.raises(InputError, match=text):
        network(stress.simple(4)).init(**roles)
