"""The face of a network: what it is called, what it gives, and what it refuses."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError
from rnncore.testing import close, example

x = np.random.default_rng(0).standard_normal((4, 6, 3))


def net_of(**options):
    return rn.Network(stress.memory(5), inputs=3, **options)


def test_paths_of_a_plain_layer_and_the_readout():
    net = net_of(outputs=2, initial_state="learned")
    gates = [f"{name}{g}" for g in "ifog" for name in ("W_x", "W_h", "b_")]
    assert set(net.shapes) == {*gates, "h0", "c0", "readout.V", "readout.c"}
    assert net.shapes["W_xi"] == (5, 3) and net.shapes["W_hi"] == (5, 5) and net.shapes["h0"] == (5,)
    assert net.shapes["readout.V"] == (2, 5) and net.shapes["readout.c"] == (2,)
    assert net.state_shapes == {"h": (5,), "c": (5,)}


def test_paths_of_topologies():
    block = stress.stacked(stress.both_ways(stress.simple(4)), stress.simple(2))
    net = rn.Network(block, inputs=3, outputs=7)
    assert list(net.shapes) == [
        *(f"0.{d}.{n}" for d in ("forward", "backward") for n in ("W_xh", "W_hh", "b_h")),
        "1.W_xh", "1.W_hh", "1.b_h", "readout.V", "readout.c",
    ]  # fmt: skip
    assert net.shapes["1.W_xh"] == (2, 8) and net.shapes["readout.V"] == (7, 2)
    assert list(net.state_shapes) == ["0.forward.h", "0.backward.h", "1.h"]


@pytest.mark.parametrize("mode, outputs, shape", [
    ("many-to-many", None, (4, 6, 5)), ("many-to-many", 2, (4, 6, 2)),
    ("many-to-one", None, (4, 5)), ("many-to-one", 2, (4, 2)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_and_dtypes_of_results(mode, outputs, shape, dtype):
    net = net_of(mode=mode, outputs=outputs)
    params = net.init(dtype=dtype)
    y, state, tape = net.forward(params, x)
    dx, dstate, grads = net.backward(params, tape, y)
    assert y.shape == shape and dx.shape == x.shape
    for states in (state, dstate):
        assert {k: v.shape for k, v in states.items()} == {"h": (4, 5), "c": (4, 5)}
    assert {a.dtype.name for a in (y, dx, *state.values(), *dstate.values(), grads.flat)} == {dtype}
    assert isinstance(grads, rn.Params) and grads.shapes == params.shapes


def test_the_last_output_is_each_directions_final_state():
    net = rn.Network(stress.both_ways(stress.gated(4)), inputs=3, mode="many-to-one")
    params = net.init(seed=1, dtype="float64")
    lengths = np.array([6, 1, 3, 0])
    y, state = net(params, x, lengths=lengths)
    np.testing.assert_array_equal(y, np.concatenate([state["forward.h"], state["backward.h"]], 1))
    many = rn.Network(stress.both_ways(stress.gated(4)), inputs=3)(params, x, lengths=lengths)[0]
    for b, n in enumerate(lengths[:3]):
        np.testing.assert_array_equal(y[b], np.concatenate([many[b, n - 1, :4], many[b, 0, 4:]]))


def test_the_readout_is_affine():
    plain, read = net_of(), net_of(outputs=2)
    params = read.init(seed=2, dtype="float64")
    params["readout.c"][:] = [0.5, -1]
    inner = rn.Params({k: s for k, s in params.shapes.items() if "readout" not in k}, params.flat[:-12])
    h = plain(inner, x)[0]
    close("readout", read(params, x)[0], h @ params["readout.V"].T + params["readout.c"], 1e-13)


def test_outputs_past_a_length_are_zero_and_the_readout_does_not_fill_them():
    net = net_of(outputs=2)
    params = net.init()
    params["readout.c"][:] = 1
    y, _ = net(params, x, lengths=[6, 2, 0, 4])
    assert not y[1, 2:].any() and not y[2].any() and not y[3, 4:].any() and y[0].all()


def test_a_sequence_of_length_zero_returns_its_initial_state():
    net = net_of(mode="many-to-one", outputs=2, initial_state="learned")
    params = net.init(dtype="float64")
    params["h0"][:], params["c0"][:] = np.arange(5), -np.arange(5.0)
    y, state = net(params, x, lengths=[0, 6, 0, 3], state={"c": np.ones((4, 5))})
    np.testing.assert_array_equal(state["h"][[0, 2]], np.tile(np.arange(5.0), (2, 1)))
    np.testing.assert_array_equal(state["c"][0], np.ones(5))
    close("readout of the initial state", y[0], params["readout.V"] @ np.arange(5.0) + params["readout.c"], 1e-14)


def test_states_that_are_not_given_start_as_the_network_says():
    net, learned = net_of(), net_of(initial_state="learned")
    params = net.init(dtype="float64")
    given = {"h": np.full((4, 5), 0.3)}
    same = {"h": given["h"], "c": np.zeros((4, 5))}
    np.testing.assert_array_equal(net(params, x, state=given)[0], net(params, x, state=same)[0])
    of_learned = learned.init(dtype="float64")
    assert not of_learned["h0"].any()
    of_learned["h0"][:] = 0.3
    np.testing.assert_array_equal(learned(of_learned, x)[0], net(params, x, state=given)[0])


def test_the_gradient_of_a_learned_state_sums_over_sequences_and_skips_given_ones():
    net = net_of(initial_state="learned")
    e = example(net)
    e.params["h0"][:] = 0.2
    _, _, tape = net.forward(e.params, e.x, lengths=e.lengths)
    _, dstate, grads = net.backward(e.params, tape, e.dy, dstate=e.dstate)
    close("h0", grads["h0"], dstate["h"].sum(0), 1e-14)
    _, _, tape = net.forward(e.params, e.x, lengths=e.lengths, state={"h": e.state["h"]})
    _, dstate, grads = net.backward(e.params, tape, e.dy, dstate=e.dstate)
    assert not grads["h0"].any() and grads["c0"].any()


@pytest.mark.parametrize("shape", [(0, 6, 3), (4, 0, 3), (0, 0, 3), (1, 1, 3)])
@pytest.mark.parametrize("mode", ["many-to-many", "many-to-one"])
@pytest.mark.parametrize("arrange", [lambda layer: layer, stress.both_ways, lambda layer: stress.stacked(layer, layer)])
def test_empty_batches_and_no_time(shape, mode, arrange):
    net = rn.Network(arrange(stress.memory(5)), inputs=3, outputs=2, mode=mode)
    params = net.init(dtype="float64")
    y, state, tape = net.forward(params, np.zeros(shape))
    dx, dstate, grads = net.backward(params, tape, np.ones(y.shape))
    assert y.shape == ((shape[0], 2) if mode == "many-to-one" else (*shape[:2], 2)) and dx.shape == shape
    assert all(s.shape == (shape[0], 5) for s in state.values())
    assert np.isfinite(grads.flat).all()
    if shape[1] == 0:
        assert not any(s.any() for s in state.values()) and not grads["readout.V"].any()


def test_one_unit_one_input_one_step():
    net = rn.Network(stress.simple(1), inputs=1)
    params = net.init(dtype="float64")
    y, _ = net(params, np.ones((1, 1, 1)))
    assert y[0, 0, 0] == pytest.approx(np.tanh(params["W_xh"][0, 0]), rel=1e-15)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_finite_inside_a_length_stays_in_its_sequence(number, dtype):
    net = rn.Network(stress.both_ways(stress.memory(17)), inputs=3)
    params = net.init(dtype=dtype)
    bad = x.copy()
    bad[1, 2, 0] = number
    y, state, tape = net.forward(params, bad)
    clean, clean_state = net(params, x)
    others = [0, 2, 3]
    np.testing.assert_array_equal(y[others], clean[others])
    np.testing.assert_array_equal(y[1, :2, :17], clean[1, :2, :17])
    assert not np.array_equal(y[1], clean[1])
    if np.isnan(number):
        assert np.isnan(y[1, 2:, :17]).all() and np.isnan(y[1, :3, 17:]).all()
        assert np.isnan(state["forward.h"][1]).all()
    dx, _, _ = net.backward(params, tape, np.ones(y.shape))
    assert np.isfinite(dx[others]).all()


@pytest.mark.parametrize("build, words", [
    (lambda: rn.Network(stress.simple, inputs=3), "a network is made of layers and topologies, got Cell"),
    (lambda: rn.Network("lstm", inputs=3), "got str"),
    (lambda: rn.Network(stress.simple(3), inputs=0), "inputs must be a positive integer, got 0"),
    (lambda: rn.Network(stress.simple(3), inputs=2.5), "inputs must be a positive integer"),
    (lambda: rn.Network(stress.simple(3), inputs=True), "inputs must be a positive integer"),
    (lambda: rn.Network(stress.simple(3), inputs={"x": 0}), "x must be a positive integer"),
    (lambda: rn.Network(stress.simple(3), inputs=2, outputs=0), "outputs must be a positive integer"),
    (lambda: rn.Network(stress.simple(3), inputs=2, mode="last"), "mode must be one of many-to-many, many-to-one"),
    (lambda: rn.Network(stress.simple(3), inputs=2, initial_state="one"), "initial_state must be one of"),
    (lambda: rn.Tokens(0), "Tokens needs a positive integer, got 0"),
    (lambda: rn.Network(stress.stacked(stress.simple(3), stress.simple(4), residual=True), inputs=3), "equal sizes"),
])  # fmt: skip
def test_impossible_networks(build, words):
    with pytest.raises(InputError, match=words):
        build()


def test_a_description_is_a_value():
    net, same, other = net_of(outputs=2), net_of(outputs=2), net_of(outputs=3)
    assert net == same and hash(net) == hash(same) and net != other and len({net, same, other}) == 2
    assert repr(net) == "Network(memory(5), inputs=3, outputs=2)"
    with pytest.raises(AttributeError):
        net.outputs = 4
    named = rn.Network(stress.elapsed(2), inputs={"x": 3, "dt": 1})
    assert hash(named) == hash(rn.Network(stress.elapsed(2), inputs={"x": 3, "dt": 1})) and "'dt': 1" in repr(named)


@pytest.mark.parametrize("wrong, words", [
    (lambda p: dict(p), "params must be rn.Params, as net.init gives them, got dict"),
    (lambda p: rn.Network(stress.memory(6), inputs=3).init(), "has shape"),
    (lambda p: rn.Network(stress.simple(5), inputs=3).init(), "params lack"),
    (lambda p: net_of(outputs=2).init(), "does not know"),
])  # fmt: skip
def test_parameters_of_another_layout(wrong, words):
    net = net_of()
    params = net.init()
    for call in (lambda p: net(p, x), lambda p: net.forward(p, x), lambda p: net.bind(p), lambda p: net.stream(p)):
        with pytest.raises(InputError, match=words):
            call(wrong(params))


def test_parameters_of_an_equal_layout_made_elsewhere_are_fine():
    net = net_of()
    params = net.init()
    again = rn.Params(params.shapes, params.flat.copy())
    np.testing.assert_array_equal(net(again, x)[0], net(params, x)[0])


@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
def test_two_directions_are_two_layers_one_of_which_reads_backward(merge):
    layer = stress.gated(4)
    net = rn.Network(stress.both_ways(layer, merge=merge), inputs=3)
    params = net.init(seed=1, dtype="float64")
    n = params.flat.size // 2
    single = rn.Network(layer, inputs=3)
    forward, backward = (rn.Params(single.shapes, params.flat[s]) for s in (slice(0, n), slice(n, None)))
    lengths = np.array([6, 1, 3, 0])
    a, b = single(forward, x, lengths=lengths)[0], np.zeros((4, 6, 4))
    for k, steps in enumerate(lengths):
        b[k, :steps] = single(backward, x[k : k + 1, :steps][:, ::-1])[0][0, ::-1]
    want = {"concat": np.concatenate([a, b], 2), "sum": a + b, "mean": (a + b) / 2}[merge]
    close("output", net(params, x, lengths=lengths)[0], want, 1e-13)


def test_stacked_layers_read_one_another():
    net = rn.Network(stress.stacked(stress.gated(3), stress.gated(3), residual=True), inputs=3)
    params = net.init(seed=1, dtype="float64")
    n = params.flat.size // 2
    single = rn.Network(stress.gated(3), inputs=3)
    first = single(rn.Params(single.shapes, params.flat[:n]), x)[0]
    second = single(rn.Params(single.shapes, params.flat[n:]), first)[0]
    close("output", net(params, x)[0], first + second, 1e-13)
