"""Forward mode against the complex step, Hessian-vector products against differences: arrangements, lengths, dtypes."""

import numpy as np
import pytest
import stress
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore import reference
from rnncore.errors import InputError, LanguageError
from rnncore.testing import close, example

FINAL = {"mode": "many-to-one", "outputs": 2, "initial_state": "learned"}
ONE, BOTH = stress.gated, stress.both_ways
NETS = {
    "layer": rn.Network(ONE(5), inputs=3),
    "readout": rn.Network(ONE(5), inputs=3, outputs=2, initial_state="learned"),
    "final": rn.Network(ONE(5), inputs=3, **FINAL),
    "stacked": rn.Network(stress.stacked(ONE(5), ONE(5), ONE(5), residual=True, dropout=0.3), inputs=3, outputs=2),
    "stacked final": rn.Network(stress.stacked(ONE(3), ONE(3), residual=True), inputs=3, **FINAL),
    "both ways": rn.Network(BOTH(ONE(5)), inputs=3),
    "both ways final": rn.Network(BOTH(ONE(5)), inputs=3, **FINAL),
    "nested": rn.Network(
        stress.stacked(BOTH(stress.stacked(ONE(4), BOTH(ONE(3)))), BOTH(ONE(2), merge="mean"), ONE(5)), inputs=3
    ),
    "nested final": rn.Network(BOTH(stress.stacked(BOTH(ONE(4)), BOTH(ONE(3), merge="sum"))), inputs=3, **FINAL),
    "tokens": rn.Network(BOTH(ONE(5)), inputs=rn.Tokens(4), outputs=4),
    "apart": rn.Network(stress.stacked(stress.state_space(4), BOTH(stress.state_space(3))), inputs=3),
    "apart final": rn.Network(BOTH(stress.state_space(4)), inputs=3, **FINAL),
    "several": rn.Network(stress.stacked(stress.gru_d(4), stress.gru_d(4)), inputs={"x": 4, "m": 4, "dt": 4}),
    "number a step": rn.Network(BOTH(stress.elapsed(4)), inputs={"x": 3, "dt": 1}),
}
BOUNDS = {"float32": (1e-4, 1e-3), "float64": (1e-11, 1e-9)}  # of the jvp; of the hvp


def each(x, change):
    return {k: change(v) for k, v in x.items()} if isinstance(x, dict) else change(x)


def directions(net, e, seed=5):
    """Directions of parameters, inputs (None for tokens) and states."""
    rng = np.random.default_rng(seed)
    dparams = e.params.with_flat(rng.standard_normal(e.params.flat.size).astype(e.params.dtype))
    still = isinstance(net.inputs, rn.Tokens)
    dx = None if still else each(e.x, lambda v: rng.standard_normal(v.shape))
    return dparams, dx, {k: rng.standard_normal(v.shape) for k, v in e.state.items()}


def complex_step(net, e, dparams, dx, dstate, state):
    """Derivatives of outputs and final states along a direction, by the reference."""
    h = 1e-30
    params = {k: e.params[k] + 1j * h * (0 if dparams is None else dparams[k]) for k in e.params}
    x = e.x
    if dx is not None:
        x = {k: v + 1j * h * dx.get(k, 0) for k, v in x.items()} if isinstance(x, dict) else x + 1j * h * dx
    start = None if state is None else {k: v + 1j * h * dstate.get(k, 0) for k, v in state.items()}
    y, final = reference.run(net, params, x, lengths=e.lengths, state=start)
    return y.imag / h, {k: v.imag / h for k, v in final.items()}


@pytest.mark.parametrize("name, dtype", [*((n, "float64") for n in NETS), ("nested final", "float32")])
def test_the_jvp_is_the_complex_step(name, dtype):
    net = NETS[name]
    e = example(net, dtype=dtype)
    dparams, dx, dstate = directions(net, e)
    y, y_dot, final, final_dot = net.jvp(e.params, e.x, dparams=dparams, dx=dx, dstate=dstate, **e.given)
    plain, plain_final = net(e.params, e.x, **e.given)
    want, want_final = complex_step(net, e, dparams, dx, dstate, e.state)
    close("y", y, plain, 1e-5 if dtype == "float32" else 1e-13)
    close("its direction", y_dot, want, BOUNDS[dtype][0])
    assert y_dot.dtype == dtype and list(final_dot) == list(final) == list(net.state_shapes)
    for path in final:
        close(path, final[path], plain_final[path], 1e-5 if dtype == "float32" else 1e-13)
        close(f"direction of {path}", final_dot[path], want_final[path], BOUNDS[dtype][0])


