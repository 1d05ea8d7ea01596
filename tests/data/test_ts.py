"""The reader of `.ts`: what is written comes back, and a mistake is told at its line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnncore.data as data
from rnncore.errors import FileError, InputError

HEADER = "# a comment\n@problemName P\n@timeStamps false\n@missing true\n@dimensions 2\n@equalLength false\n"
CLASSES = HEADER + "@classLabel true red blue\n@data\n"


def put(tmp_path, text, name="case.ts"):
    path = tmp_path / name
    path.write_text(text)
    return path


NUMBERS = st.floats(-1e6, 1e6, allow_nan=False) | st.just(float("nan"))


def cases_of(features):
    step = st.lists(NUMBERS, min_size=features, max_size=features)
    return st.lists(st.tuples(st.lists(step, min_size=1, max_size=5), st.booleans()), min_size=1, max_size=5)


@given(cases=st.integers(1, 4).flatmap(cases_of))
def test_what_is_written_comes_back(tmp_path_factory, cases):
    lines = []
    for steps, blue in cases:
        texts = [["?" if v != v else repr(v) for v in channel] for channel in zip(*steps, strict=True)]
        channels = map(",".join, texts)
        lines.append(":".join([*channels, "blue" if blue else "red"]))
    count = len(cases[0][0][0])
    text = CLASSES.replace("@dimensions 2", f"@dimensions {count}") + "\n".join(lines) + "\n"
    held = data.read(put(tmp_path_factory.mktemp("ts"), text))
    for (steps, blue), series, label in zip(cases, held.x, held.y, strict=True):
        np.testing.assert_array_equal(series, np.array(steps))
        assert held.classes[label] == ("blue" if blue else "red")


def test_univariate_equal_length_with_values(tmp_path):
    head = "@univariate true\n@equalLength true\n@seriesLength 3\n@targetLabel true\n"
    held = data.read(put(tmp_path, head + "@data\n1,2,3:0.5\n4,5,6:-2\n"))
    assert held.classes is None and held.x[1].shape == (3, 1)
    np.testing.assert_array_equal(held.y, [[0.5], [-2.0]])


def test_without_labels_and_without_dimensions(tmp_path):
    held = data.read(put(tmp_path, "@classLabel false\n@data\n1,2:3,4\n5:6\n"))
    assert held.y is None
    np.testing.assert_array_equal(held.x[0], [[1, 3], [2, 4]])


def test_classes_that_the_header_does_not_list_are_collected(tmp_path):
    assert data.read(put(tmp_path, "@classLabel true\n@data\n1:10\n2:9\n3:10\n")).classes == ("9", "10")


def test_japanese_vowels_is_as_published():
    train, test = data.japanese_vowels()
    assert (len(train), len(test)) == (270, 370)
    assert {s.shape[1] for s in train.x + test.x} == {12}
    lengths = np.concatenate([train.lengths, test.lengths])
    assert (lengths.min(), lengths.max()) == (7, 29)
    np.testing.assert_array_equal(np.bincount(train.y), [30] * 9)
    np.testing.assert_array_equal(np.bincount(test.y), [31, 35, 88, 44, 29, 24, 40, 50, 29])
    assert train.x[0][0, 0] == 1.860936 and train.x[0][1, 0] == 1.891651


ERRORS = {
    "no_number": (CLASSES + "1,2:3,x:red\n", ":9:", "'x'"),
    "channels": (CLASSES + "1,2:3,4:red\n\n1,2:blue\n", ":11:", "expected 2 channels and a label, got 1"),
    "ragged_case": (CLASSES + "1,2:3:red\n", ":9:", "channel 1 has 1 steps"),
    "class": (CLASSES + "1:3:green\n", ":9:", "'green'"),
    "no_data_line": ("@classLabel true a b\n", "", "no line @data"),
    "no_header": ("1,2,3:a\n", ":1:", "@data"),
    "empty": ("@classLabel true a b\n@data\n", "", "no case"),
    "stamps": ("@timeStamps true\n@data\n(0,1),(1,2)\n", "", "@timeStamps true"),
    "length": ("@equalLength true\n@seriesLength 3\n@data\n1,2\n", ":4:", "expected 3 steps"),
    "value": ("@univariate true\n@targetLabel true\n@data\n1,2:much\n", ":4:", "'much'"),
    "later_channels": ("@data\n1:2\n1:2:3\n", ":3:", "expected 2 channels"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_mistake_is_told_at_its_line(tmp_path, case):
    text, line, said = ERRORS[case]
    with pytest.raises(FileError) as caught:
        data.read(put(tmp_path, text))
    assert f"case.ts{line}" in str(caught.value) and said in str(caught.value)


def test_missing_values_are_kept_or_refused(tmp_path):
    path = put(tmp_path, CLASSES + "1,?:3,4:red\n")
    np.testing.assert_array_equal(data.read(path).x[0], [[1, 3], [np.nan, 4]])
    with pytest.raises(FileError, match=r"case\.ts:9: a value is missing"):
        data.read(path, missing="error")
    with pytest.raises(InputError, match="missing must be"):
        data.read(path, missing="drop")


def test_no_file_no_text_or_another_ending(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        data.read(tmp_path / "none.ts")
    (tmp_path / "binary.ts").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="no text file"):
        data.read(tmp_path / "binary.ts")
    with pytest.raises(FileError, match=r"\.ts, \.npz, \.csv"):
        data.read(tmp_path / "table.xls")
