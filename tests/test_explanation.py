"""What `explain` shows of a layer, and of everything in a network."""

import pytest
import stress

import rnncore as rn
from rnncore.errors import InputError


def test_every_part_of_a_layer():
    text = rn.explain(stress.gated(5))
    for words in (
        "gated(5)", "-- equations --", "z = sigmoid(w.z(x, h))", "W_hn", "recurrent", "-- graph --", "its reverse:",
        "z: (units) = sigmoid(", "# stress.py:", "-- plan --", "wave 2", "saved for BPTT", "-- source --",
        "def kernel(", "n = tanh(",
    ):  # fmt: skip
        assert words in text, words
    assert repr(text) == str(text)


@pytest.mark.parametrize("what, there, not_there", [
    ("equations", "W_xz", "matmul"), ("graph", "matmul", "wave"), ("plan", "wave", "def kernel"),
    ("source", "def kernel", "wave"),
])  # fmt: skip
def test_one_part(what, there, not_there):
    text = rn.explain(stress.gated(5), what=what)
    assert there in text and not_there not in text and f"-- {what} --" in text


def test_the_source_is_python_with_the_authors_names_and_lines():
    for name, component in stress.CELLS.items():
        text = rn.explain(component(stress.UNITS.get(name, 3)), what="source")
        compile(text.split("-- source --\n")[1], name, "exec")
        assert "# stress.py:" in text


def test_a_cell_a_topology_and_a_network():
    net = rn.Network(stress.stacked(stress.both_ways(stress.gated(4)), stress.simple(3)), inputs=2)
    for given in (net, net.layer):
        text = rn.explain(given, what="equations")
        assert text.count("def gated(") == 1 and text.count("def simple(") == 1
    assert "def simple(" in rn.explain(stress.simple, what="equations")


@pytest.mark.parametrize("given, words", [
    ({"layer": 3}, "explain takes a layer, a cell, a topology or a network, got int"),
    ({"layer": stress.simple(3), "what": "all of it"}, "what must be one of all, equations, graph, plan, source"),
    ({"layer": stress.simple(3), "dtype": "int8"}, "dtype must be 'float32' or 'float64'"),
])  # fmt: skip
def test_wrong_questions(given, words):
    with pytest.raises(InputError, match=words):
        rn.explain(**given)


def test_a_cell_typed_at_a_prompt():
    names = {}
    exec("from rnncore.lang import cell, tanh\n@cell\ndef typed(w, x, h):\n    return tanh(w.h(x, h))", names)
    said = rn.explain(names["typed"](3))
    assert "# the text of typed (<string>:2) is not at hand" in said and "W_hh" in said and "def kernel(" in said
    assert "(<string>:2)" in rn.explain(rn.topologies.jordan(names["typed"](3), outputs=2), what="equations")