@pytest.mark.parametrize("which", ["dparams", "dx", "dstate"])
def test_each_direction_alone(which):
    net = NETS["readout"]
    e = example(net)
    given = dict(zip(("dparams", "dx", "dstate"), directions(net, e), strict=True))
    alone = {k: v if k == which else None for k, v in given.items()}
    _, y_dot, _, _ = net.jvp(e.params, e.x, **alone, **e.given)
    want, _ = complex_step(net, e, alone["dparams"], alone["dx"], alone["dstate"] or {}, e.state)
    close(which, y_dot, want, 1e-12)


def test_a_learned_start_moves_with_the_parameters_and_with_its_own_direction():
    net = NETS["readout"]
    e = example(net)
    dparams, _, dstate = directions(net, e)
    learned = {"h": np.broadcast_to(e.params["h0"], e.state["h"].shape)}
    moving = {"h": dparams["h0"] + dstate["h"]}
    _, got, _, _ = net.jvp(e.params, e.x, dparams=dparams, dstate=dstate, lengths=e.lengths)
    close("both", got, complex_step(net, e, dparams, None, moving, learned)[0], 1e-12)
    _, got, _, _ = net.jvp(e.params, e.x, dparams=dparams, lengths=e.lengths)
    close("alone", got, complex_step(net, e, dparams, None, {}, None)[0], 1e-12)


def test_a_mapping_may_move_some_inputs_and_lists_are_taken_as_they_come():
    net = NETS["several"]
    e = example(net)
    dx = {"x": directions(net, e)[1]["x"]}
    _, y_dot, _, _ = net.jvp(e.params, e.x, dx=dx, **e.given)
    close("one input", y_dot, complex_step(net, e, None, dx, {}, e.state)[0], 1e-12)
    net = NETS["both ways"]
    e = example(net)
    _, dx, _ = directions(net, e)
    listed = [[v[b, :n] for b, n in enumerate(e.lengths)] for v in (e.x, dx)]
    _, y_dot, _, _ = net.jvp(e.params, listed[0], dx=listed[1])
    close("lists", y_dot, net.jvp(e.params, e.x, dx=dx, lengths=e.lengths)[1], 1e-15)


def test_what_is_past_a_length_is_not_read():
    net = NETS["both ways"]
    e = example(net)
    dparams, dx, _ = directions(net, e)
    want = net.jvp(e.params, e.x, dparams=dparams, dx=dx, lengths=e.lengths)
    x, dx = e.x.copy(), dx.copy()
    for b, n in enumerate(e.lengths):
        x[b, n:], dx[b, n:] = np.nan, np.nan
    got = net.jvp(e.params, x, dparams=dparams, dx=dx, lengths=e.lengths)
    np.testing.assert_array_equal(got[1], want[1])
    assert not got[1][np.arange(7) >= e.lengths[:, None]].any()


@settings(max_examples=15)
@given(st.integers(1, 7), st.integers(0, 9), st.sampled_from([1, 2, 7, 16, 17]), st.integers(0, 99))
def test_forward_and_reverse_agree(batch, time, units, seed):
    """u' (J v) = (J' u)' v, over any size."""
    net = rn.Network(BOTH(ONE(units)), inputs=3, outputs=2)
    e = example(net, batch=batch, time=max(time, 1), seed=seed)
    x = e.x[:, :time]
    lengths = np.minimum(e.lengths, time)
    rng = np.random.default_rng(seed)
    dparams, dx = e.params.with_flat(rng.standard_normal(e.params.flat.size)), rng.standard_normal(x.shape)
    y, y_dot, _, _ = net.jvp(e.params, x, dparams=dparams, dx=dx, lengths=lengths)
    _, _, tape = net.forward(e.params, x, lengths=lengths)
    u = rng.standard_normal(y.shape)
    back, _, grads = net.backward(e.params, tape, u)
    assert np.vdot(u, y_dot) == pytest.approx(np.vdot(back, dx) + grads.flat @ dparams.flat, rel=1e-10, abs=1e-12)


