"""Feedback between the layers of a stack."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.errors import LanguageError, RnncoreError
from rnncore.testing import check_chunks, check_gradients, check_json, check_kernel, check_pickle, close

LENGTHS = np.array([5, 2, 0])
feedback = rn.topologies.feedback
layers = rn.cells.vanilla(4), rn.cells.gru(3)


def oracle(maps, values, edges):
    """A tanh layer below one with gates, the edges' outputs of the step before read with x."""
    low, high = maps(values, "0."), maps(values, "1.")
    h = [values["0.h"], values["1.h"]]
    outputs = []
    for t in range(values["x"].shape[1]):
        fed = [{f"y{i}": h[i] for i, j in edges if j == place} for place in (0, 1)]
        first = np.tanh(low("h", x=values["x"][:, t], h=h[0], **fed[0]))
        z, r = (1 / (1 + np.exp(-high(gate, x=first, h=h[1], **fed[1]))) for gate in "zr")
        second = (1 - z) * h[1] + z * np.tanh(high("n", x=first, h=r * h[1], **fed[1]))
        active = (t < LENGTHS)[:, None]
        h = [np.where(active, new, old) for new, old in zip((first, second), h, strict=True)]
        outputs.append(np.where(active, second, 0))
    return np.stack(outputs, 1), {"0.h": h[0], "1.h": h[1]}


@pytest.mark.parametrize("edges", [[(1, 0)], [(0, 0), (0, 1), (1, 0), (1, 1)]])
def test_it_is_the_loop_one_would_write(edges, maps, slopes):
    net = rn.Network(feedback(*layers, edges=edges), inputs=2)
    rng = np.random.default_rng(0)
    params = net.init(seed=1, dtype="float64")
    params.flat[:] += 0.2 * rng.standard_normal(params.flat.size)
    x, state = rng.standard_normal((3, 5, 2)), {k: rng.standard_normal((3, *s)) for k, s in net.state_shapes.items()}
    values = {**params, "x": x, **state}
    want, want_final = oracle(maps, values, edges)
    y, final, tape = net.forward(params, x, lengths=LENGTHS, state=state)
    close("output", y, want, 1e-12)
    for path in final:
        close(path, final[path], want_final[path], 1e-12)
    dy, dfinal = rng.standard_normal(y.shape), {k: rng.standard_normal(v.shape) for k, v in final.items()}
    dx, dstate, grads = net.backward(params, tape, dy, dstate=dfinal)

    def objective(values):
        y, final = oracle(maps, values, edges)
        return (y * dy).sum() + sum((final[k] * dfinal[k]).sum() for k in dfinal)

    slopes(objective, values, {**grads, "x": dx, **dstate})


@pytest.mark.parametrize("mode", ["many-to-many", "many-to-one"])
def test_without_edges_it_is_a_stack(mode):
    arranged = feedback(*layers), rn.topologies.deep(*layers)
    nets = [rn.Network(a, inputs=2, outputs=2, mode=mode) for a in arranged]
    assert nets[0].shapes == nets[1].shapes and list(nets[0].shapes) == list(nets[1].shapes)
    assert nets[0].state_shapes == nets[1].state_shapes
    params = nets[0].init(seed=3, dtype="float64")
    assert np.array_equal(params.flat, nets[1].init(seed=3, dtype="float64").flat)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 2))
    state = {k: rng.standard_normal((3, *s)) for k, s in nets[0].state_shapes.items()}
    (y, final, tape), (want, want_final, deep_tape) = (n.forward(params, x, lengths=LENGTHS, state=state) for n in nets)
    close("output", y, want, 1e-13)
    for path in final:
        close(path, final[path], want_final[path], 1e-13)
    dy = rng.standard_normal(y.shape)
    dx, dstate, grads = nets[0].backward(params, tape, dy)
    wdx, wdstate, wgrads = nets[1].backward(params, deep_tape, dy)
    close("gradient", grads.flat, wgrads.flat, 1e-12)
    close("dx", dx, wdx, 1e-12)
    for path in dstate:
        close(path, dstate[path], wdstate[path], 1e-12)


def test_names_and_shapes():
    net = rn.Network(feedback(*layers, edges=[(1, 0), (0, 0)]), inputs=2, initial_state="learned")
    assert net.shapes["0.W_y1h"] == (4, 3) and net.shapes["0.W_y0h"] == (4, 4) and net.shapes["0.b_h"] == (4,)
    assert net.shapes["1.W_xn"] == (3, 4) and "1.W_y0n" not in net.shapes
    assert net.shapes["0.h0"] == (4,) and net.shapes["1.h0"] == (3,) and net.features == 3
    nested = rn.Network(rn.topologies.bidirectional(feedback(*layers, edges=[(1, 0)])), inputs=2)
    assert nested.shapes["backward.0.W_y1h"] == (4, 3) and nested.state_shapes["forward.1.h"] == (3,)
    check_kernel(nested)


