"""Layers: a cell with units and options, an immutable description."""

import pickle

import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError, LanguageError
from rnncore.lang import cell, tanh
from rnncore.lang.cell import sizes_of


def test_a_layer_is_equal_hashable_printable_and_picklable():
    layer = stress.simple(4, activation="relu")
    assert layer == stress.simple(4, activation="relu") != stress.simple(5, activation="relu")
    assert layer != stress.simple(4) and len({layer, stress.simple(4, activation="relu")}) == 1
    assert repr(layer) == "simple(4, activation='relu')" and repr(stress.simple(4)) == "simple(4)"
    assert pickle.loads(pickle.dumps(layer)) == layer


def test_a_layer_cannot_be_changed():
    with pytest.raises(AttributeError):
        stress.simple(4).units = 5


@pytest.mark.parametrize("units", [0, -1, 2.0, "4", None, True])
def test_units_must_be_a_positive_integer(units):
    with pytest.raises(InputError, match="units of cell 'simple' must be a positive integer"):
        stress.simple(units)


def test_an_unknown_option_is_told_with_those_there_are():
    with pytest.raises(InputError, match="no option 'activaton'; its options are: activation"):
        stress.simple(4, activaton="relu")


@pytest.mark.parametrize("value", [object(), {}, lambda: 0, (1, {2}), float("nan"), (1.0, float("inf"))])
def test_an_option_must_be_plain(value):
    with pytest.raises(InputError, match="option 'activation'"):
        stress.simple(4, activation=value)


def test_a_list_option_is_a_tuple():
    @cell
    def widths(w, x, h, *, sizes=(1, 2)):
        return h

    assert widths(3, sizes=[1, 2]) == widths(3, sizes=(1, 2)) == widths(3)


def test_a_description_has_names_options_and_the_hash_of_the_graph():
    described = stress.simple(4).describe()
    assert described.keys() == {"cell", "units", "options", "graph"}
    assert described["cell"] == "simple" and described["options"] == {"activation": "tanh"}
    assert described["graph"] != stress.simple(4, activation="relu").describe()["graph"]


def test_the_source_is_the_authors():
    assert stress.gated(3).source.startswith("@cell\ndef gated(w, x, h, *, after=False):")


def test_sizes_are_resolved_for_every_symbol():
    sizes = sizes_of(stress.lstmp(4, memory=9), {"x": 3, "unread": 8})
    assert sizes["units"] == 4 and sizes["x"] == 3 and sizes[9] == 9 and "unread" not in sizes


def test_an_input_that_is_not_given_is_told():
    with pytest.raises(InputError, match="cell 'elapsed' reads the input 'dt'; the network gives: x"):
        rn.Network(stress.elapsed(4), inputs=3)


def test_sizes_that_the_equations_make_equal_must_be_given_equal():
    with pytest.raises(LanguageError, match="sizes differ: 2 .that of 'm'. and 3 .that of 'x'., which") as caught:
        rn.Network(stress.gru_d(4), inputs={"x": 3, "m": 2, "dt": 3})
    assert caught.value.filename == stress.__file__


def test_a_cell_whose_equations_fix_the_units_says_so():
    with pytest.raises(LanguageError, match="7 units were asked for, but the equations of 'dale' fix"):
        rn.Network(stress.dale(7), inputs=3)
    rn.Network(stress.dale(5), inputs=3)


def test_what_cell_returns_works_without_being_registered():
    @cell
    def mine(w, x, h):
        """The newest cell."""
        return tanh(w.h(x, h))

    assert (mine.name, mine.summary, mine.kind) == ("mine", "The newest cell.", "cell")
    assert "mine" not in rn.cells
    assert rn.Network(mine(3), inputs=2).shapes == {"W_xh": (3, 2), "W_hh": (3, 3), "b_h": (3,)}