def objective(net, e):
    """Targets and a loss for a network."""
    rng = np.random.default_rng(3)
    lead = (5,) if net.mode == "many-to-one" else (5, 7)
    if isinstance(net.inputs, rn.Tokens):
        return rng.integers(0, 4, lead), stress.entropy
    return rng.standard_normal((*lead, net.outputs or net.features)), stress.squared


def differences(net, params, v, x, target, **given):
    """The derivative of the gradient along v, by differences of order six."""

    def gradient(a):
        return net.loss_and_grad(params.with_flat(params.flat + a * v), x, target, **given)[1].flat

    h = 1e-3
    near, middle, far = (gradient(k * h) - gradient(-k * h) for k in (1, 2, 3))
    return (45 * near - 9 * middle + far) / (60 * h)


@pytest.mark.parametrize("name", [n for n in NETS if n != "several"])
def test_the_product_with_the_hessian_is_the_slope_of_the_gradient(name):
    net = NETS[name]
    e = example(net)
    target, loss = objective(net, e)
    v, w = (directions(net, e, seed)[0].flat for seed in (5, 6))
    for state, reduction in ((e.state, "mean"), (None, "sum")):
        given = {"loss": loss, "lengths": e.lengths, "state": state, "reduction": reduction}
        value, grads, product = net.hvp(e.params, e.x, target, v, **given)
        plain, plain_grads = net.loss_and_grad(e.params, e.x, target, **given)
        assert value == pytest.approx(plain, rel=1e-14)
        close("gradient", grads.flat, plain_grads.flat, 1e-13)
        close("product", product.flat, differences(net, e.params, v, e.x, target, **given), 1e-8)
    other = net.hvp(e.params, e.x, target, w, **given)[2]
    assert w @ product.flat == pytest.approx(v @ other.flat, rel=1e-11)


def test_the_product_in_float32():
    net = NETS["nested"]
    e, single = example(net), example(net, dtype="float32")
    target, loss = objective(net, e)
    v = directions(net, e)[0]
    want = net.hvp(e.params, e.x, target, v, loss=loss, lengths=e.lengths)
    got = net.hvp(single.params, e.x, target, v, loss=loss, lengths=e.lengths)
    assert got[2].dtype == "float32"
    close("product", got[2].flat, want[2].flat, 1e-3)


@pytest.mark.parametrize("name", ["focused", "fastgrnn", "antisymmetric"])
def test_cells_that_strain_the_language(name):
    net = rn.Network(stress.CELLS[name](stress.UNITS.get(name, 6)), inputs=3)
    e = example(net)
    dparams, dx, dstate = directions(net, e)
    y_dot = net.jvp(e.params, e.x, dparams=dparams, dx=dx, dstate=dstate, **e.given)[1]
    close("jvp", y_dot, complex_step(net, e, dparams, dx, dstate, e.state)[0], 1e-11)
    given = {"loss": stress.squared, "lengths": e.lengths}
    product = net.hvp(e.params, e.x, np.zeros_like(e.dy), dparams, **given)[2]
    want = differences(net, e.params, dparams.flat, e.x, np.zeros_like(e.dy), **given)
    close("product", product.flat, want, 1e-7)


@pytest.mark.parametrize("name", rn.losses)
def test_every_loss_has_a_second_derivative(name):
    net = NETS["final"]
    e = example(net)
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 5) if rn.losses[name].target == "class" else rng.uniform(0.1, 0.9, (5, 2))
    v = directions(net, e)[0].flat / 10
    product = net.hvp(e.params, e.x, target, v, loss=name, lengths=e.lengths)[2].flat
    want = differences(net, e.params, v, e.x, target, loss=name, lengths=e.lengths)
    close(name, product, want, 1e-6)


