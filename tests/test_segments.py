"""Masked steps and resets, held against every episode run on its own by the reference interpreter."""

import numpy as np
import pytest
import stress
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore import reference
from rnncore.errors import InputError
from rnncore.lang import cell, tanh
from rnncore.testing import close, same_bits

LAYERS = {
    "memory": stress.memory(5),
    "both ways": stress.both_ways(stress.gated(3)),
    "stacked": stress.stacked(stress.both_ways(stress.gated(3)), stress.memory(4)),
    "output apart": stress.state_space(3),
}
NETS = {
    "plain": rn.Network(LAYERS["memory"], inputs=3),
    "readout, learned": rn.Network(LAYERS["memory"], inputs=3, outputs=2, initial_state="learned"),
    "both ways, learned": rn.Network(LAYERS["both ways"], inputs=3, initial_state="learned"),
    "stacked": rn.Network(LAYERS["stacked"], inputs=3, outputs=2),
    "many to one": rn.Network(LAYERS["both ways"], inputs=3, outputs=2, mode="many-to-one"),
    "many to one, plain": rn.Network(LAYERS["stacked"], inputs=3, mode="many-to-one", initial_state="learned"),
    "many to one, output apart": rn.Network(LAYERS["output apart"], inputs=3, mode="many-to-one"),
    "tokens": rn.Network(LAYERS["both ways"], inputs=rn.Tokens(4), outputs=2),
}


class Case:
    """Random numbers for a network, with masks, resets, lengths, states of the caller, and adjoints."""

    def __init__(self, net, seed, batch=3, time=6, first_reset=None):
        rng = np.random.default_rng(seed)
        self.params = net.init(seed=seed, dtype="float64")
        self.params.flat[:] += 0.1 * rng.standard_normal(self.params.flat.size)
        tokens = isinstance(net.inputs, rn.Tokens)
        self.x = rng.integers(0, 4, (batch, time)) if tokens else rng.standard_normal((batch, time, 3))
        self.lengths = rng.integers(0, time + 1, batch)
        self.mask = rng.random((batch, time)) < 0.7
        self.reset = rng.random((batch, time)) < 0.3
        self.state = {k: rng.uniform(0.1, 0.9, (batch, *s)) for k, s in net.state_shapes.items()}
        if seed % 3 == 0:
            self.state = {}
        elif seed % 3 == 1:
            self.state.pop(next(iter(self.state)))
        shape = (batch, time, net.outputs or net.features)
        self.dy = rng.standard_normal(shape if net.per_step else (batch, shape[-1]))
        self.dstate = {k: rng.standard_normal((batch, *s)) for k, s in net.state_shapes.items()}

    @property
    def given(self):
        return {"lengths": self.lengths, "mask": self.mask, "reset": self.reset, "state": self.state}


def by_episodes(net, params, x, case, state):
    """Outputs and final states from one reference run an episode."""
    y, final = np.zeros(case.dy.shape, complex), {k: np.zeros(v.shape, complex) for k, v in case.dstate.items()}
    for b, n in enumerate(case.lengths):
        episodes = [({k: v[b : b + 1] for k, v in state.items()}, [])]
        for t in range(n):
            if case.reset[b, t]:
                episodes.append(({}, []))
            if case.mask[b, t]:
                episodes[-1][1].append(t)
        for start, steps in episodes:
            out, end = reference.run(net, params, x[b : b + 1, steps], state=start)
            if net.per_step:
                y[b, steps] = out[0]
            else:
                y[b] = out[0]  # the last episode's stays
            for k, v in end.items():
                final[k][b] = v[0]
    return y, final


def run(net, case):
    y, final, tape = net.forward(case.params, case.x, **case.given)
    return y, final, net.backward(case.params, tape, case.dy, dstate=case.dstate)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("seed", range(3))
def test_every_episode_is_a_sequence_of_its_own(name, seed):
    net, case = NETS[name], Case(NETS[name], seed)
    want, want_final = by_episodes(net, case.params, case.x, case, case.state)
    y, final, (dx, dstate, grads) = run(net, case)
    close("output", y, want.real, 1e-12)
    same_bits("without a tape", net(case.params, case.x, **case.given), (y, final))
    same_bits("bound", net.bind(case.params)(case.x, **case.given), (y, final))
    for path in final:
        close(f"final {path}", final[path], want_final[path].real, 1e-12)

    def slope(params, x, state):
        out, end = by_episodes(net, params, x, case, state)
        return ((out * case.dy).sum() + sum((end[k] * case.dstate[k]).sum() for k in end)).imag / 1e-30

    rng, start = np.random.default_rng(seed), case.state
    for path, value in case.params.items():
        d = rng.standard_normal(value.shape)
        along = slope({**case.params, path: value + 1e-30j * d}, case.x, start)
        assert abs(along - (grads[path] * d).sum()) < 1e-9 * max(1, np.abs(grads[path] * d).sum())
    for path, value in start.items():
        d = rng.standard_normal(value.shape)
        along = slope(case.params, case.x, {**start, path: value + 1e-30j * d})
        assert abs(along - (dstate[path] * d).sum()) < 1e-9 * max(1, np.abs(dstate[path] * d).sum())
    if dx is not None:
        d = rng.standard_normal(case.x.shape)
        assert abs(slope(case.params, case.x + 1e-30j * d, start) - (dx * d).sum()) < 1e-9 * np.abs(dx * d).sum()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 9), st.sampled_from(["plain", "stacked", "tokens"]))
