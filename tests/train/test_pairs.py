"""Training a decoder: sources and targets with lengths of their own."""

import numpy as np
import pytest
import stress
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore as rn
from rnncore.errors import InputError
from rnncore.train import Dataset, Trainer, evaluate, predict

END = 3


def reversal(n=300, longest=5, seed=0):
    """Token sequences and themselves backward, doubled, with an end: targets have other lengths than sources."""
    rng = np.random.default_rng(seed)
    x = [rng.integers(0, 3, length) for length in rng.integers(1, longest + 1, n)]
    return x, [np.append(np.repeat(s[::-1], 2), END) for s in x]


def network(units=8, scorer=rn.scorers.dot):
    layer = rn.topologies.encoder_decoder(stress.gated(units), stress.gated(units), outputs=4, scorer=scorer)
    return rn.Network(layer, inputs=rn.Tokens(3))


NET = network()


def trainer(net=NET, **options):
    given = {"epochs": 2, "learning_rate": 0.02, "batch_size": 16, "progress": False, "seed": 1} | options
    return Trainer(net, loss=given.pop("loss", stress.entropy), optimizer=given.pop("optimizer", "adam"), **given)


def data(**options):
    return Dataset(*reversal(**options), aligned=False)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5)), min_size=1, max_size=9), st.integers(0, 99))
def test_batches_are_what_was_given(lengths, seed):
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal((n, 2)) for n, _ in lengths]
    target = [rng.integers(0, 9, m) for _, m in lengths]
    whole = Dataset(x, target, aligned=False)
    indices = rng.permutation(len(x))[: 1 + seed % len(x)]
    for some, chosen in ((whole, indices), (whole[indices], np.arange(len(indices)))):
        got_x, got, got_lengths = some.batch(chosen)
        own = some.own_lengths(chosen)["target_lengths"]
        assert got_x.shape[:2] == (len(indices), max(lengths[i][0] for i in indices))
        assert got.shape == (len(indices), max(lengths[i][1] for i in indices))
        for k, i in enumerate(indices):
            np.testing.assert_array_equal(got[k, : own[k]], target[i])
            np.testing.assert_array_equal(got_x[k, : got_lengths[k]], x[i])
    assert whole.work.tolist() == [n + m for n, m in lengths] and whole.per_step


def test_a_padded_array_of_targets():
    x, target = reversal(20)
    full = np.full((20, 12), -5)
    for row, part in zip(full, target):
        row[: len(part)] = part
    padded = Dataset(x, full, aligned=False, target_lengths=[len(t) for t in target])
    assert trainer().fit(padded).params.flat.tobytes() == trainer().fit((x, target)).params.flat.tobytes()
    assert "targets of 3 to 11 steps" in repr(padded)


