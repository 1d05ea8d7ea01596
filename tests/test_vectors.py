"""Networks without inputs, and those that read a vector in place of a sequence."""

import pickle

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import reference
from rnncore.errors import InputError
from rnncore.lang import cell, sigmoid, tanh
from rnncore.testing import close, same_bits


@cell
def orbit(w, h, c):
    """Two states and no input."""
    c = c + 0.3 * tanh(w.c(h))
    return sigmoid(w.h(h)) * c, c


ALONE = {
    "plain": rn.Network(orbit(4)),
    "learned, readout": rn.Network(orbit(4), outputs=2, initial_state="learned"),
    "many to one": rn.Network(stress.both_ways(orbit(3)), outputs=2, mode="many-to-one"),
    "stacked": rn.Network(stress.stacked(orbit(3), stress.both_ways(stress.gated(2)))),
}
MANY = {"mode": "one-to-many", "outputs": 2}
VECTORS = {
    "every": rn.Network(stress.stacked(stress.both_ways(stress.gated(3)), stress.memory(4)), inputs=3, **MANY),
    "first": rn.Network(stress.memory(4), inputs=3, mode="one-to-many", feed="first", initial_state="learned"),
    "tokens, every": rn.Network(stress.memory(4), inputs=rn.Tokens(5), **MANY),
    "tokens, first": rn.Network(stress.both_ways(stress.gated(3)), inputs=rn.Tokens(5), feed="first", **MANY),
    "state": rn.Network(stress.stacked(orbit(4), stress.gated(3)), inputs=3, feed="state", **MANY),
    "tokens, state": rn.Network(orbit(4), inputs=rn.Tokens(5), feed="state", mode="one-to-many"),
}
rng = np.random.default_rng(0)


def example(net, batch=3):
    params = net.init(seed=1, dtype="float64")
    params.flat[:] += 0.1 * rng.standard_normal(params.flat.size)
    x = rng.standard_normal((batch, 3))
    return params, rng.integers(0, 5, batch) if isinstance(net.inputs, rn.Tokens) else x


def check_against_complex_step(net, params, x, state, **given):
    """Outputs against the reference interpreter, every gradient against its complex step."""
    y, final, tape = net.forward(params, x, state=state, **given)
    want, want_final = reference.run(net, params, x, state=state, **given)
    close("output", y, want, 1e-12)
    for path in final:
        close(path, final[path], want_final[path], 1e-12)
    same_bits("inference", net(params, x, state=state, **given), (y, final))
    same_bits("bound", net.bind(params)(x, state=state, **given), (y, final))
    dy, dfinal = rng.standard_normal(y.shape), {k: rng.standard_normal(v.shape) for k, v in final.items()}
    if net.per_step and "lengths" in given:
        dy[np.arange(y.shape[1]) >= np.array(given["lengths"])[:, None]] = 0
    dx, dstate, grads = net.backward(params, tape, dy, dstate=dfinal)

    def along(params, x, state):
        out, end = reference.run(net, params, x, state=state, **given)
        return ((out * dy).sum() + sum((end[k] * dfinal[k]).sum() for k in end)).imag / 1e-30

    for path, value in params.items():
        d = rng.standard_normal(value.shape)
        moved = along({**params, path: value + 1e-30j * d}, x, state)
        assert abs(moved - (grads[path] * d).sum()) < 1e-9 * max(1, np.abs(grads[path] * d).sum()), path
    for path, value in (state or {}).items():
        d = rng.standard_normal(value.shape)
        moved = along(params, x, {**state, path: value + 1e-30j * d})
        assert abs(moved - (dstate[path] * d).sum()) < 1e-9 * max(1, np.abs(dstate[path] * d).sum()), path
    if dx is not None:
        d = rng.standard_normal(x.shape)
        assert dx.shape == x.shape
        assert abs(along(params, x + 1e-30j * d, state) - (dx * d).sum()) <= 1e-9 * np.abs(dx * d).sum()


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("given", [{"steps": 5}, {"steps": 6, "lengths": [6, 0, 4]}, {"steps": 0}])
def test_a_network_without_inputs(name, given):
    net = ALONE[name]
    params, _ = example(net)
    state = {k: rng.uniform(0.1, 0.9, (3, *s)) for k, s in net.state_shapes.items()}
    check_against_complex_step(net, params, None, state, **given)


