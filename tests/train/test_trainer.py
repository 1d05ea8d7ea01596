"""The trainer's settings: refused before anything runs."""

import numpy as np
import pytest

from rnncore.errors import InputError
from rnncore.lang import loss, sum
from rnncore.train import Dataset, Trainer


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epochs": 0}, "epochs: expected a whole number of at least 1, got 0"),
        ({"epochs": 2.5}, "epochs: expected a whole number"),
        ({"batch_size": True}, "batch_size: expected a whole number"),
        ({"bucket": 0}, "bucket: expected"),
        ({"patience": 0}, "patience: expected"),
        ({"checkpoint_updates": -1}, "checkpoint_updates: expected"),
        ({"learning_rate": 0}, "learning_rate: expected a number above 0, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected"),
        ({"learning_rate": None}, "learning_rate: expected"),
        ({"epochs": None}, "epochs: expected"),
        ({"seed": -1}, "seed: expected a whole number of at least 0"),
        ({"clip_norm": -1.0}, "clip_norm: expected"),
        ({"clip_value": "1"}, "clip_value: expected"),
        ({"monitor": "accuracy"}, "val_loss, val_accuracy, val_exact_match, got 'accuracy'"),
        ({"keep": "first"}, "keep: expected 'best' or 'last'"),
        ({"dtype": "float16"}, "dtype: expected 'float32' or 'float64'"),
        ({"loss": "cross_entrpy"}, "did you mean 'cross_entropy'"),
        ({"optimizer": "adamm"}, "did you mean 'adam"),
        ({"schedule": 3}, "schedule: expected a name"),
        ({"optimizer": "lbfgs", "clip_norm": 1.0}, "clip_norm has no meaning with L-BFGS"),
    ],
)
def test_settings_of_no_meaning(FakeNetwork, change, text):
    with pytest.raises(InputError, match=text):
        Trainer(FakeNetwork(), **{"loss": "cross_entropy", "optimizer": "adam", **change})


def trainer(net, **settings):
    usual = {"loss": "cross_entropy", "optimizer": "sgd", "progress": False, "epochs": 2}
    return Trainer(net, **{**usual, **settings})


def test_data_of_no_use(FakeNetwork, two_classes):
    net = FakeNetwork()
    for data, text in [
        (3, "expected a Dataset or"),
        (Dataset([], []), "no sequence in it"),
        (Dataset([np.ones((2, 3))]), "no target in it"),
        (Dataset([np.ones((2, 3))], [np.zeros(2, int)]), "needs one a sequence, the data has one a step"),
        (Dataset([np.ones((2, 4))], [0]), "shape"),
        (Dataset([np.ones((2, 3))], [2]), "training targets: .* classes 0 to 1, got 2 to 2"),
    ]:
        with pytest.raises(InputError, match=text):
            trainer(net).fit(data)
    with pytest.raises(InputError, match="validation targets"):
        trainer(net).fit(two_classes, Dataset([np.ones((2, 3))], [5]))
    with pytest.raises(InputError, match="needs validation data"):
        trainer(net, monitor="val_loss").fit(two_classes)
    with pytest.raises(InputError, match="resume needs the file"):
        trainer(net).fit(two_classes, resume=True)
    with pytest.raises(InputError, match="another network"):
        trainer(net).fit(two_classes, params=FakeNetwork(units=5).init())
    assert net.calls == 0


def test_parameters_given_are_copied_and_decide_the_dtype(FakeNetwork, two_classes):
    net = FakeNetwork()
    start = net.init(5, "float64")
    before = start.copy()
    result = trainer(net, dtype="float32").fit(two_classes, params=start)
    assert start == before and result.params.dtype == np.float64 and result.params != start


def test_pairs_and_components_of_ones_own(FakeNetwork):
    @loss
    def squares(o, target):
        """Sum of squares."""
        return sum((o - target) ** 2)

    x = [np.ones((n, 3)) for n in (1, 2, 3)]
    result = trainer(FakeNetwork(outputs=1), loss=squares, batch_size=2).fit((x, [1.0, 2.0, 3.0]))
    assert len(result.history) == 2 and result.stopped == "epochs"


def test_numpy_s_numbers_are_numbers(FakeNetwork, two_classes, tmp_path):
    sizes = {"batch_size": np.int64(8), "learning_rate": np.float32(0.5), "seed": np.uint8(3)}
    result = trainer(FakeNetwork(), checkpoint=tmp_path / "c", **sizes).fit(two_classes)
    plain = trainer(FakeNetwork(), batch_size=8, learning_rate=0.5, seed=3).fit(two_classes)
    assert result.params == plain.params


def test_results_belong_to_the_caller(FakeNetwork, two_classes):
    t = trainer(FakeNetwork(), keep="last")
    a = t.fit(two_classes)
    before = a.params.copy()
    t.fit(two_classes)
    assert a.params == before and a.params.flat.flags.writeable
