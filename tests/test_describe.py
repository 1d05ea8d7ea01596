"""A network as JSON and back: names, options and hashes; what is unknown or has changed is an error naming it."""

import json

import pytest
import stress

import rnncore as rn
from rnncore.errors import RnncoreError
from rnncore.lang import cell, tanh


@pytest.fixture(autouse=True)
def registered(own_registry):
    rn.register(stress)


NETWORKS = [
    rn.Network(stress.simple(3, activation="relu"), inputs=2),
    rn.Network(
        stress.both_ways(stress.stacked(stress.memory(3), stress.gated(4, after=True), dropout=0.25), merge="sum"),
        inputs=rn.Tokens(9), outputs=4, mode="many-to-one", initial_state="learned",
    ),
    rn.Network(stress.gru_d(3), inputs={"x": 2, "m": 2, "dt": 2}, outputs=1),
]  # fmt: skip


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: repr(net.layer))
def test_there_and_back(net):
    text = net.to_json()
    again = rn.Network.from_json(text)
    assert again == net and hash(again) == hash(net) and repr(again) == repr(net) and again.to_json() == text
    assert again.shapes == net.shapes


def test_it_is_plain_json_without_numbers_of_parameters():
    data = json.loads(NETWORKS[1].to_json())
    assert data.keys() == {"format", "layer", "inputs", "outputs", "mode", "initial_state"}
    assert data["inputs"] == {"tokens": 9} and data["layer"]["topology"] == "both_ways"
    inner = data["layer"]["blocks"][0]
    assert inner["options"] == {"dropout": 0.25, "residual": False} and inner["blocks"][1]["options"] == {"after": True}
    assert len(NETWORKS[1].to_json()) < 1500

TOPOLOGY = {"topology": "both_ways", "options": {}, "graph": ""}


def changed(net, **changes):
    data = json.loads(net.to_json())
    data.update(changes)
    return json.dumps(data)


def in_layer(**changes):
    data = json.loads(NETWORKS[0].to_json())
    data["layer"].update(changes)
    return json.dumps(data)


@pytest.mark.parametrize("text, words", [
    ("", "no JSON text of a network"), ("{", "no JSON text of a network"), (3, "no JSON text of a network"),
    ("[]", "has the keys format, layer"), ("{}", "has the keys format, layer"), ('"net"', "has the keys"),
    (changed(NETWORKS[0], more=1), "got the keys .*more"), (changed(NETWORKS[0], format=99), "has format 1, got 99"),
    (changed(NETWORKS[0], mode="none"), "mode must be one of"), (changed(NETWORKS[0], inputs=-1), "inputs must be"),
    (changed(NETWORKS[0], inputs={"tokens": 0}), "Tokens needs a positive integer"),
    (changed(NETWORKS[0], inputs={"named": 3}), r"a list of \[name, features\], got 3"),
    (changed(NETWORKS[0], inputs={"named": [["x", 3, 4]]}), r"a list of \[name, features\]"),
    (changed(NETWORKS[0], inputs={"named": []}), "reads the input 'x'; the network gives: none"),
    pytest.param("[" * 100_000, "no JSON text", id="deep"),
    (in_layer(cell=["simple"]), "the name of a cell must be a string"),
    (changed(NETWORKS[1], layer=TOPOLOGY | {"blocks": 3}), "must be a list, got 3"),
    (changed(NETWORKS[1], layer=TOPOLOGY | {"blocks": []}), "got 0 blocks"),
    (changed(NETWORKS[0], inputs=[["x", 3]]), "inputs"),
    (changed(NETWORKS[0], inputs={"other": 3}), "other|inputs"),
    (changed(NETWORKS[0], layer=3), "names a cell or a topology with its options, got 3"),
    (changed(NETWORKS[0], layer={"cell": "simple"}), "names a cell or a topology"),
    (in_layer(cell="simpel"), "no cell is called 'simpel'.*did you mean 'simple'|simple"), (in_layer(cell=3), "3"),
    (in_layer(units=0), "units of cell 'simple'"), (in_layer(options=[1]), "options must be a mapping"),
    (in_layer(options={"activ": "relu"}), "no option 'activ'"),
    (in_layer(graph="0" * 16), "cell 'simple' has changed since this network was written.*0000"),
    (in_layer(options={"activation": "tanh"}), "cell 'simple' has changed"),
])  # fmt: skip
def test_texts_that_are_no_network(text, words):
    with pytest.raises(RnncoreError, match=words):
        rn.Network.from_json(text)


def test_a_topology_that_changed_is_named():
    data = json.loads(NETWORKS[1].to_json())
    data["layer"]["graph"] = "f" * 16
    with pytest.raises(RnncoreError, match="topology 'both_ways' has changed"):
        rn.Network.from_json(json.dumps(data))


def test_equations_that_changed_are_noticed_and_a_new_docstring_is_not():
    def version(factor, doc):
        def changing(w, x, h):
            return factor * tanh(w.h(x, h))

        changing.__doc__ = doc
        return rn.register(cell(changing))

    text = rn.Network(version(0.5, "One.")(3), inputs=2).to_json()
    rn.Network.from_json(text)
    version(0.5, "Another text.")
    rn.Network.from_json(text)
    version(0.25, "One.")
    with pytest.raises(RnncoreError, match="cell 'changing' has changed"):
        rn.Network.from_json(text)
