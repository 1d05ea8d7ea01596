"""Evaluation and prediction: in the order given, whatever the batches."""

import numpy as np
import pytest

import rnncore as rn
from rnncore.errors import InputError
from rnncore.train import Dataset, evaluate, predict


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_accuracy_and_loss_by_hand(FakeNetwork, two_classes, batch_size):
    net = FakeNetwork()
    params = net.init(3, "float64")
    found = evaluate(net, params, two_classes, loss="cross_entropy", batch_size=batch_size)
    x, target, lengths = two_classes.batch(np.arange(60))
    o, _ = net(params, x, lengths=lengths)
    logs = o - np.log(np.exp(o).sum(1, keepdims=True))
    assert found["accuracy"] == (o.argmax(1) == target).mean() and found["sequences"] == 60
    assert found["loss"] == pytest.approx(-logs[np.arange(60), target].mean(), rel=1e-12)


def test_per_step_targets_count_within_lengths_alone(FakeNetwork):
    rng = np.random.default_rng(0)
    lengths = [4, 0, 1, 6]
    x = [rng.standard_normal((n, 3)) for n in lengths]
    net = FakeNetwork(mode="many-to-many")
    params = net.init(0, "float64")
    outputs = predict(net, params, x)
    assert [o.shape for o in outputs] == [(n, 2) for n in lengths]
    classes = [o.argmax(1) for o in outputs]
    classes[3][:3] = 1 - classes[3][:3]  # 3 of 11 steps are wrong
    found = evaluate(net, params, Dataset(x, classes), loss="cross_entropy")
    assert found["accuracy"] == pytest.approx(8 / 11)


def test_values_have_no_accuracy(FakeNetwork, two_classes):
    data = Dataset([np.ones((2, 3))] * 3, np.zeros((3, 2)))
    net = FakeNetwork()
    found = evaluate(net, net.init(), data, loss="mean_squared")
    assert set(found) == {"loss", "sequences"}


def test_predictions_keep_the_order(FakeNetwork, two_classes):
    net = FakeNetwork()
    params = net.init()
    together, apart = (predict(net, params, two_classes, batch_size=b) for b in (7, 1))
    assert together.shape == (60, 2) and together.dtype == np.float32
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)


def test_nothing_to_predict(FakeNetwork):
    net = FakeNetwork()
    assert predict(net, net.init(), []).shape == (0, 2)
    assert predict(FakeNetwork(mode="many-to-many"), net.init(), []) == []


def test_targets_are_needed(FakeNetwork, two_classes):
    net = FakeNetwork()
    with pytest.raises(InputError, match="no target in it"):
        evaluate(net, net.init(), Dataset([np.ones((2, 3))]), loss="cross_entropy")


def test_data_may_be_what_a_dataset_is_made_of():
    net = rn.Network(rn.cells.vanilla(3), inputs=2, outputs=2, mode="many-to-one")
    params, x = net.init(), [np.ones((n, 2)) for n in (3, 1)]
    assert evaluate(net, params, (x, [0, 1]), loss="cross_entropy") == evaluate(
        net, params, Dataset(x, [0, 1]), loss="cross_entropy"
    )
    with pytest.raises(InputError, match=r"expected a Dataset or \(x, target\), got list"):
        evaluate(net, params, x, loss="cross_entropy")
    steps = rn.Network(rn.cells.vanilla(3), inputs=2, outputs=2)
    with pytest.raises(InputError, match="expected one entry for each step of a sequence, got one number for all"):
        evaluate(steps, steps.init(), (x, [0, 1]), loss="cross_entropy")
