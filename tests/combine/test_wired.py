"""Wiring graph to graph: what a function of layers may say, and what it is told."""

import pickle

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.combine import Loop, Wired, topology, wired
from rnncore.errors import InputError, RnncoreError
from rnncore.lang import cell, scalar, tanh
from rnncore.lang.trace import trace
from rnncore.testing import CHECKS, check_gradients, check_kernel

layer = stress.simple(4)


def summed(net, first, second, *, gain=0.5):
    """Two layers that read the same, their sum handed on and read by the first."""
    both = net.state("both")
    left = net.layer(first, "left.", instead={"h": {"both": both}})
    right = net.layer(second, "right.", beside={"x": {"both": tanh(both)}})
    net.next("both", gain * left + right)
    return left + right


@topology
def crossed(first, second, *, gain=0.5):
    """Both read their sum of the step before."""
    return wired(summed, first, second, gain=gain)


@pytest.mark.parametrize("check", [c for c in CHECKS if "json" not in c.__name__], ids=lambda c: c.__name__)
def test_a_wiring_of_ones_own(check):
    check(rn.Network(crossed(stress.gated(4), stress.memory(4)), inputs=3))


def test_names_and_sizes():
    net = rn.Network(crossed(stress.gated(4), stress.memory(4)), inputs=3, outputs=2)
    assert net.state_shapes == {"left.h": (4,), "right.h": (4,), "right.c": (4,), "both": (4,)}
    assert net.shapes["left.W_bothz"] == net.shapes["right.W_bothi"] == net.shapes["left.W_hn"] == (4, 4)
    assert "left.W_hz" not in net.shapes and "right.W_hi" in net.shapes
    check_kernel(net)


def test_a_wired_loop_is_a_value():
    a, b = wired(summed, layer, layer, gain=0.5), wired(summed, layer, layer, gain=0.5)
    assert isinstance(a, Loop) and isinstance(a.layer, Wired)
    assert a == b and hash(a) == hash(b) and pickle.loads(pickle.dumps(a)) == a
    assert a.layer.step is b.layer.step and a != wired(summed, layer, layer, gain=1.0)
    assert repr(a.layer) == "summed(simple(4), simple(4), gain=0.5)"
    assert a.layer.members == (("left.", layer), ("right.", layer)) and a.layer.fed_back is None
    different = wired(summed, layer, stress.simple(5))
    assert [m.units for _, m in different.layer.members] == [4, 5]
    assert a.layer.step is not wired(summed, layer, stress.simple(4, activation="relu"), gain=0.5).layer.step


def test_the_hash_of_an_arrangement_follows_the_equations():
    one, other = crossed(layer, layer), crossed(layer, layer, gain=1.0)
    assert one.describe()["graph"] == crossed(layer, layer).describe()["graph"] != other.describe()["graph"]


def test_every_kind_of_operand_keeps_its_kind():
    step = trace(stress.lstmp.fn, {"memory": 11}, {"h": ("y",), "x": ("x", "z")})
    names = [p.name for p in step.params]
    assert names[:5] == ["W_xi", "W_zi", "W_yi", "W_ci", "b_i"] and step.inputs == ("x", "y", "z")
    low = trace(stress.fastgrnn.fn, {"rank": 2}, {"h": ("y",)})
    shapes = {p.name: tuple(map(str, p.shape)) for p in low.params}
    assert shapes["U_ya"] == ("units", "2") and shapes["V_ya"] == ("2", "y") and "U_ha" not in shapes
    roles = {p.name: p.role for p in trace(stress.simple.fn, {"activation": "tanh"}, {"x": ("x", "fed")}).params}
    assert roles == {"W_xh": "input", "W_fedh": "recurrent", "W_hh": "recurrent", "b_h": "bias"}
    sliced = trace(stress.rhn.fn, {"depth": 2}, {"h": ("y",)})  # h=h is h itself, the computed one is not
    assert {"W_yn0", "W_hn1"} <= {p.name for p in sliced.params} and "W_hn0" not in {p.name for p in sliced.params}


