"""The reader of `.npz`: padded or end to end, classes or values, one a sequence or one a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnncore.data as data
from rnncore.errors import FileError


def put(folder, **arrays):
    np.savez(folder / "case.npz", **arrays)
    return folder / "case.npz"


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(1, 3), st.booleans(), st.booleans())
def test_padded_and_end_to_end_are_the_same(tmp_path_factory, lengths, features, per_step, per_class):
    rng = np.random.default_rng(sum(lengths))
    shape = (len(lengths), max(lengths) + 1)
    x = rng.normal(size=(*shape, features))
    shape = shape if per_step else shape[:1]
    y = rng.integers(5, 8, shape) if per_class else rng.normal(size=(*shape, 2))
    kept = [y[i, :n] for i, n in enumerate(lengths)] if per_step else y
    padded = data.read(put(tmp_path_factory.mktemp("npz"), x=x, y=y, lengths=lengths))
    for i, n in enumerate(lengths):
        np.testing.assert_array_equal(padded.x[i], x[i, :n])
        if per_class:
            np.testing.assert_array_equal(np.array(padded.classes)[padded.y[i]], kept[i].astype(str))
        else:
            np.testing.assert_array_equal(padded.y[i], kept[i])
    assert padded.per_step is per_step and padded.outputs == (len(padded.classes) if per_class else 2)
    flat = np.concatenate([x[i, :n] for i, n in enumerate(lengths)])
    if len(flat) == len(lengths):
        return
    y = np.concatenate(kept) if per_step else y
    again = data.read(put(tmp_path_factory.mktemp("npz"), x=flat, y=y, lengths=lengths))
    assert again.per_step is per_step and again.classes == padded.classes
    for a, b in zip(again.x, padded.x, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(again.y, padded.y, strict=True):
        np.testing.assert_array_equal(a, b)


def test_names_of_classes_and_features(tmp_path):
    x, classes = np.zeros((2, 3, 2)), ["a", "b", "c"]
    held = data.read(put(tmp_path, x=x, y=[2, 0], classes=classes, features=["u", "v"]))
    assert held.classes == ("a", "b", "c") and held.features == ("u", "v")
    np.testing.assert_array_equal(held.y, [2, 0])
    held = data.read(put(tmp_path, x=x, y=["c", "a"], classes=classes))
    np.testing.assert_array_equal(held.y, [2, 0])


def test_one_float_a_sequence_is_a_value(tmp_path):
    held = data.read(put(tmp_path, x=np.zeros((2, 3, 1)), y=[0.5, 2.0]))
    assert held.classes is None
    np.testing.assert_array_equal(held.y, [[0.5], [2.0]])


X = np.zeros((2, 3, 1))
ERRORS = {
    "no_x": ({"z": X}, "no array x; it holds: z"),
    "axes": ({"x": np.zeros(4)}, "got float64 of shape (4,)"),
    "texts": ({"x": np.array([["a"]])}, "expected numbers"),
    "long": ({"x": X, "lengths": [3, 4]}, "up to 3"),
    "count": ({"x": X, "lengths": [3]}, "expected 2 integers"),
    "float_lengths": ({"x": X, "lengths": [1.0, 2.0]}, "integers from 0"),
    "no_lengths": ({"x": X[0]}, "needs lengths that add up to 3, got none"),
    "sum": ({"x": X[0], "lengths": [1, 1]}, "add up to 3, got 2"),
    "y": ({"x": X, "y": np.zeros(5)}, "fits neither 2 sequences nor their steps"),
    "class": ({"x": X, "y": [0, 2], "classes": ["a", "b"]}, "none of classes: a, b"),
    "features": ({"x": X, "features": ["a", "b"]}, "expected 1 names, got 2"),
    "objects": ({"x": np.array([{}, {}], object)}, "plain arrays"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_wrong_array_is_told(tmp_path, case):
    arrays, said = ERRORS[case]
    with pytest.raises(FileError) as caught:
        data.read(put(tmp_path, **arrays))
    assert "case.npz" in str(caught.value) and said in str(caught.value)


def test_a_damaged_or_absent_file_is_told(tmp_path):
    path = put(tmp_path, x=X)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(broken)
        with pytest.raises(FileError, match=r"case\.npz"):
            data.read(path)
    with pytest.raises(FileError, match="No such file"):
        data.read(tmp_path / "none.npz")


def test_missing_values_are_kept_or_refused(tmp_path):
    path = put(tmp_path, x=np.array([[[1.0]], [[np.nan]]]))
    assert np.isnan(data.read(path).x[1]).all()
    with pytest.raises(FileError, match="sequence 1: a value is missing"):
        data.read(path, missing="error")
