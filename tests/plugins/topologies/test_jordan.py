"""Feedback from the output."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError, LanguageError, RnncoreError
from rnncore.testing import check_gradients, check_json, check_kernel, check_pickle, close

ACTIVATIONS = {
    "identity": lambda o: o,
    "tanh": np.tanh,
    "sigmoid": lambda o: 1 / (1 + np.exp(-o)),
    "relu": lambda o: np.where(o.real > 0, o, 0),
    "softmax": lambda o: np.exp(o) / np.exp(o).sum(-1, keepdims=True),
}
LENGTHS = np.array([6, 3, 0, 1])


def network(layer, outputs=3, inputs=2, **options):
    return rn.Network(rn.topologies.jordan(layer, outputs=outputs, **options), inputs=inputs)


def numbers(net, seed=0):
    """Parameters, inputs and initial states."""
    rng = np.random.default_rng(seed)
    params = net.init(seed=1, dtype="float64")
    params.flat[:] += 0.2 * rng.standard_normal(params.flat.size)
    x = rng.standard_normal((4, 6, 2))
    return params, x, {k: rng.standard_normal((4, *s)) for k, s in net.state_shapes.items()}


def oracle(step, maps, values, activation):
    """Outputs and final states, one step after another; `values` holds parameters, x and initial states."""
    w = maps(values)
    h, y = values["h"], values["y"]
    c, x, outputs = values.get("c", h), values["x"], []
    for t in range(x.shape[1]):
        new, memory = step(w, {"x": x[:, t]}, h, c, {"y": y})
        o = new @ values["readout.V"].T + values["readout.c"]
        active = (t < LENGTHS)[:, None]
        h, c, y = np.where(active, new, h), np.where(active, memory, c), np.where(active, ACTIVATIONS[activation](o), y)
        outputs.append(np.where(active, o, 0))
    return np.stack(outputs, 1), {"h": h, "c": c, "y": y}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["gru", "gru_after", "lstm", "lstm_diagonal", "lstm_full", "vanilla"])
def test_it_is_the_loop_one_would_write(name, activation, equations, maps, slopes):
    if activation not in ("identity", "tanh") and name != "vanilla":
        return  # the activation is the topology's, whatever the cell
    step, cell, options = equations[name]
    net = network(rn.cells[cell](5, **options), activation=activation)
    params, x, state = numbers(net)
    values = {**params, "x": x, **state}
    want, want_final = oracle(step, maps, values, activation)
    y, final, tape = net.forward(params, x, lengths=LENGTHS, state=state)
    close("output", y, want, 1e-12)
    for path in final:
        close(path, final[path], want_final[path], 1e-12)
    rng = np.random.default_rng(2)
    dy, dfinal = rng.standard_normal(y.shape), {k: rng.standard_normal(v.shape) for k, v in final.items()}
    dx, dstate, grads = net.backward(params, tape, dy, dstate=dfinal)

    def objective(values):
        y, final = oracle(step, maps, values, activation)
        return (y * dy).sum() + sum((final[k] * dfinal[k]).sum() for k in dfinal)

    slopes(objective, values, {**grads, "x": dx, **dstate})


def test_names_and_shapes():
    net = network(rn.cells.lstm(5), activation="tanh")
    assert net.shapes["W_yi"] == (5, 3) and net.shapes["readout.V"] == (3, 5) and net.shapes["readout.c"] == (3,)
    assert not [path for path in net.shapes if path.startswith("W_h")]
    assert net.state_shapes == {"h": (5,), "c": (5,), "y": (3,)} and net.features == 3
    learned = rn.Network(net.layer, inputs=2, initial_state="learned")
    assert learned.shapes["y0"] == (3,)
    both = rn.topologies.deep(rn.topologies.bidirectional(rn.topologies.jordan(rn.cells.gru(4), outputs=2)))
    shapes = rn.Network(both, inputs=2).shapes
    assert shapes["0.backward.readout.V"] == (2, 4) and shapes["0.forward.W_yz"] == (4, 2)
    assert shapes["0.forward.W_hn"] == (4, 4)


def test_parameters_start_as_those_of_other_networks():
    net = network(rn.cells.vanilla(6))
    params = net.init(seed=0, dtype="float64")
    np.testing.assert_allclose(params["W_yh"].T @ params["W_yh"], np.eye(3), atol=1e-12)
    assert not params["readout.c"].any() and params["readout.V"].any()
    assert not net.init(readout=0.0)["readout.V"].any() and not net.init(recurrent=0.0)["W_yh"].any()


def test_tokens_and_several_inputs():
    tokens = rn.Network(rn.topologies.jordan(rn.cells.gru(5), outputs=3), inputs=rn.Tokens(7))
    several = rn.Network(rn.topologies.jordan(stress.elapsed(5), outputs=3), inputs={"x": 2, "dt": 1})
    for net in (tokens, several):
        check_kernel(net)
        check_gradients(net)


def test_a_loss_on_what_the_block_gives():
    net = network(rn.cells.vanilla(5), activation="softmax")
    params, x, _ = numbers(net)
    target = np.random.default_rng(0).integers(0, 3, (4, 6))
    value, grads = net.loss_and_grad(params, x, target, loss="cross_entropy", lengths=LENGTHS)
    o, _, tape = net.forward(params, x, lengths=LENGTHS)
    inside = np.arange(6) < LENGTHS[:, None]
    p = np.exp(o) / np.exp(o).sum(-1, keepdims=True)
    assert np.isclose(value, -np.log(np.take_along_axis(p, target[..., None], -1))[inside].mean())
    by_hand = net.backward(params, tape, (p - np.eye(3)[target]) / LENGTHS.sum())[2]
    close("gradient", grads.flat, by_hand.flat, 1e-12)


def test_the_size_of_what_is_fed_back_that_a_cell_demands():
    for layer in (stress.antisymmetric(3), stress.indrnn(3), stress.fastgrnn(5)):
        check_kernel(network(layer))
    with pytest.raises(LanguageError, match="7 units were asked for, but the equations of 'indrnn' fix the size"):
        network(stress.indrnn(7))
    with pytest.raises(LanguageError, match="sizes differ: 5 and 3"):
        network(stress.dale(5))


@rn.lang.cell
def taken(w, x, y):
    return rn.lang.tanh(w.y(x, y))


@rn.lang.cell
def further(w, x, h, *, y):
    return rn.lang.tanh(w.h(x, h, y) * rn.lang.sum(y))


@rn.lang.cell
def second(w, x, h, y):
    return rn.lang.tanh(w.h(x, h)), rn.lang.tanh(w.y(x, y))


@rn.lang.cell
def named(w, x, h):
    return rn.lang.tanh(w.h(x, h) + w.g(y=x * 2))


@pytest.mark.parametrize("build, words", [
    (lambda: rn.topologies.jordan(rn.cells.gru(4)), "topology 'jordan': outputs is missing"),
    (lambda: network(rn.cells.gru(4), 0), "outputs must be a positive integer, got 0|size of state 'y' must be a pos"),
    (lambda: network(rn.cells.gru(4), 2.5), "must be a positive integer, got 2.5"),
    (lambda: network(rn.cells.gru(4), activation="cubic"), "activation must be one of identity, tanh.*got 'cubic'"),
    (lambda: network(rn.topologies.bidirectional(rn.cells.gru(4))), "a loop is wired of layers.*got Arrangement"),
    (lambda: network(stress.gru_d(4)), "no affine map of gru_d reads h itself: y would enter nowhere"),
    (lambda: network(stress.state_space(4)), "no affine map of state_space reads re itself"),
    (lambda: network(taken(4)), "two states would both be called 'y'"),
    (lambda: network(second(4)), "an operand 'y' cannot be wired into second, which has an input or a state"),
    (lambda: network(named(4)), "an operand 'y' is wired into these equations, which have one of that name"),
    (lambda: rn.Network(rn.topologies.jordan(rn.cells.gru(4), outputs=2), inputs=2, outputs=2),
     r"outputs=2 asks for a readout, but the last block has one of its own"),
    (lambda: rn.Network(rn.topologies.deep(rn.cells.gru(4), rn.topologies.jordan(rn.cells.gru(4), outputs=2)),
                        inputs=2, outputs=2), r"outputs=2 asks for a readout"),
])  # fmt: skip
def test_what_cannot_be(build, words):
    with pytest.raises(RnncoreError, match=words):
        build()


def test_a_readout_above_it_where_it_is_not_the_last():
    inner = rn.topologies.jordan(rn.cells.vanilla(4), outputs=2)
    for arranged in (rn.topologies.deep(inner, rn.cells.gru(3)), rn.topologies.bidirectional(inner)):
        check_kernel(rn.Network(arranged, inputs=2, outputs=5))


def test_a_description():
    net = network(rn.cells.lstm(4, peephole="full"), activation="tanh")
    check_json(net)
    check_pickle(net)
    assert repr(net.layer) == "jordan(lstm(4, peephole='full'), outputs=3, activation='tanh')"
    assert net != network(rn.cells.lstm(4, peephole="full"))
    text = net.to_json().replace('"outputs": 3', '"outputs": 4')
    with pytest.raises(RnncoreError, match="topology 'jordan' has changed"):
        rn.Network.from_json(text)
    explained = rn.explain(net)
    assert "def output_to_hidden" in explained and "def lstm" in explained and "readout.V" in explained


def test_a_state_or_an_input_may_be_called_y_in_a_cell_of_ones_own():
    for net in (rn.Network(taken(4), inputs=3), rn.Network(further(4), inputs={"x": 3, "y": 2})):
        check_kernel(net)
        check_gradients(net)


def test_an_error_says_what_was_got():
    with pytest.raises(InputError, match="no option 'output'"):
        rn.topologies.jordan(rn.cells.gru(4), output=3)


def test_a_sequence_of_length_0_ends_in_the_readout_of_its_initial_state():
    net = rn.Network(rn.topologies.jordan(rn.cells.vanilla(5), outputs=3), inputs=2, mode="many-to-one")
    params, x, state = numbers(net)
    y, final, tape = net.forward(params, x, lengths=LENGTHS, state=state)
    close("last output", y, final["h"] @ params["readout.V"].T + params["readout.c"], 1e-13)
    assert y[2].any() and np.array_equal(final["h"][2], state["h"][2])
    dy = np.random.default_rng(0).standard_normal(y.shape)
    dstate = net.backward(params, tape, dy)[1]
    close("initial h", dstate["h"][2], dy[2] @ params["readout.V"], 1e-13)
    for arranged in (net.layer, rn.topologies.bidirectional(net.layer), rn.topologies.deep(net.layer, net.layer)):
        end = rn.Network(arranged, inputs=2, mode="many-to-one", initial_state="learned")
        check_kernel(end)
        check_gradients(end)
    nothing, _, tape = net.forward(params, x[:, :0], state=state)
    close("no steps", nothing, state["h"] @ params["readout.V"].T + params["readout.c"], 1e-13)
    grads = net.backward(params, tape, dy)[2]
    close("V", grads["readout.V"], dy.T @ state["h"], 1e-13)
    close("c", grads["readout.c"], dy.sum(0), 1e-13)
