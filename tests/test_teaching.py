"""Teacher forcing of networks that feed their output back."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore.combine import topology, wired
from rnncore.errors import InputError
from rnncore.lang import cell, tanh
from rnncore.testing import close, same_bits

LENGTHS = np.array([6, 3, 0, 1])


def output_to_hidden(net, layer, *, outputs):
    y = net.state("y", outputs)
    o = net.readout(net.layer(layer, instead={"h": {"y": y}}), outputs)
    net.next("y", tanh(o), output=True)
    return o


@topology
def fed(layer, *, outputs=3):
    """The output of the step before in place of h."""
    return wired(output_to_hidden, layer, outputs=outputs)


def network(**options):
    return rn.Network(fed(stress.simple(5)), inputs=2, **options)


def numbers(net, seed=0):
    rng = np.random.default_rng(seed)
    params = net.init(seed=1, dtype="float64")
    params.flat[:] += 0.2 * rng.standard_normal(params.flat.size)
    state = {k: rng.standard_normal((4, *s)) for k, s in net.state_shapes.items()}
    return params, rng.standard_normal((4, 6, 2)), state, rng.standard_normal((4, 6, 3))


def oracle(values, true, forced):
    """Step after step; `forced` (batch, time) says where the true output is handed on."""
    h, y, outputs = values["h"], values["y"], []
    for t in range(values["x"].shape[1]):
        new = np.tanh(values["x"][:, t] @ values["W_xh"].T + y @ values["W_yh"].T + values["b_h"])
        o = new @ values["readout.V"].T + values["readout.c"]
        active = (t < LENGTHS)[:, None]
        h = np.where(active, new, h)
        y = np.where(active, np.where(forced[:, t, None], true[:, t], np.tanh(o)), y)
        outputs.append(np.where(active, o, 0))
    return np.stack(outputs, 1), {"h": h, "y": y}


def coins_of(net, params, x, true, ratio, seed):
    """Where the true output was handed on, from the final state of every beginning of the sequences."""
    forced = np.zeros(x.shape[:2], bool)
    for t in range(x.shape[1]):
        lengths = np.minimum(LENGTHS, t + 1)
        y = net(params, x, lengths=lengths, target=true, teacher_forcing=ratio, seed=seed)[1]["y"]
        forced[:, t] = (y == true[:, t]).all(1)
    return forced


@pytest.mark.parametrize("dtype, bound", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("how", ["always", 1.0, "never", 0])
def test_always_and_never(how, dtype, bound):
    net = network()
    params, x, state, true = numbers(net)
    forced = np.full((4, 6), how in ("always", 1.0))
    want, final = oracle({**params, "x": x, **state}, true, forced)
    given = {"lengths": LENGTHS, "state": state, "target": true, "teacher_forcing": how}
    y, got = net(params.astype(dtype), x, **given)
    close("output", y, want, bound)
    for path in final:
        close(path, got[path], final[path], bound)
    same_bits("training", net.forward(params.astype(dtype), x, **given)[:2], (y, got))


def test_a_ratio_tosses_a_coin_at_each_step_and_the_gradient_stops_where_it_is_forced():
    net = network()
    params, x, state, true = numbers(net)
    forced = np.array([[1, 0, 0, 1, 1, 0], [0, 1, 1, 0, 0, 0], [0] * 6, [1, 0, 0, 0, 0, 0]], bool)
    seed = next(s for s in range(10**6) if (_coins(s)[:10] == np.r_[forced[0], forced[1, :3], forced[3, :1]]).all())
    given = {"lengths": LENGTHS, "state": state, "target": true, "teacher_forcing": 0.5, "seed": seed}
    values = {**params, "x": x, **state}
    want, want_final = oracle(values, true, forced)
    y, final, tape = net.forward(params, x, **given)
    close("output", y, want, 1e-12)
    close("y", final["y"], want_final["y"], 1e-12)
    rng = np.random.default_rng(3)
    dy, dfinal = rng.standard_normal(y.shape), {k: rng.standard_normal(v.shape) for k, v in final.items()}
    dx, dstate, grads = net.backward(params, tape, dy, dstate=dfinal)

    def objective(values):
        y, final = oracle(values, true, forced)
        return (y * dy).sum() + sum((final[k] * dfinal[k]).sum() for k in dfinal)

    for name, gradient in {**grads, "x": dx, **dstate}.items():
        direction = rng.standard_normal(gradient.shape)
        slope = objective({**values, name: values[name] + 1e-30j * direction}).imag / 1e-30
        assert abs(slope - (gradient * direction).sum()) <= 1e-10 * np.abs(gradient * direction).sum(), name


def _coins(seed):
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))).random(10) < 0.5


def test_coins_follow_from_the_seed_alone():
    net = network()
    params, x, _, true = numbers(net)
    given = {"lengths": LENGTHS, "target": true, "teacher_forcing": 0.4}
    one = net.forward(params, x, seed=7, **given)[:2]
    same_bits("again", net.forward(params, x, seed=7, **given)[:2], one)
    same_bits("inference", net(params, x, seed=7, **given), one)
    same_bits("bound", net.bind(params)(x, seed=7, **given), one)
    assert not np.array_equal(net(params, x, seed=8, **given)[0], one[0])
    longer = np.concatenate([x, np.full((4, 3, 2), np.nan)], 1), np.concatenate([true, np.full((4, 3, 3), np.nan)], 1)
    padded = net(params, longer[0], seed=7, **{**given, "target": longer[1]})
    same_bits("padding", padded[0][:, :6], one[0])
    share = [coins_of(net, params, x, true, 0.4, seed)[np.arange(6) < LENGTHS[:, None]].mean() for seed in range(30)]
    assert 0.3 < np.mean(share) < 0.5


def test_classes_are_handed_on_one_hot():
    net = network()
    params, x, _, _ = numbers(net)
    classes = np.random.default_rng(0).integers(0, 3, (4, 6))
    past = np.where(np.arange(6) < LENGTHS[:, None], classes, -1)
    given = {"lengths": LENGTHS, "teacher_forcing": "always"}
    want = net(params, x, target=np.eye(3)[classes], **given)
    same_bits("classes", net(params, x, target=past, **given), want)
    lists = {"target": [c[:n] for c, n in zip(classes, LENGTHS)], "teacher_forcing": "always"}
    y, final = net(params, [s[:n] for s, n in zip(x, LENGTHS)], **lists)
    close("lists", y, want[0], 1e-13)
    value, grads = net.loss_and_grad(params, x, classes, loss=stress.entropy, **given)
    o, _, tape = net.forward(params, x, target=classes, **given)
    p = np.exp(o) / np.exp(o).sum(-1, keepdims=True)
    by_hand = net.backward(params, tape, (p - np.eye(3)[classes]) / LENGTHS.sum())[2]
    close("gradient", grads.flat, by_hand.flat, 1e-12)
    free = net.loss_and_grad(params, x, classes, loss=stress.entropy, lengths=LENGTHS)
    assert value != free[0]
    same_bits("never", net.loss_and_grad(params, x, classes, loss=stress.entropy, lengths=LENGTHS,
                                         teacher_forcing="never"), free)  # fmt: skip


@pytest.mark.parametrize("arrange", [
    lambda block: stress.stacked(stress.simple(4), block),
    lambda block: stress.stacked(stress.both_ways(stress.simple(2)), block),
])  # fmt: skip
def test_at_the_end_of_a_stack(arrange):
    net = rn.Network(arrange(fed(stress.simple(5))), inputs=rn.Tokens(6))
    below = rn.Network(arrange(stress.simple(5)), inputs=rn.Tokens(6))
    alone = rn.Network(fed(stress.simple(5)), inputs=4)
    rng = np.random.default_rng(0)
    params, x, true = net.init(dtype="float64"), rng.integers(0, 6, (4, 6)), rng.standard_normal((4, 6, 3))
    given = {"lengths": LENGTHS, "target": true, "teacher_forcing": "always"}
    mine = rn.Params(alone.shapes, params.flat[-sum(int(np.prod(s)) for s in alone.shapes.values()) :])
    lower = rn.Network(below.layer.children[0], inputs=rn.Tokens(6))
    hidden = lower(rn.Params(lower.shapes, params.flat[: params.flat.size - mine.flat.size]), x, lengths=LENGTHS)[0]
    y, _, tape = net.forward(params, x, **given)
    close("output", y, alone(mine, hidden, **given)[0], 1e-13)
    dy = rng.standard_normal(y.shape)
    grads = net.backward(params, tape, dy)[2]
    direction, h = rng.standard_normal(params.flat.size), 1e-6
    ends = [(net(params.with_flat(params.flat + s * h * direction), x, **given)[0] * dy).sum() for s in (1, -1)]
    assert np.isclose((ends[0] - ends[1]) / (2 * h), grads.flat @ direction, rtol=1e-6)


def test_backward_in_time_the_true_output_is_that_of_the_step_after():
    net = rn.Network(turned(stress.simple(5)), inputs=2)
    ahead = network()
    params, x, _, true = numbers(ahead)
    given = {"teacher_forcing": "always"}
    want = ahead(params, x[:, ::-1], target=true[:, ::-1], **given)[0]
    close("backward", net(params, x, target=true, **given)[0], want[:, ::-1], 1e-13)


@topology
def turned(layer):
    from rnncore.combine import reverse

    return reverse(fed(layer))


def test_chunks_of_time_equal_the_whole():
    net = network()
    params, x, state, true = numbers(net)
    given = {"teacher_forcing": "always"}
    whole = net(params, x, state=state, target=true, **given)
    first, middle = net(params, x[:, :2], state=state, target=true[:, :2], **given)
    rest, end = net(params, x[:, 2:], state=middle, target=true[:, 2:], **given)
    close("chunks", np.concatenate([first, rest], 1), whole[0], 1e-13)
    close("final y", end["y"], whole[1]["y"], 1e-13)


@pytest.mark.parametrize("given, words", [
    ({"teacher_forcing": "sometimes"}, "teacher_forcing must be 'always', 'never' or a ratio in .* got 'sometimes'"),
    ({"teacher_forcing": 1.5}, "got 1.5"),
    ({"teacher_forcing": float("nan")}, "got nan"),
    ({"teacher_forcing": True}, "got True"),
    ({"teacher_forcing": "always", "target": None}, "'always' hands on the true outputs: give them as target"),
    ({"teacher_forcing": 0.5}, "tosses a coin at each step: give a seed"),
    ({"teacher_forcing": 0.5, "seed": -1}, "seed must be None or an integer of at least 0, got -1"),
    ({"target": np.zeros((4, 6, 2))}, r"target must have shape \(4, 6, 3\), or \(4, 6\) of classes, got \(4, 6, 2\)"),
    ({"target": np.zeros((4, 5, 3))}, r"target must have shape \(4, 6, 3\)"),
    ({"target": np.zeros((4, 6))}, r"target of shape \(4, 6\) must be integers, got float64"),
    ({"target": np.full((4, 6, 3), "a")}, r"target of shape \(4, 6, 3\) must be numbers"),
    ({"target": np.full((4, 6), 3)}, r"class targets must lie in 0..2, got 3"),
    ({"target": 1.0}, "target must have shape"),
    ({"target": [np.zeros((6, 3))]}, "1 target sequences are given for 4 input sequences"),
    ({"target": [np.zeros((2, 3))] * 4}, r"target 0 must have shape \(6, 3\), or \(6\) of classes, got \(2, 3\)"),
])  # fmt: skip
def test_impossible_arguments(given, words):
    net = network()
    params, x, _, true = numbers(net)
    with pytest.raises(InputError, match=words):
        net(params, x, **{"target": true, "teacher_forcing": "always", **given})


@pytest.mark.parametrize("net, words", [
    (rn.Network(stress.simple(3), inputs=2), "a network whose last block feeds its output back, got Network"),
    (rn.Network(stress.both_ways(fed(stress.simple(3)), merge="sum"), inputs=2), "whose last block feeds its output"),
    (rn.Network(stress.stacked(fed(stress.simple(3)), stress.simple(3)), inputs=2), "whose last block feeds its"),
    (rn.Network(fed(stress.simple(3)), inputs=2, mode="many-to-one"), "needs a target at every step; the mode"),
])  # fmt: skip
def test_networks_that_cannot_be_taught(net, words):
    params, x = net.init(), np.zeros((4, 6, 2))
    target = np.zeros((4, 3)) if net.mode == "many-to-one" else np.zeros((4, 6, 3))
    for call in (net, net.forward):
        with pytest.raises(InputError, match=words):
            call(params, x, target=np.zeros((4, 6, 3)), teacher_forcing="always")
    with pytest.raises(InputError, match=words):
        net.loss_and_grad(params, x, target, loss=stress.squared, teacher_forcing="always")
    net.loss_and_grad(params, x, target, loss=stress.squared, teacher_forcing="never")


def test_steps_left_out_and_episodes_that_start_within():
    net = network()
    params, x, state, true = numbers(net)
    rng = np.random.default_rng(4)
    mask, reset = rng.random((4, 6)) < 0.7, rng.random((4, 6)) < 0.3
    given = {"lengths": LENGTHS, "state": state, "mask": mask, "reset": reset, "target": true}
    h, y, outputs = state["h"], state["y"], []
    for t in range(6):
        inside = (t < LENGTHS)[:, None]
        fresh, active = inside & reset[:, t, None], inside & mask[:, t, None]
        h, y = np.where(fresh, 0, h), np.where(fresh, 0, y)
        new = np.tanh(x[:, t] @ params["W_xh"].T + y @ params["W_yh"].T + params["b_h"])
        outputs.append(np.where(active, new @ params["readout.V"].T + params["readout.c"], 0))
        h, y = np.where(active, new, h), np.where(active, true[:, t], y)
    got, final = net(params, x, teacher_forcing="always", **given)
    close("output", got, np.stack(outputs, 1), 1e-12)
    close("h", final["h"], h, 1e-12)
    close("y", final["y"], y, 1e-12)


def test_directions_and_hessians_go_around_what_is_forced():
    net = network()
    params, x, state, true = numbers(net)
    rng = np.random.default_rng(5)
    given = {"lengths": LENGTHS, "state": state, "teacher_forcing": 0.5, "seed": 3}
    forced = _coins(3)
    where = np.zeros((4, 6), bool)
    where[np.arange(6) < LENGTHS[:, None]] = forced
    v, dx = params.with_flat(rng.standard_normal(params.flat.size)), rng.standard_normal(x.shape)
    moved = {**{k: params[k] + 1e-30j * v[k] for k in params}, "x": x + 1e-30j * dx, **state}
    want, want_final = oracle(moved, true, where)
    y, y_dot, _, final_dot = net.jvp(params, x, dparams=v, dx=dx, target=true, **given)
    close("output", y, want.real, 1e-12)
    close("direction", y_dot, want.imag / 1e-30, 1e-11)
    for path in final_dot:
        close(path, final_dot[path], want_final[path].imag / 1e-30, 1e-11)

    def gradient(a):
        moved = params.with_flat(params.flat + a * v.flat)
        return net.loss_and_grad(moved, x, true, loss=stress.squared, **given)[1].flat

    near, middle, far = (gradient(k * 1e-3) - gradient(-k * 1e-3) for k in (1, 2, 3))
    value, grads, product = net.hvp(params, x, true, v, loss=stress.squared, **given)
    close("gradient", grads.flat, gradient(0), 1e-12)
    close("product", product.flat, (45 * near - 9 * middle + far) / 0.06, 1e-8)


@cell
def inward(w, h):
    return tanh(w.h(h))


def test_a_network_without_inputs():
    net = rn.Network(fed(inward(5)), inputs=None)
    params, true = net.init(seed=1, dtype="float64"), np.random.default_rng(0).standard_normal((4, 6, 3))
    given = {"steps": 6, "state": {"y": true[:, 0], "h": np.zeros((4, 5))}}
    y, final = net(params, None, target=true, teacher_forcing="always", **given)
    read = np.concatenate([true[:, :1], true[:, :-1]], 1)
    h = np.tanh(read @ params["W_yh"].T + params["b_h"])
    close("output", y, h @ params["readout.V"].T + params["readout.c"], 1e-13)
    close("y", final["y"], true[:, -1], 1e-15)
