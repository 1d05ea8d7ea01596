"""Pairs of texts, given and read."""

import pytest

from rnncore.data import Pairs, read_pairs
from rnncore.errors import FileError, InputError


def test_indexing_by_slice_mask_and_integers():
    pairs = Pairs(["a", "bb", "ccc"], ["1", "2", "3"])
    assert pairs[1:] == pairs[[1, 2]] == Pairs(("bb", "ccc"), ("2", "3"))
    assert pairs[[True, False, False]].sources == ("a",) and len(pairs[:0]) == 0
    assert repr(pairs) == "Pairs(3 pairs, 1 to 3 characters to 1)" and "no characters" in repr(pairs[:0])


@pytest.mark.parametrize("given", [(["a"], ["1", "2"]), ("a", ["1"]), (["a"], [1])])
def test_what_is_no_pairs_is_refused(given):
    with pytest.raises(InputError):
        Pairs(*given)


def test_a_file_of_pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("3. März\t03-03\n\n\t\n", encoding="utf-8")
    assert read_pairs(path) == Pairs(("3. März", ""), ("03-03", ""))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a\tb\nno tabulator\n", r"p\.tsv:2: .*'no tabulator'"), (b"a\tb\tc\n", "p.tsv:1"), (b"\n", "no pair"),
     (b"\xff\t\xff", "p.tsv")],
)  # fmt: skip
def test_a_bad_file_names_its_line(tmp_path, content, said):
    (tmp_path / "p.tsv").write_bytes(content)
    with pytest.raises(FileError, match=said):
        read_pairs(tmp_path / "p.tsv")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileError, match="nowhere"):
        read_pairs(tmp_path / "nowhere.tsv")