def test_three_layers_of_every_kind():
    arranged = feedback(stress.memory(4), stress.gated(3, after=True), stress.lstmp(2), edges=[(2, 0), (0, 2), (1, 1)])
    net = rn.Network(arranged, inputs=rn.Tokens(5), outputs=2)
    assert net.state_shapes == {"0.h": (4,), "0.c": (4,), "1.h": (3,), "2.h": (2,), "2.c": (11,)}
    assert net.shapes["1.b_xn"] == (3,)
    for check in (check_kernel, check_gradients, check_chunks):
        check(net)


def test_an_output_apart_from_the_states_has_a_state_of_its_own_where_it_is_fed_back():
    fed = rn.Network(feedback(stress.state_space(3), stress.simple(4), edges=[(0, 1), (1, 0)]), inputs=2)
    assert fed.state_shapes == {"0.re": (3,), "0.im": (3,), "0.y": (4,), "1.h": (4,)}
    plain = rn.Network(feedback(stress.state_space(3), stress.simple(4)), inputs=2)
    assert "0.y" not in plain.state_shapes
    last = rn.Network(feedback(stress.simple(4), stress.state_space(3), edges=[(1, 0)]), inputs=2, mode="many-to-one")
    for net in (fed, plain, last):
        check_kernel(net)
        check_gradients(net)


def test_further_inputs_reach_every_layer():
    net = rn.Network(feedback(stress.elapsed(4), stress.elapsed(3), edges=[(1, 0)]), inputs={"x": 2, "dt": 1})
    check_kernel(net)
    check_gradients(net)


@pytest.mark.parametrize("build, words", [
    (lambda: feedback(), "topology 'feedback': a stack needs at least one layer"),
    (lambda: feedback(*layers, edges=[(1, 2)]), r"edge \(1, 2\) must join two of the layers 0 to 1"),
    (lambda: feedback(*layers, edges=[(-1, 0)]), r"edge \(-1, 0\) must join"),
    (lambda: feedback(*layers, edges=[(1, 0), [1, 0]]), r"edge \(1, 0\) is given twice"),
    (lambda: feedback(*layers, edges=[(1, 0, 0)]), r"edges are pairs .* of integers, got \(1, 0, 0\)"),
    (lambda: feedback(*layers, edges=(1, 0)), "edges are pairs .* of integers, got 1"),
    (lambda: feedback(*layers, edges=[(True, 0)]), r"edges are pairs .* of integers, got \(True, 0\)"),
    (lambda: feedback(*layers, edges=[("1", 0)]), r"edges are pairs .* of integers, got \('1', 0\)"),
    (lambda: feedback(*layers, edges=3), "edges are pairs .* of integers, got 3"),
    (lambda: feedback(layers[0], rn.topologies.deep(layers[1])), "a loop is wired of layers.*got Arrangement"),
    (lambda: feedback(layers[0], stress.gru_d(3), edges=[(0, 1)]), "no affine map of gru_d reads x itself: y0 would"),
])  # fmt: skip
def test_what_cannot_be(build, words):
    with pytest.raises(RnncoreError, match=words):
        build()


def test_sizes_that_do_not_fit_are_told_at_the_authors_line():
    with pytest.raises(LanguageError, match="4 units were asked for, but the equations of 'indrnn_of_x' fix the size"):
        rn.Network(feedback(stress.simple(3), indrnn_of_x(4)), inputs=2)
    assert rn.Network(feedback(stress.simple(3), indrnn_of_x(3)), inputs=2).features == 3


@rn.lang.cell
def indrnn_of_x(w, x, h):
    return rn.lang.tanh(w.h(h) + x)


def test_a_description():
    net = rn.Network(feedback(*layers, edges=[[1, 0], [0, 1]]), inputs=2)
    assert net == rn.Network(feedback(*layers, edges=((1, 0), (0, 1))), inputs=2)
    assert net != rn.Network(feedback(*layers, edges=((1, 0),)), inputs=2)
    check_json(net)
    check_pickle(net)
    assert repr(net.layer) == "feedback(vanilla(4), gru(3), edges=((1, 0), (0, 1)))"
    assert "next.1.h" in rn.explain(net, what="graph")


def test_layers_of_other_sizes_share_no_sizes():
    """One traced step serves every number of units."""
    for sizes in ((4, 4), (4, 5), (5, 4)):
        net = rn.Network(feedback(*map(stress.simple, sizes), edges=[(1, 0)]), inputs=2)
        assert net.shapes["0.W_y1h"] == sizes and net.features == sizes[1]
