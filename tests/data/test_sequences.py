"""The value that a data file gives: shapes, moments, standardising, class names."""

import numpy as np
import pytest

import rnncore.data as data
from rnncore.data import Sequences
from rnncore.errors import InputError


def make(x, y=None, classes=None):
    features = tuple(f"f{k}" for k in range(x[0].shape[1]))
    return Sequences(x, y, classes, features, tuple(map(str, range(len(x)))), "here")


def test_moments_are_over_all_steps_and_leave_missing_values_out():
    rows = np.random.default_rng(0).normal(3, 2, (30, 2))
    held = make([rows[:11], rows[11:12], rows[12:]])
    mean, scale = held.moments()
    np.testing.assert_allclose(mean, rows.mean(0))
    np.testing.assert_allclose(scale, rows.std(0))
    with_gap = make([np.vstack([rows, [[np.nan, 3.0]]])])
    np.testing.assert_allclose(with_gap.moments()[0][0], rows[:, 0].mean())
    np.testing.assert_allclose(with_gap.moments()[1][0], rows[:, 0].std())


def test_standardize_gives_mean_0_and_deviation_1_and_keeps_a_constant_feature_finite():
    rng = np.random.default_rng(1)
    held = make([np.column_stack([rng.normal(5, 3, n), np.full(n, 0.1)]) for n in (4, 9, 1)])
    steps = np.concatenate(held.standardize().x)
    np.testing.assert_allclose(steps.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(steps.std(0), [1, 0], atol=1e-12)
    np.testing.assert_array_equal(held.x[0][:, 1], 0.1)


def test_standardize_by_the_moments_of_others():
    train, test = data.japanese_vowels()
    mean, scale = train.moments()
    np.testing.assert_array_equal(test.standardize(mean, scale).x[7], (test.x[7] - mean) / scale)
    with pytest.raises(InputError, match="12 features"):
        train.standardize(mean[:3], scale)


def test_with_classes_counts_anew_by_name():
    x = [np.zeros((2, 1))] * 3
    held = make(x, np.array([1, 0, 1]), ("a", "b"))
    np.testing.assert_array_equal(held.with_classes(["b", "c", "a"]).y, [0, 2, 0])
    steps = make(x, [np.array([1, 0])] * 3, ("a", "b")).with_classes(["b", "a"])
    np.testing.assert_array_equal(steps.y[2], [0, 1])
    with pytest.raises(InputError, match="'a'.*none of: b, c"):
        held.with_classes(["b", "c"])
    with pytest.raises(InputError, match="no classes"):
        make(x, np.zeros((3, 1))).with_classes(["a"])


def test_a_class_that_no_sequence_has_may_be_foreign():
    held = make([np.zeros((2, 1))] * 2, np.array([1, 1]), ("unused", "b"))
    np.testing.assert_array_equal(held.with_classes(["b"]).y, [0, 0])


@pytest.mark.parametrize(
    ("y", "classes", "said", "outputs"),
    [
        (None, None, "no targets", None),
        (np.array([0, 1]), ("a", "b", "c"), "3 classes", 3),
        (np.zeros((2, 4)), None, "4 values", 4),
        ([np.zeros((2, 1)), np.zeros((5, 1))], None, "1 value per step", 1),
    ],
)
def test_it_prints_what_it_holds(y, classes, said, outputs):
    held = make([np.zeros((2, 3)), np.zeros((5, 3))], y, classes)
    assert repr(held) == f"Sequences(2 x (2 to 5 steps, 3 features), {said}, from here)"
    assert held.outputs == outputs and len(held) == 2
    np.testing.assert_array_equal(held.lengths, [2, 5])


def test_a_split_is_stratified_repeatable_and_whole():
    train, _ = data.japanese_vowels()
    rest, held = train.split(0.2, seed=3)
    np.testing.assert_array_equal(np.bincount(held.y), [6] * 9)
    assert sorted(rest.ids + held.ids) == sorted(train.ids) and len(held) == 54
    for name, series, label in zip(held.ids, held.x, held.y, strict=True):
        assert series is train.x[int(name)] and label == train.y[int(name)]
    assert train.split(0.2, seed=3)[1].ids == held.ids != train.split(0.2, seed=4)[1].ids


@pytest.mark.parametrize("y", [None, [np.zeros(2, int)] * 4, np.zeros((4, 1))])
def test_a_split_of_other_targets(y):
    classes = ("a",) if isinstance(y, list) else None
    rest, held = make([np.full((2, 1), k) for k in range(4)], y, classes).split(0.25)
    assert (len(rest), len(held)) == (3, 1) and rest.per_step == isinstance(y, list)
    with pytest.raises(InputError, match="one part empty"):
        held.split(0.5)


def test_indices_choose_sequences():
    held = make([np.full((1, 1), k) for k in range(3)], np.arange(3), ("a", "b", "c"))
    assert held[1:].ids == ("1", "2") and held[[2, 0]].ids == ("2", "0")
    np.testing.assert_array_equal(held[np.array([False, True, False])].y, [1])
