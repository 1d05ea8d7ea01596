"""Losses: values and gradients against differences, masks, reductions, targets of every form, and a user's own."""

import numpy as np
import pytest
import stress

import rnncore as rn
from rnncore import objective
from rnncore.errors import InputError, LanguageError
from rnncore.lang import constant, dot, exp, log, loss, max, maximum, mean, scalar, softplus, sum
from rnncore.train import Trainer

rng = np.random.default_rng(0)
B, T, K = 4, 5, 3
x = rng.standard_normal((B, T, 2))
lengths = np.array([5, 2, 0, 3])
MODES = ("many-to-many", "many-to-one")


def net_of(mode="many-to-many", outputs=K, layer=None):
    return rn.Network(layer or stress.gated(6), inputs=2, outputs=outputs, mode=mode)


def target_of(name, mode):
    lead = (B,) if mode == "many-to-one" else (B, T)
    if rn.losses[name].target == "class":
        return rng.integers(0, K, lead)
    return rng.uniform(0.05, 0.95, (*lead, K))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", rn.losses)
def test_the_gradient_of_a_registered_loss_against_differences(name, mode, reduction):
    net = net_of(mode)
    params = net.init(seed=1, dtype="float64")
    target = target_of(name, mode)
    given = {"loss": name, "lengths": lengths, "reduction": reduction}
    value, grads = net.loss_and_grad(params, x, target, **given)
    assert isinstance(value, float) and value == pytest.approx(net.loss(params, x, target, **given), rel=1e-14)
    for k in range(8):
        direction = np.random.default_rng(k).standard_normal(params.flat.size)
        ahead, behind = (
            net.loss(params.with_flat(params.flat + s * 1e-5 * direction), x, target, **given) for s in (1, -1)
        )
        assert (ahead - behind) / 2e-5 == pytest.approx(grads.flat @ direction, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", rn.losses)
@pytest.mark.parametrize("mode", MODES)
def test_mean_is_over_what_is_inside_the_lengths(name, mode):
    net = net_of(mode)
    params, target = net.init(dtype="float64"), target_of(name, mode)
    mean_, grads = net.loss_and_grad(params, x, target, loss=name, lengths=lengths)
    total, summed = net.loss_and_grad(params, x, target, loss=name, lengths=lengths, reduction="sum")
    count = B if mode == "many-to-one" else lengths.sum()
    assert mean_ * count == pytest.approx(total, rel=1e-13)
    np.testing.assert_allclose(grads.flat * count, summed.flat, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", rn.losses)
def test_targets_past_a_length_are_not_read(name):
    net, target = net_of(), target_of(name, "many-to-many")
    params = net.init(dtype="float64")
    want, grads = net.loss_and_grad(params, x, target, loss=name, lengths=lengths)
    past = np.arange(T) >= lengths[:, None]
    wild = target.copy()
    wild[past] = -77 if wild.dtype.kind == "i" else np.nan
    nowhere = np.where(past[..., None], np.nan, x)
    value, same = net.loss_and_grad(params, nowhere, wild, loss=name, lengths=lengths)
    assert value == want
    np.testing.assert_array_equal(same.flat, grads.flat)


@pytest.mark.parametrize("name", rn.losses)
def test_targets_as_a_list_of_sequences(name):
    net, target = net_of(), target_of(name, "many-to-many")
    params = net.init(dtype="float64")
    want, grads = net.loss_and_grad(params, x, target, loss=name, lengths=lengths)
    ragged, cut = [x[b, :n] for b, n in enumerate(lengths)], [target[b, :n] for b, n in enumerate(lengths)]
    for xs, targets, given in (
        (ragged, cut, {}), (x, cut, {"lengths": lengths}), (x, list(target), {"lengths": lengths}),
        (x, target.tolist(), {"lengths": lengths}),
    ):  # fmt: skip
        value, same = net.loss_and_grad(params, xs, targets, loss=name, **given)
        assert value == pytest.approx(want, rel=1e-14)
        np.testing.assert_allclose(same.flat, grads.flat, rtol=1e-12, atol=1e-15)


def test_without_a_readout_the_loss_reads_the_output_itself():
    net = net_of(outputs=None, layer=stress.gated(K))
    params, target = net.init(dtype="float64"), rng.standard_normal((B, T, K))
    y, _ = net(params, x, lengths=lengths)
    inside = np.arange(T) < lengths[:, None]
    want = ((y - target)[inside] ** 2).mean()
    value, grads = net.loss_and_grad(params, x, target, loss=stress.squared, lengths=lengths)
    assert value == pytest.approx(want, rel=1e-13)
    dy = np.where(inside[..., None], 2 * (y - target), 0) / (inside.sum() * K)
    np.testing.assert_allclose(
        grads.flat, net.backward(params, net.forward(params, x, lengths=lengths)[2], dy)[2].flat, rtol=1e-12, atol=1e-15
    )


def test_nothing_to_learn_from_is_a_loss_of_zero():
    net = net_of()
    params = net.init()
    value, grads = net.loss_and_grad(params, x, np.zeros((B, T), int), loss=stress.entropy, lengths=[0] * B)
    assert value == 0.0 and not grads.flat.any()


@pytest.mark.parametrize("dtype, bound", [("float32", 1e-4), ("float64", 1e-12)])
def test_precision_is_that_of_the_parameters(dtype, bound):
    net = net_of("many-to-one")
    exact = net.init(seed=3, dtype="float64")
    params, target = exact.astype(dtype), rng.integers(0, K, B)
    value, grads = net.loss_and_grad(params, x, target, loss=stress.entropy)
    want, exact_grads = net.loss_and_grad(exact, x, target, loss=stress.entropy)
    assert grads.dtype == dtype and value == pytest.approx(want, rel=bound)
    assert np.abs(grads.flat - exact_grads.flat).max() <= bound * np.abs(exact_grads.flat).max()


def test_a_loss_of_the_users_own_needs_no_registration():
    @loss
    def log_cosh(o, target, *, scale=1.0):
        e = scale * (o - target)
        return mean(e + softplus(-2 * e))

    @loss(target="class")
    def hinge(o, target):
        return sum(softplus(1 + o - dot(o, target)))

    net = net_of()
    params = net.init(dtype="float64")
    values, classes = rng.standard_normal((B, T, K)), rng.integers(0, K, (B, T))
    o = net(params, x)[0]
    e = 2 * (o - values)
    got = net.loss(params, x, values, loss=log_cosh(scale=2.0))
    assert got == pytest.approx((e + np.logaddexp(0, -2 * e)).mean(), rel=1e-12)
    assert net.loss(params, x, values, loss=log_cosh) != got
    chosen = np.take_along_axis(o, classes[..., None], -1)
    want = np.logaddexp(0, 1 + o - chosen).sum(-1).mean()
    assert net.loss(params, x, classes, loss=hinge) == pytest.approx(want, rel=1e-12)


@loss(target="class")
def weighted(o, target):
    """Cross-entropy with a weight for each class."""
    e = exp(o - max(o))
    return dot(constant([1.0, 2.0, 4.0]), target) * (log(sum(e)) + max(o) - dot(o, target))


@loss
def mahalanobis(o, target):
    e = o - target
    return dot(e, constant([[2.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]]) @ e)


def test_a_loss_with_fixed_arrays():
    net = net_of()
    params, classes = net.init(dtype="float64"), rng.integers(0, K, (B, T))
    o = net(params, x)[0]
    each = np.logaddexp.reduce(o, -1) - np.take_along_axis(o, classes[..., None], -1)[..., 0]
    want = (np.array([1.0, 2, 4])[classes] * each).mean()
    assert net.loss(params, x, classes, loss=weighted) == pytest.approx(want, rel=1e-12)
    e = o - 1
    want = np.einsum("bti,ij,btj->bt", e, [[2, 1, 0], [1, 2, 0.5], [0, 0.5, 1]], e).mean()
    assert net.loss(params, x, np.ones_like(o), loss=mahalanobis) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("of, outputs, width", [("weighted", 3, 0), ("mahalanobis", 3, 3), ("pinball", 3, 1),
                                                ("gaussian", 2, 1)])  # fmt: skip
def test_the_derivatives_of_a_loss_with_fixed_arrays(of, outputs, width, monkeypatch):
    net, of = net_of(outputs=outputs), globals()[of]
    target = rng.standard_normal((B, T, width)) if width else rng.integers(0, K, (B, T))
    params = net.init(dtype="float64")
    direction = params.with_flat(rng.standard_normal(params.flat.size))
    value, grads = net.loss_and_grad(params, x, target, loss=of)
    ahead, behind = (params.with_flat(params.flat + h * direction.flat) for h in (1e-6, -1e-6))
    slope = (net.loss(ahead, x, target, loss=of) - net.loss(behind, x, target, loss=of)) / 2e-6
    assert grads.flat @ direction.flat == pytest.approx(slope, rel=1e-6)
    curved = net.hvp(params, x, target, direction, loss=of)[2].flat
    bent = net.loss_and_grad(ahead, x, target, loss=of)[1].flat - net.loss_and_grad(behind, x, target, loss=of)[1].flat
    assert np.abs(curved - bent / 2e-6).max() <= 1e-6 * np.abs(curved).max()
    monkeypatch.setattr(objective, "_COMPILED", 0)
    again, compiled = net.loss_and_grad(params, x, target, loss=of)
    assert again == pytest.approx(value, rel=1e-13) and np.abs(compiled.flat - grads.flat).max() <= 1e-13
    assert net.loss_and_grad(net.init(), x, target, loss=of)[1].dtype == np.float32


QUANTILES = np.array([0.1, 0.5, 0.9])


@loss
def pinball(o, target):
    """Three quantiles of one number. Koenker and Bassett 1978."""
    e = scalar(target) - o
    return sum(maximum(constant(QUANTILES) * e, constant(QUANTILES - 1) * e))


@loss
def gaussian(o, target):
    """Negative log-likelihood of one number by a mean and the logarithm of a deviation."""
    m, s = (scalar(constant(row) @ o) for row in ([[1, 0]], [[0, 1]]))
    return 0.5 * ((scalar(target) - m) * exp(-s)) ** 2 + s + 0.5 * mean(constant([[1.0, 1.0]]) @ o) ** 2


def test_targets_may_be_other_numbers_than_outputs():
    target = rng.standard_normal((B, T, 1))
    net, two = net_of(), net_of(outputs=2)
    params, other = net.init(dtype="float64"), two.init(dtype="float64")
    e = target - net(params, x)[0]
    want = np.maximum(QUANTILES * e, (QUANTILES - 1) * e).sum(-1).mean()
    assert net.loss(params, x, target, loss=pinball) == pytest.approx(want, rel=1e-12)
    o = two(other, x)[0]
    want = (0.5 * ((target[..., 0] - o[..., 0]) / np.exp(o[..., 1])) ** 2 + o[..., 1] + 0.5 * o.sum(-1) ** 2).mean()
    assert two.loss(other, x, target, loss=gaussian) == pytest.approx(want, rel=1e-12)
    ragged = [np.ones((n, 1)) for n in lengths]
    assert np.isfinite(net.loss(params, x, ragged, loss=pinball, lengths=lengths))
    with pytest.raises(InputError, match=r"targets of loss 'pinball' must have shape \(4, 5, 1\), got \(4, 5, 3\)"):
        net.loss(params, x, np.zeros((B, T, K)), loss=pinball)
    done = Trainer(net, loss=pinball, optimizer="adam", epochs=2, progress=False).fit((x, target), (x, target))
    assert done.history[-1]["val_loss"] < done.history[0]["loss"]


def test_a_loss_of_another_number_of_outputs_is_refused():
    net = rn.Network(stress.simple(4), inputs=2, outputs=4)
    wrong = "the equations of loss 'weighted' are of 3 outputs, the network has 4"
    for call in (net.loss, net.loss_and_grad):
        with pytest.raises(InputError, match=wrong):
            call(net.init(), np.zeros((B, T, 2)), np.zeros((B, T), int), loss=weighted)
    with pytest.raises(InputError, match=wrong):
        Trainer(net, loss=weighted, optimizer="adam")


@pytest.mark.parametrize("write, words", [
    (lambda o, target: o - target, "must return a scalar"), (lambda o, target: 1.0, "must return a scalar"),
    (lambda o, target: mean(target), "does not depend on the output"), (lambda o, target: o.foo, "no attribute 'foo'"),
])  # fmt: skip
def test_mistakes_in_a_loss_are_told_at_its_line(write, words):
    net = net_of()
    with pytest.raises(LanguageError, match=words) as caught:
        net.loss(net.init(), x, np.zeros((B, T, K)), loss=loss(write))
    assert caught.value.filename == __file__


@pytest.mark.parametrize("target, loss_, words", [
    (np.zeros((B, T, 2)), stress.squared, r"targets of loss 'squared' must have shape \(4, 5, 3\), got \(4"),
    (np.zeros((B, T)), stress.squared, r"got \(4, 5\)"),
    (np.zeros((B, T, K), int), stress.entropy, r"class targets of loss 'entropy' must have shape \(4, 5\)"),
    (np.zeros((B, T)), stress.entropy, "must be integers, got float64"),
    (np.full((B, T), K), stress.entropy, r"class targets must lie in 0\.\.2, got 3"),
    (np.full((B, T), -1), stress.entropy, "got -1"),
    (np.full((B, T, K), "a"), stress.squared, "must be numbers"),
    ([np.zeros((5, K))], stress.squared, "1 target sequences are given for 4 input sequences"),
    ([np.zeros((5, K)), np.zeros((1, K)), np.zeros((0, K)), np.zeros((3, K))], stress.squared,
     r"targets of sequence 1 must have shape \(2, 3\), got \(1, 3\)"),
    ([[1.0], [1.0, 2.0]], stress.squared, "ragged|must have shape"),
])  # fmt: skip
def test_wrong_targets(target, loss_, words):
    net = net_of()
    params = net.init()
    for call in (net.loss, net.loss_and_grad):
        with pytest.raises(InputError, match=words):
            call(params, x, target, loss=loss_, lengths=lengths)


@pytest.mark.parametrize("given, words", [
    ({"loss": "no_such_loss"}, "no loss is called 'no_such_loss'"),
    ({"loss": 3}, "loss must be the name of a loss or a loss, got 3"),
    ({"loss": stress.simple}, "must be the name of a loss"),
    ({"loss": stress.squared, "reduction": "median"}, "reduction must be 'mean' or 'sum', got 'median'"),
])  # fmt: skip
def test_wrong_losses(given, words):
    net = net_of()
    with pytest.raises(InputError, match=words):
        net.loss_and_grad(net.init(), x, np.zeros((B, T, K)), **given)


def test_dropout_is_driven_by_the_seed_and_differentiated():
    net = net_of(layer=stress.stacked(stress.gated(5), stress.gated(4), dropout=0.5))
    params, target = net.init(seed=1, dtype="float64"), rng.standard_normal((B, T, K))
    given = {"loss": stress.squared, "lengths": lengths}
    values = {seed: net.loss_and_grad(params, x, target, seed=seed, **given)[0] for seed in (None, 0, 1, 2)}
    assert len(set(values.values())) == 4 and values[None] == net.loss(params, x, target, **given)
    value, grads = net.loss_and_grad(params, x, target, seed=1, **given)
    assert value == values[1]
    direction = rng.standard_normal(params.flat.size)

    def at(step):
        return net.loss_and_grad(params.with_flat(params.flat + step * direction), x, target, seed=1, **given)[0]

    ahead, behind = at(1e-5), at(-1e-5)
    assert (ahead - behind) / 2e-5 == pytest.approx(grads.flat @ direction, rel=1e-6)


def test_dropout_keeps_the_mean_and_drops_the_rate():
    wide = rn.Network(stress.stacked(stress.simple(40), stress.simple(1), dropout=0.3), inputs=2)
    params = wide.init(dtype="float64")
    params.flat[:] = 0
    params["0.b_h"][:], params["1.W_xh"][:] = 0.1, 0.01
    y, _, _ = wide.forward(params, np.zeros((50, 20, 2)), seed=7)
    kept = np.arctanh(y) / (0.01 * np.tanh(0.1) / 0.7)  # how many of the 40 were kept
    np.testing.assert_allclose(kept, kept.round(), atol=1e-9)
    assert 27.5 < kept.mean() < 28.5