def test_the_batch_is_that_of_the_state_of_the_lengths_or_one():
    net = ALONE["plain"]
    params, _ = example(net)
    assert net(params, steps=4)[0].shape == (1, 4, 4)
    assert net(params, None, steps=4, lengths=[1, 4])[0].shape == (2, 4, 4)
    start = {"h": np.full((3, 4), 0.5)}
    y, final = net(params, steps=4, state=start)
    assert y.shape == (3, 4, 4)
    stream = net.stream(params, batch=3, state=start)
    close("stream", np.stack([stream.step() for _ in range(4)], 1), y, 1e-12)
    y0, middle = net(params, steps=1, state=start)
    y1, end = net(params, steps=3, state=middle)
    close("chunks", np.concatenate([y0, y1], 1), y, 1e-12)
    close("final", end["h"], final["h"], 1e-12)


def test_masks_and_resets_without_inputs():
    net = ALONE["learned, readout"]
    params, _ = example(net)
    mask, reset = np.ones((2, 6), bool), np.zeros((2, 6), bool)
    mask[:, 1], reset[1, 3] = False, True
    y, final = net(params, steps=6, lengths=[6, 6], mask=mask, reset=reset)
    whole, _ = net(params, steps=5)
    close("masked", y[0, [0, 2, 3, 4, 5]], whole[0], 1e-12)
    close("episodes", y[1, 3:], whole[0, :3], 1e-12)
    assert not y[:, 1].any()


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("given", [{"steps": 4}, {"steps": 5, "lengths": [2, 5, 0]}, {"steps": 0}])
def test_one_to_many(name, given):
    net = VECTORS[name]
    params, x = example(net)
    check_against_complex_step(net, params, x, None, **given)
    path, shape = next(iter(net.state_shapes.items()))
    check_against_complex_step(net, params, x, {path: rng.uniform(0.1, 0.9, (3, *shape))}, **given)


@pytest.mark.parametrize("feed", ["every", "first"])
def test_one_to_many_is_many_to_many_of_the_vector_spread(feed):
    layer = stress.memory(4)
    net = rn.Network(layer, inputs=3, mode="one-to-many", feed=feed)
    params, x = example(net)
    spread = np.repeat(x[:, None], 5, 1)
    if feed == "first":
        spread[:, 1:] = 0
    same_bits("output", net(params, x, steps=5), rn.Network(layer, inputs=3)(params, spread))


def test_the_vector_as_the_initial_state():
    net = VECTORS["tokens, state"]
    params, x = example(net)
    assert net.shapes["bridge.W_h"] == (4, 5) and net.shapes["bridge.b_c"] == (4,)
    start = {s: params[f"bridge.W_{s}"][:, x].T + params[f"bridge.b_{s}"] for s in ("h", "c")}
    y, _ = net(params, x, steps=4)
    alone = ALONE["plain"].init(dtype="float64")
    for path in alone:
        alone[path] = params[path]
    close("output", y, ALONE["plain"](alone, steps=4, state=start)[0], 1e-12)


def test_a_reset_goes_back_to_the_state_that_the_vector_makes():
    net = VECTORS["state"]
    params, x = example(net)
    reset = np.zeros((3, 6), int)
    reset[:, 2] = 1
    y, _, tape = net.forward(params, x, steps=6, reset=reset)
    first, _, tape1 = net.forward(params, x, steps=2)
    second, _, tape2 = net.forward(params, x, steps=4)
    close("output", y, np.concatenate([first, second], 1), 1e-12)
    dy = rng.standard_normal(y.shape)
    dx, _, grads = net.backward(params, tape, dy)
    parts = [net.backward(params, t, d) for t, d in ((tape1, dy[:, :2]), (tape2, dy[:, 2:]))]
    close("dx", dx, parts[0][0] + parts[1][0], 1e-12)
    close("gradients", grads.flat, parts[0][2].flat + parts[1][2].flat, 1e-12)


@pytest.mark.parametrize("inputs", [3, rn.Tokens(5)])
def test_one_to_one_is_a_single_step(inputs):
    layer = stress.both_ways(stress.gated(3))
    net = rn.Network(layer, inputs=inputs, outputs=2, mode="one-to-one", initial_state="learned")
    params, x = example(net)
    y, final = net(params, x)
    assert y.shape == (3, 2)
    same_bits("step", (y[:, None], final),
              rn.Network(layer, inputs, 2, initial_state="learned")(params, x[:, None]))  # fmt: skip
    check_against_complex_step(net, params, x, None)
    classes = np.array([0, 1, 1])
    value, grads = net.loss_and_grad(params, x, classes, loss=stress.entropy)
    assert value == net.loss(params, x, classes, loss=stress.entropy) and grads.flat.any()


