"""Real networks learn: every form of data, with dropout, resumed, and one result for one seed."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.train import Dataset, Trainer, evaluate, predict


def train(net, data, valid=None, resume=False, **settings):
    usual = {"optimizer": "adam", "learning_rate": 0.02, "epochs": 25, "batch_size": 8, "clip_norm": 1.0}
    return Trainer(net, **{**usual, "progress": False, **settings}).fit(data, valid, resume=resume)


def test_a_sequence_s_class(two_classes):
    net = rn.Network(rn.topologies.bidirectional(rn.cells.lstm(6)), inputs=3, outputs=2, mode="many-to-one")
    rest, held = two_classes.split(0.25)
    result = train(net, rest, held, loss="cross_entropy")
    assert evaluate(net, result.params, held, loss="cross_entropy")["accuracy"] >= 0.85
    found = evaluate(net, result.params, held, loss="cross_entropy")
    best = result.history[result.best_epoch - 1]
    assert found["loss"] == best["val_loss"] and found["accuracy"] == best["val_accuracy"]


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_a_number_at_every_step(optimizer):
    """Running mean of what was read: ragged targets, one a step."""
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((n, 1)) for n in rng.integers(0, 9, 40)]
    y = [np.cumsum(s, 0) / np.arange(1, len(s) + 1)[:, None] for s in x]
    net = rn.Network(rn.cells.gru(8), inputs=1, outputs=1, initial_state="learned")
    settings = {"learning_rate": 0.3, "optimizer": rn.optimizers.sgd(momentum=0.9)} if optimizer == "sgd" else {}
    if optimizer == "lbfgs":
        settings = {"optimizer": "lbfgs", "epochs": 5, "clip_norm": None}
    result = train(net, (x, y), loss="mean_squared", **settings)
    still = np.concatenate(y).var()
    assert result.history[-1]["loss"] < 0.3 * still
    outputs = predict(net, result.params, x)
    mean = ((np.concatenate(outputs) - np.concatenate(y)) ** 2).mean()
    assert evaluate(net, result.params, Dataset(x, y), loss="mean_squared")["loss"] == pytest.approx(mean, rel=1e-4)


def test_tokens_and_their_tags():
    """The tag of a token is whether it equals the one before."""
    rng = np.random.default_rng(1)
    x = [rng.integers(0, 2, n) for n in rng.integers(1, 12, 80)]
    y = [np.concatenate([[0], (s[1:] == s[:-1]).astype(int)]) for s in x]
    net = rn.Network(rn.cells.gru(10), inputs=rn.Tokens(2), outputs=2)
    result = train(net, (x, y), loss="cross_entropy", epochs=40)
    assert evaluate(net, result.params, Dataset(x, y), loss="cross_entropy")["accuracy"] > 0.97


def test_padded_arrays_equal_lists():
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 7, 20)
    x = [rng.standard_normal((n, 2)) for n in lengths]
    padded = np.full((20, 6, 2), np.nan)
    for row, part in zip(padded, x, strict=True):
        row[: len(part)] = part
    net = rn.Network(rn.cells.vanilla(5), inputs=2, outputs=3, mode="many-to-one")
    classes = rng.integers(0, 3, 20)
    forms = Dataset(x, classes), Dataset(padded, classes, lengths)
    a, b = (train(net, data, loss="cross_entropy", epochs=3) for data in forms)
    assert a.params == b.params


def test_dropout_resumes_bit_for_bit(tmp_path, two_classes):
    layers = rn.topologies.deep(rn.cells.gru(6), rn.cells.vanilla(5), dropout=0.3)
    net = rn.Network(layers, inputs=3, outputs=2, mode="many-to-one")
    settings = {"loss": "cross_entropy", "schedule": "constant", "epochs": 4}
    whole, again = (train(net, two_classes, **settings) for _ in range(2))
    assert whole.params == again.params
    saved = {**settings, "checkpoint": tmp_path / "c", "checkpoint_updates": 3}

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(net, two_classes, **saved, on_epoch=stop)
    result = train(net, two_classes, resume=True, **saved)
    assert result.params == whole.params and (result.history["loss"] == whole.history["loss"]).all()