@pytest.mark.parametrize("name", ["stacked", "nested"])
def test_dropout_drops_values_and_directions_alike(name):
    block = stress.stacked(BOTH(ONE(4), merge="concat" if name == "nested" else "sum"), ONE(5), ONE(3), dropout=0.4)
    net = rn.Network(block, inputs=3)
    e = example(net)
    dparams, dx, dstate = directions(net, e)
    y, y_dot, _, _ = net.jvp(e.params, e.x, dparams=dparams, dx=dx, dstate=dstate, seed=3, **e.given)
    close("y", y, net(e.params, e.x, seed=3, **e.given)[0], 1e-13)
    ends = [
        net(e.params.with_flat(e.params.flat + h * dparams.flat), e.x + h * dx, seed=3, lengths=e.lengths,
            state={k: v + h * dstate[k] for k, v in e.state.items()})[0]
        for h in (1e-5, -1e-5)
    ]  # fmt: skip
    close("its direction", y_dot, (ends[0] - ends[1]) / 2e-5, 1e-7)
    given = {"loss": stress.squared, "seed": 3, **e.given}
    value, grads, product = net.hvp(e.params, e.x, e.dy, dparams, **given)
    plain, plain_grads = net.loss_and_grad(e.params, e.x, e.dy, **given)
    assert value == pytest.approx(plain, rel=1e-13)
    close("gradient", grads.flat, plain_grads.flat, 1e-12)
    close("product", product.flat, differences(net, e.params, dparams.flat, e.x, e.dy, **given), 1e-8)


def test_nothing_to_do_is_zero():
    net = NETS["readout"]
    params = net.init(dtype="float64")
    y, y_dot, state, state_dot = net.jvp(params, np.zeros((2, 4, 3)))
    assert not y_dot.any() and not state_dot["h"].any() and y.shape == (2, 4, 2)
    value, grads, product = net.hvp(params, np.zeros((0, 4, 3)), np.zeros((0, 4, 2)), params, loss=stress.squared)
    assert value == 0 and not grads.flat.any() and not product.flat.any()


def test_arguments_stay_as_they_are():
    net = NETS["nested"]
    e = example(net)
    dparams, dx, dstate = directions(net, e)
    arrays = [e.params.flat, e.x, dparams.flat, dx, *dstate.values(), *e.state.values()]
    before = [a.copy() for a in arrays]
    net.jvp(e.params, e.x, dparams=dparams, dx=dx, dstate=dstate, **e.given)
    net.hvp(e.params, e.x, e.dy, dparams, loss=stress.squared, **e.given)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


X = np.zeros((2, 4, 3))


@pytest.mark.parametrize("given, words", [
    ({"dx": np.zeros((2, 3, 3))}, "dx must have the shape of x"),
    ({"dx": np.zeros((2, 4, 2))}, r"input 'x' must have shape \(batch, time, 3\), got \(2, 4, 2\)"),
    ({"dx": [np.zeros((4, 3))] * 2}, "dx must have the shape of x"),
    ({"dx": {"z": X}}, r"dx must be given by the names of inputs, x, got \['z'\]"),
    ({"dparams": np.zeros(3)}, r"dparams must have the shape of params.flat, \(\d+,\), got \(3,\)"),
    ({"dparams": {"W": 1}}, "dparams must be rn.Params or a vector such as params.flat, got dict"),
    ({"dparams": NETS["readout"].init()}, "dparams must have the layout of params"),
    ({"dstate": {"c": np.zeros((2, 5))}}, "state 'c' is unknown"),
    ({"dstate": {"h": np.zeros((2, 4))}}, r"state 'h' must have shape \(2, 5\), got \(2, 4\)"),
])  # fmt: skip
def test_wrong_directions_are_refused_in_words(given, words):
    net = NETS["layer"]
    with pytest.raises(InputError, match=words):
        net.jvp(net.init(), X, **given)


def test_wrong_arguments_of_the_product_are_refused_in_words():
    net = NETS["layer"]
    params, target = net.init(), np.zeros((2, 4, 5))
    with pytest.raises(InputError, match="direction must be rn.Params or a vector such as params.flat, got NoneType"):
        net.hvp(params, X, target, None, loss=stress.squared)
    with pytest.raises(InputError, match="reduction must be 'mean' or 'sum', got 'max'"):
        net.hvp(params, X, target, params, loss=stress.squared, reduction="max")
    with pytest.raises(InputError, match="dx must be None for tokens: integers have no direction"):
        tokens = NETS["tokens"]
        tokens.jvp(tokens.init(), np.zeros((2, 4), int), dx=np.zeros((2, 4)))


def test_a_name_kept_for_directions_is_an_error_at_the_cell():
    from rnncore.lang import cell, tanh

    @cell
    def clash(w, x, h, h__dot):
        return tanh(w.h(x, h)), h__dot

    net = rn.Network(clash(3), inputs=2)
    with pytest.raises(LanguageError, match="kept for directions"):
        net.jvp(net.init(), np.zeros((1, 2, 2)))