def test_a_batch_is_one_gradient_over_the_steps_within_the_targets():
    x, target = reversal(7)
    run = trainer(epochs=1, optimizer=rn.optimizers.sgd(momentum=0), learning_rate=0.5, batch_size=7, dtype="float64")
    start = NET.init(seed=4, dtype="float64")
    grads = NET.loss_and_grad(start, x, target, loss=stress.entropy, teacher_forcing="always")[1]
    found = run.fit((x, target), params=start)
    np.testing.assert_allclose(found.params.flat, start.flat - 0.5 * grads.flat, rtol=1e-10, atol=1e-13)
    assert found.history[-1]["loss"] == pytest.approx(NET.loss(start, x, target, loss=stress.entropy), rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_evaluation_by_hand(batch_size):
    x, target = reversal(23)
    params = trainer(epochs=8).fit((x, target)).params
    found = evaluate(NET, params, Dataset(x, target, aligned=False), loss=stress.entropy, batch_size=batch_size)
    said = [NET(params, [s], steps=len(t))[0][0].argmax(1) for s, t in zip(x, target)]
    right = [s == t for s, t in zip(said, target)]
    assert found["accuracy"] == pytest.approx(np.concatenate(right).mean()) and found["sequences"] == 23
    assert found["exact_match"] == pytest.approx(np.mean([r.all() for r in right]))
    assert found["loss"] == pytest.approx(NET.loss(params, x, target, loss=stress.entropy), rel=1e-5)
    outputs = predict(NET, params, x, steps=4, batch_size=batch_size)
    for out, s in zip(outputs, x):
        np.testing.assert_allclose(out, NET(params, [s], steps=4)[0][0], rtol=2e-4, atol=1e-5)


def test_it_learns_and_stops_at_the_best():
    found = trainer(network(16), epochs=40, patience=5, monitor="val_exact_match").fit(data(), data(n=60, seed=1))
    scores = found.history["val_exact_match"]
    assert scores.max() > 0.9 and found.stopped == "patience" and len(scores) == found.best_epoch + 5
    assert scores[found.best_epoch - 1] == scores.max()
    held = evaluate(network(16), found.params, data(n=60, seed=1), loss=stress.entropy)
    assert held["exact_match"] == scores.max()


@pytest.mark.parametrize("forcing", [None, 0.5])
def test_a_killed_run_ends_on_the_same_bits(tmp_path, forcing):
    options = {"epochs": 4, "checkpoint": tmp_path / "run", "checkpoint_updates": 3, "teacher_forcing": forcing}
    whole = trainer(epochs=4, teacher_forcing=forcing).fit(data(), data(n=20))

    def killed(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(**options, on_epoch=killed).fit(data(), data(n=20))
    again = trainer(**options).fit(data(), data(n=20), resume=True)
    assert again.params.flat.tobytes() == whole.params.flat.tobytes() and again.updates == whole.updates
    other = Dataset(reversal()[0], [np.append(t, END) for t in reversal()[1]], aligned=False)
    with pytest.raises(rn.RnncoreError, match="training data"):
        trainer(**options).fit(other, data(n=20), resume=True)


def test_a_decoder_is_forced_unless_it_is_told_otherwise():
    runs = {how: trainer(teacher_forcing=how).fit(data(n=40)).params.flat.tobytes()
            for how in (None, "always", "never", 0.0)}  # fmt: skip
    assert runs[None] == runs["always"] and runs["never"] == runs[0.0] != runs["always"]


def test_lbfgs():
    history = trainer(optimizer=rn.train.LBFGS(iterations=5), dtype="float64", batch_size=9).fit(data(n=30)).history
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 9))
def test_values_are_written_too(batch_size):
    layer = rn.topologies.encoder_decoder(stress.simple(4), stress.simple(4), outputs=2, feedback="identity")
    net = rn.Network(layer, inputs=1)
    rng = np.random.default_rng(batch_size)
    x = [rng.standard_normal((n, 1)) for n in (3, 0, 2)]
    target = [rng.standard_normal((n, 2)) for n in (1, 2, 4)]
    params = net.init()
    found = evaluate(
        net, params, Dataset(x, target, aligned=False), loss=stress.squared, batch_size=batch_size
    )  # fmt: skip
    assert found == {"loss": pytest.approx(net.loss(params, x, target, loss=stress.squared), rel=1e-5), "sequences": 3}


class TestMistakes:
    def test_of_data(self):
        x, target = reversal(5)
        with pytest.raises(InputError, match="aligned=False where targets have lengths of their own"):
            Dataset(x, target, per_step=True)
        with pytest.raises(InputError, match="got 4 sequences for 5 of x"):
            Dataset(x, target[:4], aligned=False)
        with pytest.raises(InputError, match="aligned=False"):
            Dataset(x, target, target_lengths=[1] * 5)
        with pytest.raises(InputError, match="per_step=False"):
            Dataset(x, target, aligned=False, per_step=False)
        with pytest.raises(InputError, match="lengths: expected 0 to 2, got 1 to 3"):
            Dataset(x, np.zeros((5, 2), int), aligned=False, target_lengths=[1, 2, 3, 1, 1])

    def test_of_data_that_does_not_fit(self):
        x, target = reversal(5)
        plain = rn.Network(stress.simple(4), inputs=rn.Tokens(3), outputs=4)
        with pytest.raises(InputError, match=r"in step with its input; give Dataset\(..., aligned=True\)"):
            trainer(plain).fit(Dataset(x, target, aligned=False))
        with pytest.raises(InputError, match=r"lengths of their own; give Dataset\(..., aligned=False\)"):
            trainer().fit(Dataset(x, x))
        with pytest.raises(InputError, match="classes 0 to 3, got 1 to 4"):
            trainer().fit((x, [t + 1 for t in target]))
        with pytest.raises(InputError, match="steps"):
            predict(NET, NET.init(), x)
