"""The reader of long `.csv`: columns by name, steps by time, classes or values."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnncore.data as data
from rnncore.errors import FileError, InputError


def put(folder, text):
    path = folder / "case.csv"
    path.write_text(text)
    return path


LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@given(LENGTHS, st.integers(1, 3), st.integers(0, 99), st.booleans())
def test_what_is_written_in_any_order_comes_back(tmp_path_factory, lengths, features, seed, per_step):
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(n, features)) for n in lengths]
    y = [rng.choice(["up", "down"], n if per_step else 1) for n in lengths]
    rows = [
        [f"s{i}", str(t / 2), *map(repr, map(float, x[i][t])), y[i][t if per_step else 0]]
        for i, n in enumerate(lengths)
        for t in range(n)
    ]
    random.Random(seed).shuffle(rows)
    head = ["id", "time", *(f"f{k}" for k in range(features)), "label"]
    held = data.read(put(tmp_path_factory.mktemp("csv"), "\n".join(map(",".join, [head, *rows]))))
    assert held.features == tuple(head[2:-1])
    assert set(held.ids) == {f"s{i}" for i in range(len(lengths))}
    for name, series, label in zip(held.ids, held.x, held.y, strict=True):
        i = int(name[1:])
        np.testing.assert_array_equal(series, x[i])
        expected = y[i] if held.per_step else y[i][:1]
        np.testing.assert_array_equal(np.array(held.classes)[np.atleast_1d(label)], expected)


def test_columns_by_other_names(tmp_path):
    path = put(tmp_path, "who;at;a;b;grade\nx;2;1;2;u\nx;1;3;4;u\ny;1;5;6;v\n")
    held = data.read(path, id="who", time="at", target="grade", features=["b"], delimiter=";")
    assert held.ids == ("x", "y") and held.features == ("b",) and held.classes == ("u", "v")
    np.testing.assert_array_equal(held.x[0], [[4], [2]])


def test_names_are_found_in_any_case_and_dates_order(tmp_path):
    held = data.read(put(tmp_path, "ID,Time,v\na,2020-02-01,2\na,2019-12-31,1\n"))
    np.testing.assert_array_equal(held.x[0], [[1], [2]])
    assert held.y is None


def test_without_a_time_rows_keep_their_order(tmp_path):
    held = data.read(put(tmp_path, "id,v\na,3\nb,9\na,1\n"))
    np.testing.assert_array_equal(held.x[0], [[3], [1]])


@pytest.mark.parametrize(
    ("labels", "options", "classes", "y"),
    [
        (["1", "2"], {}, ("1", "2"), [0, 1]),
        (["10", "9"], {}, ("9", "10"), [1, 0]),
        (["1", "2.5"], {}, None, [[1], [2.5]]),
        (["1", "2"], {"values": True}, None, [[1], [2]]),
        (["1.5", "2.5"], {"values": False}, ("1.5", "2.5"), [0, 1]),
    ],
)
def test_classes_or_values(tmp_path, labels, options, classes, y):
    rows = "".join(f"{k},0,{t}\n" for k, t in enumerate(labels))
    held = data.read(put(tmp_path, "id,v,y\n" + rows), **options)
    assert held.classes == classes
    np.testing.assert_array_equal(held.y, y)


def test_several_targets_are_values_one_a_step_where_they_change(tmp_path):
    path = put(tmp_path, "id,v,p,q\na,0,1,2\na,0,1,3\nb,0,4,5\n")
    held = data.read(path, target=["p", "q"])
    assert held.per_step and held.outputs == 2
    np.testing.assert_array_equal(held.y[0], [[1, 2], [1, 3]])
    with pytest.raises(InputError, match="classes stand in one"):
        data.read(path, target=["p", "q"], values=False)


ERRORS = {
    "no_id": ("v,label\n1,a\n", {}, ":1:", "names the sequence"),
    "unknown": ("id,v\na,1\n", {"time": "when"}, ":1:", "no column 'when'; the columns are: id, v"),
    "fields": ("id,v\na,1\na,1,2\n", {}, ":3:", "expected 2 fields"),
    "number": ("id,v\na,1\na,much\n", {}, ":3:", "'much'"),
    "twice": ("id,t,v\na,1,1\na,2,1\na,1,1\n", {}, ":4:", "line 2"),
    "time": ("id,t,v\na,soon,1\n", {}, ":2:", "'soon'"),
    "nan_time": ("id,t,v\na,nan,1\n", {}, ":2:", "'nan'"),
    "mixed_times": ("id,t,v\na,1,1\na,2020-01-01,1\n", {}, ":2:", "numbers and dates"),
    "target": ("id,v,y\na,1,u\na,1,\n", {}, ":3:", "target is missing"),
    "value": ("id,v,y\na,1,u\n", {"values": True}, ":2:", "'u'"),
    "no_feature": ("id,y\na,1\n", {}, ":1:", "no column is left"),
    "same_names": ("id,v,v\na,1,1\n", {}, ":1:", "one name"),
    "empty": ("", {}, "", "at least one step"),
    "only_names": ("id,v\n", {}, "", "at least one step"),
    "missing": ("id,v\na,1\na,?\n", {"missing": "error"}, ":3:", "a value is missing"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_mistake_is_told_at_its_line(tmp_path, case):
    text, options, line, said = ERRORS[case]
    with pytest.raises(FileError) as caught:
        data.read(put(tmp_path, text), **options)
    assert f"case.csv{line}" in str(caught.value) and said in str(caught.value)


def test_missing_features_are_nan(tmp_path):
    held = data.read(put(tmp_path, "id,u,v\na,,1\na,?,nan\n"))
    np.testing.assert_array_equal(held.x[0], [[np.nan, 1], [np.nan, np.nan]])


def test_a_feature_is_nothing_else(tmp_path):
    with pytest.raises(InputError, match="also the id"):
        data.read(put(tmp_path, "id,v\na,1\n"), features=["id"])
