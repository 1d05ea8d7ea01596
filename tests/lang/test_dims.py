"""Sizes that operations make equal."""

import pytest

from rnncore.errors import LanguageError
from rnncore.lang.dims import UNITS, Dim, unify

HERE = ("cell.py", 7)


def test_a_size_that_stays_free_is_the_units():
    assert Dim().resolved == UNITS


@pytest.mark.parametrize("first", [True, False])
def test_what_is_known_of_one_holds_for_the_other(first):
    free, known = Dim(), Dim(symbols=["x"])
    unify(*((free, known) if first else (known, free)), HERE)
    assert free.resolved == known.resolved == "x"


def test_a_number_outlives_a_name():
    a, b = Dim(symbols=["x"]), Dim(number=3)
    unify(a, b, HERE)
    assert a.resolved == b.resolved == 3 and a.root().symbols == ["x"]


def test_equality_passes_on():
    a, b, c, d = Dim(), Dim(), Dim(), Dim(number=5)
    unify(a, b, HERE)
    unify(c, d, HERE)
    unify(b, c, HERE)
    assert {v.resolved for v in (a, b, c, d)} == {5} and a.root() is d.root()


def test_two_numbers_that_differ_are_an_error_at_the_line():
    with pytest.raises(LanguageError, match="sizes differ: 3 and 4") as caught:
        unify(Dim(number=3), Dim(number=4), HERE)
    assert (caught.value.filename, caught.value.lineno) == HERE


def test_equal_numbers_are_no_error():
    a = Dim(number=3)
    unify(a, Dim(number=3), HERE)
    assert a.resolved == 3


def test_the_line_that_fixed_a_size_is_kept():
    free, fixed = Dim(), Dim(number=3, origin=HERE)
    unify(free, fixed, ("cell.py", 9))
    assert free.root().origin == HERE