def test_one_to_one_by_name_and_in_a_stream():
    net = rn.Network(stress.elapsed(3), inputs={"x": 2, "dt": 1}, mode="one-to-one")
    params, x = net.init(dtype="float64"), {"x": rng.standard_normal((2, 2)), "dt": rng.random((2, 1))}
    y, _, tape = net.forward(params, x)
    dx, _, _ = net.backward(params, tape, np.ones(y.shape))
    assert {k: v.shape for k, v in dx.items()} == {"x": (2, 2), "dt": (2, 1)}
    same_bits("stream", net.stream(params, batch=2).step(x), y)


@pytest.mark.parametrize("name", [*ALONE, *VECTORS])
def test_losses_and_descriptions(name):
    net = {**ALONE, **VECTORS}[name]
    params, x = example(net)
    given = {"steps": 4, "lengths": [4, 0, 2]}
    x = None if net.inputs is None else x
    y, _, tape = net.forward(params, x, **given)
    target = rng.standard_normal(y.shape)
    value, grads = net.loss_and_grad(params, x, target, loss=stress.squared, reduction="sum", **given)
    assert value == net.loss(params, x, target, loss=stress.squared, reduction="sum", **given)
    close("gradient", grads.flat, net.backward(params, tape, 2 * (y - target) / y.shape[-1])[2].flat, 1e-12)
    assert pickle.loads(pickle.dumps(net)) == net
    assert ("feed" in repr(net)) == ("feed" in net.describe()) == (net.feed != "every")
    assert rn.explain(net, what="equations")


def test_json_keeps_what_is_fed(own_registry):
    rn.register(orbit)
    for net in (rn.Network(orbit(2)), rn.Network(orbit(2), inputs=3, mode="one-to-many", feed="state")):
        assert rn.Network.from_json(net.to_json()) == net


