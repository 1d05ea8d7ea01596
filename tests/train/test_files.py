"""Files: whole or not there, checked when read, one clear error otherwise."""

import os

import numpy as np
import pytest

from rnncore.errors import FileError
from rnncore.train.files import discard_leftovers, read_arrays, write_arrays, write_atomically

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3, "float32"), "empty": np.zeros((0, 4), "int64")}


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"one")
    write_atomically(str(path), b"two")
    assert path.read_bytes() == b"two" and os.listdir(tmp_path) == ["file"]


def test_through_a_link_the_file_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    write_atomically(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "file").read_bytes() == b"x"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(FileError, match="cannot write .*file: No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_reaches_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a))[1])
    write_atomically(tmp_path / "file", b"x")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="cannot write .*No such file or directory"):
        write_atomically(tmp_path / "none" / "file", b"x")


def test_leftovers_of_one_file_alone_are_discarded(tmp_path):
    for name in (".file.0123abcd.tmp", ".file.tmp", ".other.0123abcd.tmp", "file"):
        (tmp_path / name).touch()
    discard_leftovers(tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == [".file.tmp", ".other.0123abcd.tmp", "file"]
    discard_leftovers(tmp_path / "none" / "file")


def test_arrays_and_texts_come_back(tmp_path):
    write_arrays(tmp_path / "f", "model", ARRAYS, {"note": "ünïcode"})
    arrays, text = read_arrays(tmp_path / "f", "model")
    assert text == {"note": "ünïcode"} and set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)


def test_views_that_are_not_contiguous(tmp_path):
    array = np.arange(12.0).reshape(3, 4).T[::2]
    write_arrays(tmp_path / "f", "model", {"a": array}, {})
    np.testing.assert_array_equal(read_arrays(tmp_path / "f", "model")[0]["a"], array)


def test_other_files_are_told_apart(tmp_path):
    from safetensors.numpy import save_file

    write_arrays(tmp_path / "f", "checkpoint", ARRAYS, {})
    with pytest.raises(FileError, match="this is a checkpoint of rnncore; expected a model"):
        read_arrays(tmp_path / "f", "model")
    save_file({"a": np.ones(2)}, tmp_path / "foreign")
    with pytest.raises(FileError, match="rnncore did not write; expected a model"):
        read_arrays(tmp_path / "foreign", "model")
    with pytest.raises(FileError, match="no such file"):
        read_arrays(tmp_path / "none", "model")
    with pytest.raises(FileError, match="this is a folder; expected a model"):
        read_arrays(tmp_path, "model")


def test_damage_of_any_kind_is_one_error(tmp_path):
    """Cut off anywhere, or any one bit turned over: never a wrong array, never another exception."""
    path = tmp_path / "f"
    write_arrays(path, "model", ARRAYS, {"note": "text"})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:n] for n in (0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1)]
    damaged += [b"not at all", whole + b"x"]
    for at in np.unique(rng.integers(0, len(whole), 150)):
        bits = bytearray(whole)
        bits[at] ^= 1 << rng.integers(8)
        damaged.append(bytes(bits))
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(FileError, match="model"):
            read_arrays(path, "model")