@cell
def one_number(w, x, h, *, dt):
    """Leaks by the time that went by."""
    return h + scalar(dt) * tanh(w.h(x, h))


def as_time(net, first, second):
    return net.layer(second, "1.", inputs={"dt": net.layer(first, "0.")})


def no_output(net, only):
    net.layer(only)


def forgotten(net, only):
    net.state("y", 3)
    return net.layer(only)


def twice(net, only):
    net.layer(only)
    return net.layer(only)


def a_number(net, only):
    net.next("y", 3.0)
    return net.layer(only)


def two_readouts(net, only):
    h = net.layer(only)
    return net.readout(net.readout(h, 2), 2)


def misspelt(net, only):
    return net.layer(only, instead={"hh": {"y": net.state("y")}})


def stranger(net, only):
    return net.layre(only)


@pytest.mark.parametrize("build, words", [
    (lambda: wired(summed, layer, 3), "a loop is wired of layers, cells called with their units, got int"),
    (lambda: wired(summed, layer, wired(summed, layer, layer)), "got Loop"),
    (lambda: wired(no_output, layer), r"test_wired.py:\d+: no_output must return the output, a vector"),
    (lambda: wired(forgotten, layer), r"test_wired.py:\d+: forgotten hands on no new y"),
    (lambda: wired(twice, layer), "two different weights would both be called 'W_xh'; bring in layers under different"),
    (lambda: wired(a_number, layer), "state 'y' is a vector, and so is what is handed on"),
    (lambda: wired(two_readouts, layer), "two different weights would both be called 'readout.V'"),
    (lambda: wired(misspelt, layer), "simple has no input or state 'hh' that could be rewired; it has x, h"),
    (lambda: wired(stranger, layer), r"test_wired.py:\d+: AttributeError: .* no attribute 'layre'"),
    (lambda: wired(as_time, layer, one_number(4)), "dt is taken as one number, but what is wired there is a vector"),
])  # fmt: skip
def test_impossible_wirings(build, words):
    with pytest.raises(RnncoreError, match=words):
        build()


def test_what_a_layer_demands_of_the_other():
    with pytest.raises(RnncoreError, match=r"sizes differ: \d+ .*and \d+"):
        rn.Network(crossed(stress.simple(4), stress.simple(5)), inputs=3)
    with pytest.raises(InputError, match="reads the input 'dt'; the network gives: x"):
        rn.Network(crossed(one_number(4), one_number(4)), inputs=3)
    timed = rn.Network(crossed(one_number(4), stress.elapsed(4)), inputs={"x": 3, "dt": 1})
    check_kernel(timed)
    check_gradients(timed)


@topology
def broken(only):
    raise ValueError("this topology wants nothing")


def test_a_topology_that_refuses_says_which():
    with pytest.raises(InputError, match="topology 'broken': this topology wants nothing"):
        broken(layer)


def test_the_teaching_form_differs_in_what_is_handed_on_alone():
    loop = fed_loop()
    plain, taught = loop.layer, loop.layer.teaching
    assert taught.true_inputs == ("y.true", "y.forced") and plain.fed_back == "y"
    assert taught.step.inputs == ("x", "y.true", "y.forced") and plain.step.inputs == ("x",)
    assert [p.name for p in taught.step.params] == [p.name for p in plain.step.params]


def fed_loop():
    return wired(output_to_hidden, stress.gated(4))


def output_to_hidden(net, only):
    y = net.state("y", 3)
    o = net.readout(net.layer(only, instead={"h": {"y": y}}), 3)
    net.next("y", o, output=True)
    return o


def test_traces_in_several_threads():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: wired(summed, stress.gated(n + 1), stress.gated(n + 1), gain=n / 8), range(16)))
    assert len({loop.layer.step.fingerprint for loop in made}) == 16
    assert np.unique([m.units for loop in made for _, m in loop.layer.members]).tolist() == list(range(1, 17))
