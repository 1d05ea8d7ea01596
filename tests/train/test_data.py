"""Datasets: every form that data comes in, batches, splits, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore.errors import InputError
from rnncore.lang import abs, loss, mean, scalar
from rnncore.train import Dataset
from rnncore.train.components import resolve
from rnncore.train.fits import check_fits

LENGTHS = [3, 0, 5, 1]


def sequences(features=2, lengths=LENGTHS):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, features)) for n in lengths]


def padded(parts):
    out = np.full((len(parts), max(map(len, parts)), *parts[0].shape[1:]), np.nan)
    for row, part in zip(out, parts, strict=True):
        row[: len(part)] = part
    return out


def assert_batch_is(batch, parts):
    x, _, lengths = batch
    assert lengths.tolist() == [len(p) for p in parts] and x.shape[:2] == (len(parts), max(map(len, parts)))
    for row, part in zip(x, parts, strict=True):
        np.testing.assert_array_equal(row[: len(part)], part)


@pytest.mark.parametrize("form", ["list", "padded", "objects"])
def test_forms_of_x(form):
    parts = sequences()
    if form == "objects":
        value = np.empty(4, object)
        value[:] = parts
    else:
        value = parts if form == "list" else padded(parts)
    data = Dataset(value, lengths=LENGTHS if form == "padded" else None)
    assert len(data) == 4 and data.lengths.tolist() == LENGTHS
    assert_batch_is(data.batch(np.array([2, 0, 1])), [parts[2], parts[0], parts[1]])
    assert_batch_is(data[[3, 1, 2]].batch(np.array([2, 1, 0])), [parts[2], parts[1], parts[3]])


def test_tokens_stay_integers():
    data = Dataset([np.array([3, 1]), np.array([2])]).cast("float32", values=True)
    x, target, _ = data.batch(np.array([0, 1]))
    assert x.dtype.kind == "i" and x.shape == (2, 2) and x[0].tolist() == [3, 1] and x[1, 0] == 2
    assert target is None


def test_several_inputs():
    parts, gaps = sequences(), sequences(1)
    data = Dataset({"x": parts, "dt": gaps})
    x, _, lengths = data[1:].batch(np.array([1, 2]))
    assert set(x) == {"x", "dt"}
    assert_batch_is((x["x"], None, lengths), [parts[2], parts[3]])
    assert_batch_is((x["dt"], None, lengths), [gaps[2], gaps[3]])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.data())
def test_any_batch_of_any_subset(lengths, data):
    parts = [np.full((n, 1), i) + np.arange(n)[:, None] / 10 for i, n in enumerate(lengths)]
    targets = [p[:, 0] for p in parts]
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8))
    subset = Dataset(parts, targets, per_step=True)[chosen]
    x, target, found = subset.batch(np.arange(len(chosen)))
    assert found.tolist() == [lengths[i] for i in chosen]
    for row, other, i in zip(x, target, chosen, strict=True):
        np.testing.assert_array_equal(row[: lengths[i]], parts[i])
        np.testing.assert_array_equal(other[: lengths[i]], targets[i])
    np.testing.assert_array_equal(subset.target, np.concatenate([targets[i] for i in chosen]))


@pytest.mark.parametrize(
    ("target", "per_step"),
    [
        ([0, 1, 2, 0], False),
        (np.ones((4, 2)), False),
        ([1.5, 2.5, 3.5, 4.5], False),
        ([np.zeros(n, int) for n in LENGTHS], True),
        ([np.zeros((n, 2)) for n in LENGTHS], True),
        (np.zeros((4, 5, 2)), True),
        (np.zeros((4, 5), int), True),
    ],
)
def test_targets_per_step_or_per_sequence(target, per_step):
    padded_target = isinstance(target, np.ndarray) and per_step
    data = Dataset(padded(sequences()), target, LENGTHS) if padded_target else Dataset(sequences(), target)
    assert data.per_step is per_step
    assert len(data.target) == (sum(LENGTHS) if per_step else 4)


def test_values_get_an_axis_of_outputs():
    x = sequences()
    whole = Dataset(x, [1, 2, 3, 4]).cast("float32", values=True)
    steps = Dataset(x, [np.arange(n) for n in LENGTHS]).cast("float32", values=True)
    assert whole.target.shape == (4, 1) and steps.target.shape == (9, 1)
    assert whole.target.dtype == steps.target.dtype == np.float32
    assert steps.batch(np.array([2]))[1].shape == (1, 5, 1)


def test_split_is_stratified_and_reproducible():
    classes = np.repeat([0, 1, 2], [50, 30, 20])
    data = Dataset([np.full((2, 1), i) for i in range(100)], classes)
    rest, held = data.split(0.2, seed=4)
    assert [np.bincount(d.target).tolist() for d in (rest, held)] == [[40, 24, 16], [10, 6, 4]]
    numbers = [d.batch(np.arange(len(d)))[0][:, 0, 0].astype(int).tolist() for d in (rest, held)]
    assert sorted(numbers[0] + numbers[1]) == list(range(100)) and numbers[1] == sorted(numbers[1])
    assert data.split(0.2, seed=4)[1].checksum() == held.checksum() != data.split(0.2, seed=5)[1].checksum()


@pytest.mark.parametrize("fraction", [0.0, 0.001, 1.0])
def test_split_leaves_no_part_empty(fraction):
    with pytest.raises(InputError, match="leaves one part empty"):
        Dataset([np.ones((1, 1))] * 10).split(fraction)


@pytest.mark.parametrize("fraction", ["a fifth", None, np.nan, np.inf])
def test_a_fraction_is_a_number(fraction):
    with pytest.raises(InputError, match="a fraction is a number between 0 and 1, got"):
        Dataset([np.ones((1, 1))] * 10).split(fraction)


@pytest.mark.parametrize("change", ["x", "target", "length", "order"])
def test_checksum_sees_every_change(change):
    x, y = sequences(), np.arange(4)
    before = Dataset(x, y).checksum()
    if change == "x":
        x[2][1, 1] += 1e-9
    if change == "target":
        y = y[::-1].copy()
    if change == "length":
        x[0] = x[0][:-1]
    data = Dataset(x, y)[[1, 0, 2, 3]] if change == "order" else Dataset(x, y)
    assert data.checksum() != before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (({},), "empty mapping"),
        ((3,), "expected a list of arrays or an array, got int"),
        (("abc",), "expected a list of arrays or an array, got str"),
        (([np.ones((2, 1)), np.ones((2, 2))],), r"x\[1\] has shape \(2, 2\), x\[0\] has \(2, 1\)"),
        (([np.ones(4)],), "for a single feature give"),
        ((np.ones((2, 3, 1)), None, [3]), "lengths: expected 2 integers"),
        ((np.ones((2, 3, 1)), None, [3.0, 2.0]), "lengths: expected 2 integers"),
        ((np.ones((2, 3, 1)), None, [3, 4]), "lengths: expected 0 to 3, got 3 to 4"),
        ((np.ones((2, 3, 1)), None, [-1, 3]), "lengths: expected 0 to 3, got -1 to 3"),
        (([np.ones((2, 1))], None, [1]), "lengths go with a padded array"),
        ((np.array([["a"]]),), "expected an array of numbers"),
        (([[[1, 2], [3]]],), r"x\[0\]: not an array"),
        ((np.ones((2, 2, 2, 2)),), r"expected \(N, T, features\) or \(N, T\)"),
        (({"x": [np.ones((2, 1))], "dt": [np.ones((3, 1))]},), r"x\['dt'\] has other lengths than x\['x'\]"),
        ((sequences(), [1, 2]), "for each of 4 sequences, got shape"),
        ((sequences(), [np.ones((3, 1))]), "target: got 1 sequences for 4"),
        ((sequences(), [np.ones((n + 1, 1)) for n in LENGTHS]), r"target\[0\] has 4 entries, x\[0\] has 3"),
    ],
)
def test_refusals(arguments, text):
    with pytest.raises(InputError, match=text):
        Dataset(*arguments)


@pytest.mark.parametrize(("target", "text"), [
    ([1, 2, 3, 4], "expected one entry for each step of a sequence, got one number for all of them"),
    ([np.array(1.0), [1], [1], [1]], "got one number for all of them"),
    ([[[1, 2], [3]], [1], [1], [1]], "not an array"),
])  # fmt: skip
def test_targets_of_steps_that_cannot_be(target, text):
    with pytest.raises(InputError, match=f"target.*{text}"):
        Dataset(sequences(), target, per_step=True)


@loss
def median(o, target):
    return mean(abs(o - scalar(target)))


def test_fits(FakeNetwork):
    net, entropy = FakeNetwork(inputs=2, outputs=3), resolve("loss", "cross_entropy")
    check_fits(net, Dataset(sequences(), [0, 1, 2, 0]), entropy, "training")
    for target, of, text in [
        ([0, 1, 2, 3], entropy, "classes 0 to 2, got 0 to 3"),
        ([0, -1, 2, 0], entropy, "got -1 to 2"),
        ([0.0, 1.0, 2.0, 0.0], entropy, "expected integers, got float64"),
        (np.ones((4, 2)), resolve("loss", "mean_squared"), "has 3 outputs, got 2 values"),
        (np.ones((4, 3)), median(), r"loss 'median' reads 1, got 3 values"),
    ]:
        with pytest.raises(InputError, match=f"validation targets.*{text}"):
            check_fits(net, Dataset(sequences(), target), of, "validation")
    with pytest.raises(InputError, match="needs one a step, the data has one a sequence"):
        check_fits(FakeNetwork(2, 3, "many-to-many"), Dataset(sequences(), [0, 1, 2, 0]), entropy, "training")
    with pytest.raises(InputError, match="shape"):
        check_fits(net, Dataset(sequences(5), [0, 1, 2, 0]), entropy, "training")
    with pytest.raises(InputError, match="no target in it"):
        check_fits(net, Dataset([np.ones((0, 2))], [np.zeros(0, int)]), entropy, "training")


class Labelled:
    """Stands for an array of another library that NumPy can read: a DataArray, a Series, a tensor."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        if self.values is None:
            raise TypeError("it is on a GPU")
        return self.values


def test_arrays_of_other_libraries_are_read():
    x, y = np.arange(24.0).reshape(2, 4, 3), np.arange(8).reshape(2, 4)
    assert Dataset(Labelled(x), Labelled(y)).checksum() == Dataset(x, y).checksum()
    assert Dataset({"x": Labelled(x)}).checksum() == Dataset({"x": x}).checksum()
    objects = np.empty(2, object)
    objects[:] = [x[0], x[1, :2]]
    assert Dataset(Labelled(objects), Labelled(y[0, :2])).checksum() == Dataset([x[0], x[1, :2]], y[0, :2]).checksum()
    with pytest.raises(InputError, match="x: Labelled cannot be read as a NumPy array: it is on a GPU"):
        Dataset(Labelled(None))
    with pytest.raises(InputError, match="target: expected a list of arrays or an array, got int"):
        Dataset(x, 3, per_step=True)