@pytest.mark.parametrize(("make", "words"), [
    (lambda: rn.Network(stress.memory(4)), "reads the input 'x'; the network gives: none"),
    (lambda: rn.Network(orbit(4), mode="one-to-one"), "mode='one-to-one' reads a vector, but the network"),
    (lambda: rn.Network(stress.memory(4), 3, feed="first"), "feed='first' is of mode='one-to-many'"),
    (lambda: rn.Network(stress.memory(4), 3, mode="one-to-many", feed="x"), "feed must be one of every, first, state"),
    (lambda: rn.Network(stress.memory(4), 3, mode="one-to-many", feed="state"), r"but memory\(4\) reads x"),
    (lambda: rn.Network(orbit(4), {"x": 3, "u": 1}, mode="one-to-many", feed="state"), "initial state of one input"),
    (lambda: rn.Network(orbit(4), 3, mode="one-to-many", feed="state", initial_state="learned"), "cannot"),
])  # fmt: skip
def test_descriptions_that_contradict_themselves(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(("net", "x", "given", "words"), [
    (ALONE["plain"], None, {}, "without inputs needs the number of steps"),
    (ALONE["plain"], None, {"steps": -1}, "steps must be an integer of at least 0, got -1"),
    (ALONE["plain"], None, {"steps": True}, "steps must be an integer"),
    (ALONE["plain"], np.ones((1, 2, 3)), {"steps": 2}, "no inputs, so x must be None, got ndarray"),
    (ALONE["plain"], None, {"steps": 2, "lengths": [3]}, r"lengths must lie in 0..2"),
    (ALONE["plain"], None, {"steps": 2, "lengths": [1, 2], "state": {"h": np.ones((3, 4))}}, "3 integers"),
    (VECTORS["every"], np.ones((2, 3)), {}, "one-to-many needs the number of steps"),
    (VECTORS["every"], np.ones((2, 4)), {"steps": 2}, r"must have shape \(batch, 3\), got \(2, 4\)"),
    (VECTORS["tokens, first"], np.array([5]), {"steps": 2}, r"tokens must lie in 0..4, got 5"),
    (VECTORS["tokens, state"], np.array([0.5]), {"steps": 2}, "integer tokens"),
    (rn.Network(stress.gated(3), inputs=3), np.ones((1, 2, 3)), {"steps": 2}, "here x has the steps"),
])  # fmt: skip
def test_calls_that_do_not_fit(net, x, given, words):
    params = net.init()
    for call in (net, net.forward, lambda p, x, **g: net.bind(p)(x, **g)):
        with pytest.raises(InputError, match=words):
            call(params, x, **given)


def test_one_to_many_does_not_stream():
    net = VECTORS["first"]
    with pytest.raises(InputError, match="one-to-many network cannot stream"):
        net.stream(net.init())


@pytest.mark.parametrize("name", [*ALONE, *VECTORS])
def test_directions_where_a_call_says_the_steps(name):
    net = {**ALONE, **VECTORS}[name]
    params, x = example(net)
    x = None if net.inputs is None else x
    given = {"steps": 4, "lengths": [4, 1, 3]}
    moves = params.with_flat(rng.standard_normal(params.flat.size))
    dx = rng.standard_normal((3, 3)) if net.inputs == 3 else None
    y, y_dot, final, final_dot = net.jvp(params, x, dparams=moves, dx=dx, **given)
    moved = {path: value + 1e-30j * moves[path] for path, value in params.items()}
    want, want_final = reference.run(net, moved, x if dx is None else x + 1e-30j * dx, **given)
    close("value", y, want.real, 1e-12)
    close("direction", y_dot, want.imag / 1e-30, 1e-9)
    for path in final:
        close(f"direction of {path}", final_dot[path], want_final[path].imag / 1e-30, 1e-9)
    target = np.zeros(y.shape)
    value, grads, product = net.hvp(params, x, target, moves, loss=stress.squared, **given)
    ahead, behind = (
        net.loss_and_grad(params.with_flat(params.flat + s * moves.flat), x, target, loss=stress.squared, **given)[1]
        for s in (1e-6, -1e-6)
    )
    close("Hessian", product.flat, (ahead.flat - behind.flat) / 2e-6, 1e-6)


def test_what_a_vector_makes_has_no_direction_of_its_own():
    net = VECTORS["state"]
    params, x = example(net)
    with pytest.raises(InputError, match="the initial state '0.h' is made of what the network reads"):
        net.jvp(params, x, steps=3, dstate={"0.h": np.ones((3, 4))})
    start, move = ({"0.h": rng.standard_normal((3, 4))} for _ in range(2))
    _, y_dot, _, _ = net.jvp(params, x, steps=3, state=start, dstate=move)
    want, _ = reference.run(net, dict(params), x, steps=3, state={"0.h": start["0.h"] + 1e-30j * move["0.h"]})
    close("given instead", y_dot, want.imag / 1e-30, 1e-12)


def test_directions_of_what_a_vector_makes_at_every_reset():
    net = VECTORS["state"]
    params, x = example(net)
    mask, reset = rng.random((3, 6)) < 0.7, rng.random((3, 6)) < 0.4
    given = {"steps": 6, "lengths": [6, 2, 5], "mask": mask, "reset": reset, "state": {"0.c": np.ones((3, 4))}}
    v, w, dx = *(params.with_flat(rng.standard_normal(params.flat.size)) for _ in "vw"), rng.standard_normal(x.shape)
    y, y_dot, *_ = net.jvp(params, x, dparams=v, dx=dx, **given)

    def at(h):
        return params.with_flat(params.flat + h * v.flat), x + h * dx

    ends = [net(*at(h), **given)[0] for h in (1e-5, -1e-5)]
    close("output", y, net(params, x, **given)[0], 1e-13)
    close("direction", y_dot, (ends[0] - ends[1]) / 2e-5, 1e-7)
    target = rng.standard_normal(y.shape)
    given["loss"] = stress.squared
    slopes = [net.loss_and_grad(at(h)[0], x, target, **given)[1].flat for k in (1, 2, 3) for h in (k * 1e-3, -k * 1e-3)]
    near, middle, far = (a - b for a, b in zip(slopes[::2], slopes[1::2], strict=True))
    product = net.hvp(params, x, target, v, **given)[2]
    close("product", product.flat, (45 * near - 9 * middle + far) / 0.06, 1e-8)
    other = net.hvp(params, x, target, w, **given)[2]
    assert w.flat @ product.flat == pytest.approx(v.flat @ other.flat, rel=1e-10)


@pytest.mark.parametrize("name", ["state", "tokens, state"])
def test_a_diagnosis_where_a_vector_makes_the_state(name):
    net = VECTORS[name]
    params, x = example(net)
    y, _, tape = net.forward(params, x, steps=6, lengths=[6, 0, 4])
    dy = rng.standard_normal(y.shape)
    found = rn.diagnose(net, params, x, dy=dy, steps=6, lengths=[6, 0, 4], at=[0])
    dstart = net.backward(params, tape, dy)[1]
    assert set(found.gradient_norms) == set(dstart)
    for loop, values in found.singular_values.items():
        names = [path for path in dstart if path.startswith(loop)]
        ahead = np.linalg.norm([found.gradient_norms[path][0, 0] for path in names])
        before = np.linalg.norm([np.linalg.norm(dstart[path][0]) for path in names])
        assert before <= values[0, 0] * ahead * (1 + 1e-9) and np.isfinite(found.lyapunov_exponents[loop]).all()