def test_any_batch_and_time(seed, batch, time, name):
    net = NETS[name]
    case = Case(net, seed, batch, time)
    want, want_final = by_episodes(net, case.params, case.x, case, case.state)
    y, final = net(case.params, case.x, **case.given)
    close("output", y, want.real, 1e-12)
    for path in final:
        close(f"final {path}", final[path], want_final[path].real, 1e-12)


@pytest.mark.parametrize("name", NETS)
def test_ones_and_then_zeros_are_lengths(name):
    net, case = NETS[name], Case(NETS[name], 2)
    mask = np.arange(6) < case.lengths[:, None]

    def everything(**given):
        y, final, tape = net.forward(case.params, case.x, state=case.state, **given)
        return y, final, *net.backward(case.params, tape, case.dy, dstate=case.dstate)

    same_bits("mask", everything(mask=mask.astype("int8")), everything(lengths=case.lengths))


def test_what_is_masked_is_never_read():
    net, case = NETS["stacked"], Case(NETS["stacked"], 1)
    want = run(net, case)
    out = ~case.mask | (np.arange(6) >= case.lengths[:, None])
    case.x, case.dy = case.x.copy(), case.dy.copy()
    case.x[out], case.dy[out] = np.nan, np.nan
    y, *_ = got = run(net, case)
    same_bits("padding", got, want)
    assert not y[out].any()


def test_a_reset_at_the_first_step_discards_the_given_state():
    net, case = NETS["plain"], Case(NETS["plain"], 2)
    case.lengths[:], case.mask[:], case.reset[:] = 6, True, False
    case.reset[:, 0] = True
    y, final, (_, dstate, _) = run(net, case)
    same_bits("from zero", (y, final), net(case.params, case.x))
    assert not any(d.any() for d in dstate.values())


def test_a_reset_in_masked_steps_shows_in_the_final_state():
    net, case = NETS["readout, learned"], Case(NETS["readout, learned"], 2)
    mask, reset = np.ones((3, 6)), np.zeros((3, 6), int)
    mask[:, 4:], reset[:, 5] = 0, 1
    _, final = net(case.params, case.x, mask=mask.astype(int), reset=reset)
    assert all((v == case.params[path + "0"]).all() for path, v in final.items())
    _, final = net(case.params, case.x, mask=mask.astype(int), reset=reset, lengths=[5, 5, 5])
    assert not any((v == case.params[path + "0"]).all() for path, v in final.items())


def test_lists_of_sequences_and_several_inputs():
    @cell
    def two(w, x, h, *, u):
        return tanh(w.h(x, u, h))

    net = rn.Network(stress.stacked(stress.both_ways(two(3)), two(2)), inputs={"x": 3, "u": 2})
    rng = np.random.default_rng(0)
    params, counts = net.init(dtype="float64"), (5, 0, 3)
    x = {"x": rng.standard_normal((3, 5, 3)), "u": rng.standard_normal((3, 5, 2))}
    mask, reset = rng.random((3, 5)) < 0.6, rng.random((3, 5)) < 0.4
    lists = {k: [v[b, :n] for b, n in enumerate(counts)] for k, v in x.items()}
    y, final, tape = net.forward(params, x, lengths=counts, mask=mask, reset=reset)
    dx, _, grads = net.backward(params, tape, np.ones(y.shape))
    ragged = {"mask": [m[:n] for m, n in zip(mask, counts)], "reset": reset}
    y2, final2, tape = net.forward(params, lists, **ragged)
    dx2, _, grads2 = net.backward(params, tape, np.ones(y.shape))
    same_bits("lists", (y2, final2, grads2), (y, final, grads))
    for name in dx:
        same_bits(name, dx2[name], [dx[name][b, :n] for b, n in enumerate(counts)])


@pytest.mark.parametrize("name", ["plain", "stacked", "many to one"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_masked_step_counts_in_no_loss(name, reduction):
    net, case = NETS[name], Case(NETS[name], 2)
    y, _, tape = net.forward(case.params, case.x, **case.given)
    target = np.random.default_rng(5).standard_normal(y.shape)
    inside = case.mask & (np.arange(6) < case.lengths[:, None]) if net.per_step else np.ones(3, bool)
    each = ((y - target) ** 2).mean(-1)[inside]
    scale = 1 / len(each) if reduction == "mean" else 1
    dy = np.where(inside[..., None], 2 * (y - target) * scale / y.shape[-1], np.nan if net.per_step else 0)
    grads = net.backward(case.params, tape, dy)[2]
    if net.per_step:
        target[~inside] = np.nan
    given = {**case.given, "loss": stress.squared, "reduction": reduction}
    value, got = net.loss_and_grad(case.params, case.x, target, **given)
    assert abs(value - each.sum() * scale) < 1e-12 * abs(value)
    assert value == net.loss(case.params, case.x, target, **given)
    close("gradient", got.flat, grads.flat, 1e-12)
    if net.per_step:  # one entry a sequence, as long as it
        parts = [target[b, :n] for b, n in enumerate(case.lengths)]
        assert value == net.loss(case.params, case.x, parts, **given)


def test_checkpoints_keep_what_episodes_need():
    net, case = NETS["readout, learned"], Case(NETS["readout, learned"], 2)
    _, _, want = run(net, case)
    _, _, tape = net.forward(case.params, case.x, checkpoint=2, **case.given)
    got = net.backward(case.params, tape, case.dy, dstate=case.dstate)
    same_bits("inputs and states", got[:2], want[:2])
    close("parameters", got[2].flat, want[2].flat, 1e-13)


@pytest.mark.parametrize(("given", "words"), [
    ({"mask": np.ones((3, 5))}, r"mask must have shape \(batch, time\) = \(3, 6\), got \(3, 5\)"),
    ({"mask": np.ones((3, 6))}, "mask must be booleans or integers 0 and 1, got float64"),
    ({"reset": np.full((3, 6), 2)}, "reset must be 0 or 1 at each step, got 2"),
    ({"reset": [[1], [1, 0], []]}, "reset is a ragged nested list"),
])  # fmt: skip
def test_wrong_masks(given, words):
    net, case = NETS["plain"], Case(NETS["plain"], 0)
    calls = [net, net.forward, lambda p, x, **given: net.bind(p)(x, **given)]
    for call in calls:
        with pytest.raises(InputError, match=words):
            call(case.params, case.x, **given)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("seed", range(3))
def test_directions_through_episodes(name, seed):
    net, case = NETS[name], Case(NETS[name], seed)
    rng = np.random.default_rng(seed + 10)
    along = case.params.with_flat(rng.standard_normal(case.params.flat.size))
    dx = None if isinstance(net.inputs, rn.Tokens) else rng.standard_normal(case.x.shape)
    dstate = {k: rng.standard_normal(v.shape) for k, v in case.state.items()}
    params = {k: v + 1e-30j * along[k] for k, v in case.params.items()}
    start = {k: v + 1e-30j * dstate[k] for k, v in case.state.items()}
    want, want_final = by_episodes(net, params, case.x if dx is None else case.x + 1e-30j * dx, case, start)
    given = {"dparams": along, "dx": dx, "dstate": dstate, **case.given}
    y, y_dot, final, final_dot = found = net.jvp(case.params, case.x, **given)
    close("output", y, want.real, 1e-12)
    close("direction", y_dot, want.imag / 1e-30, 1e-10)
    for path in final:
        close(path, final[path], want_final[path].real, 1e-12)
        close(f"direction of {path}", final_dot[path], want_final[path].imag / 1e-30, 1e-10)
    if dx is not None:
        out = ~(case.mask & (np.arange(6) < case.lengths[:, None]))[..., None]
        case.x, given["dx"] = np.where(out, np.nan, case.x), np.where(out, np.nan, dx)
        same_bits("what is masked is never read", net.jvp(case.params, case.x, **given), found)


def test_a_learned_state_moves_at_every_reset_and_a_direction_of_its_own_before_the_first():
    net, case = NETS["both ways, learned"], Case(NETS["both ways, learned"], 0)
    rng = np.random.default_rng(1)
    along = case.params.with_flat(rng.standard_normal(case.params.flat.size))
    move = {k: rng.standard_normal(v.shape) for k, v in case.dstate.items()}
    params = {k: v + 1e-30j * along[k] for k, v in case.params.items()}
    start = {k: params[k + "0"] + 1e-30j * v for k, v in move.items()}
    want, _ = by_episodes(net, params, case.x, case, start)
    y_dot = net.jvp(case.params, case.x, dparams=along, dstate=move, **case.given)[1]
    close("direction", y_dot, want.imag / 1e-30, 1e-10)


@pytest.mark.parametrize("name", [n for n in NETS if n != "tokens"])
def test_the_product_with_the_hessian_through_episodes(name):
    net, case = NETS[name], Case(NETS[name], 1)
    rng = np.random.default_rng(7)
    v, w = rng.standard_normal((2, case.params.flat.size))
    target = rng.standard_normal(case.dy.shape)
    given = {**case.given, "loss": stress.squared}

    def gradient(a):
        return net.loss_and_grad(case.params.with_flat(case.params.flat + a * v), case.x, target, **given)[1].flat

    near, middle, far = (gradient(k * 1e-3) - gradient(-k * 1e-3) for k in (1, 2, 3))
    value, grads, product = net.hvp(case.params, case.x, target, v, **given)
    assert value == pytest.approx(net.loss(case.params, case.x, target, **given), rel=1e-13)
    close("gradient", grads.flat, gradient(0), 1e-12)
    close("product", product.flat, (45 * near - 9 * middle + far) / 0.06, 1e-8)
    other = net.hvp(case.params, case.x, target, w, **given)[2]
    assert w @ product.flat == pytest.approx(v @ other.flat, rel=1e-10, abs=1e-12)
