"""The graph: equal nodes are one node, its print, its hash, and the check after every pass."""

import numpy as np
import pytest

from rnncore.lang import sigmoid, tanh
from rnncore.lang.dims import Dim
from rnncore.lang.graph import Graph, Node, check_graph, fingerprint, topological
from rnncore.lang.ops import apply
from rnncore.lang.printing import format_graph
from rnncore.lang.trace import trace
from rnncore.plan.adjoint import adjoint_of


def minimal(w, x, h):
    f = sigmoid(w.f(x, h))
    return f * h + (1 - f) * tanh(w.n(x, h=f * h, bias=False))


PRINTED = """\
W_xf: (units, x) = leaf[param, W_xf]
x: (x) = leaf[input, x]
v2: (units) = matmul(W_xf, x)
W_hf: (units, units) = leaf[param, W_hf]
h: (units) = leaf[state, h]
v5: (units) = matmul(W_hf, h)
v6: (units) = add(v2, v5)
b_f: (units) = leaf[param, b_f]
v8: (units) = add(v6, b_f)
f: (units) = sigmoid(v8)
v10: (units) = mul(f, h)
v11: () = const[1.0]
v12: (units) = sub(v11, f)
W_xn: (units, x) = leaf[param, W_xn]
v14: (units) = matmul(W_xn, x)
W_hn: (units, units) = leaf[param, W_hn]
v16: (units) = matmul(W_hn, v10)
v17: (units) = add(v14, v16)
v18: (units) = tanh(v17)
v19: (units) = mul(v12, v18)
v20: (units) = add(v10, v19)
return next.h = v20
return y = v20"""


def test_the_print_of_a_small_graph():
    assert format_graph(dict(trace(minimal, {}).roots), with_lines=False) == PRINTED


def test_every_line_names_the_authors_line():
    first = minimal.__code__.co_firstlineno
    lines = str(trace(minimal, {})).split("\n")
    assert lines[1].endswith(f"# test_graph.py:{first}")  # x is a parameter of the function
    assert lines[9].endswith(f"# test_graph.py:{first + 1}") and lines[9].startswith("f: ")
    assert lines[20].endswith(f"# test_graph.py:{first + 2}")


def test_the_reverse_keeps_the_lines_of_what_it_differentiates():
    step = trace(minimal, {})
    mine = range(minimal.__code__.co_firstlineno, minimal.__code__.co_firstlineno + 3)
    for node in topological(adjoint_of(step).roots.values()):
        assert node.origin[0] == __file__ and node.origin[1] in mine


def test_derivatives_do_not_take_the_names_of_the_authors_variables():
    text = format_graph(adjoint_of(trace(minimal, {})).roots, with_lines=False)
    named = {line.split(":")[0]: line for line in text.split("\n") if not line.startswith(("v", "return"))}
    assert set(named) == {"f", "x", "h", "dh", "dy", "W_xf", "W_hf", "b_f", "W_xn", "W_hn"}
    assert named["f"].endswith("sigmoid(" + named["f"].split("(")[-1]) and named["h"].endswith("leaf[state, h]")


def test_the_same_op_of_the_same_arguments_is_one_node():
    graph = Graph()
    a = graph.leaf("input", "a", ("x",), "step")
    b = graph.leaf("input", "b", ("x",), "step")
    assert apply("mul", a, b) is apply("mul", a, b)
    assert apply("mul", a, b) is not apply("mul", b, a)
    assert graph.const(2) is graph.const(2.0) and graph.const(2) is not graph.const(3)
    assert graph.array(np.ones(3)) is graph.array([1.0, 1.0, 1.0])
    assert graph.array(np.ones(3)) is not graph.array(np.ones((3, 1)))


def test_what_a_cell_writes_twice_is_computed_once():
    def twice(w, x, h):
        return tanh(w.n(x, h)) + tanh(w.n(x, h))

    order = topological(trace(twice, {}).roots.values())
    assert [n.op for n in order].count("tanh") == 1 and [n.op for n in order].count("matmul") == 2


def test_arguments_come_before_what_reads_them():
    order = topological(trace(minimal, {}).roots.values())
    place = {n.id: k for k, n in enumerate(order)}
    assert all(place[a.id] < place[n.id] for n in order for a in n.args)
    assert len(place) == len(order)


def test_the_hash_sees_structure_and_neither_names_of_variables_nor_lines():
    def renamed(w, x, h):
        gate = sigmoid(w.f(x, h))

        return gate * h + (1 - gate) * tanh(w.n(x, h=gate * h, bias=False))

    def other(w, x, h):
        f = sigmoid(w.f(x, h))
        return f * h + (1 - f) * tanh(w.n(x, h=f * h))

    def starts_elsewhere(w, x, h):
        f = sigmoid(w.f(x, h, bias=1.0))
        return f * h + (1 - f) * tanh(w.n(x, h=f * h, bias=False))

    step = trace(minimal, {})
    assert trace(renamed, {}).fingerprint == step.fingerprint
    assert trace(other, {}).fingerprint != step.fingerprint
    assert fingerprint(dict(trace(starts_elsewhere, {}).roots)) == fingerprint(dict(step.roots))
    assert trace(starts_elsewhere, {}).fingerprint != step.fingerprint  # the start is part of the equations


def test_the_hash_sees_the_numbers_of_constants():
    def scaled(factor):
        def fn(w, x, h, *, unused=0):
            return factor * tanh(w.h(x, h))

        return trace(fn, {"unused": 0}).fingerprint

    assert scaled(0.5) == scaled(0.5) != scaled(0.25)


@pytest.fixture
def made():
    graph = Graph()
    a, b = (graph.leaf("input", name, ("x",), "step") for name in "ab")
    return graph, a, b, graph.leaf("param", "w", ("units", "x"), "call")


def test_a_sound_graph_passes(made):
    graph, a, b, w = made
    check_graph({"y": apply("matmul", w, apply("add", a, b))})


@pytest.mark.parametrize("wrong, words", [
    (lambda g, a, b, w: g.make("add", (a,), (), ("x",)), "2 arguments expected"),
    (lambda g, a, b, w: g.make("add", (a, b), (), ("units",)), "shape"),
    (lambda g, a, b, w: g.make("sum", (a,), (), ("x",)), "shape"),
    (lambda g, a, b, w: g.make("matmul", (w, a), (), ("x",)), "shape"),
    (lambda g, a, b, w: g.make("add", (a, b), (), ("x",), "call"), "level"),
])  # fmt: skip
def test_a_malformed_node_is_found(made, wrong, words):
    graph, a, b, w = made
    with pytest.raises(AssertionError, match=words):
        check_graph({"y": apply("neg", wrong(graph, a, b, w))})


def test_a_node_is_compared_by_identity_outside_a_trace():
    graph = Graph()
    a, b = graph.leaf("input", "a", (Dim(),), "step"), graph.leaf("input", "b", (Dim(),), "step")
    assert a == a and a != b and isinstance(a, Node) and len({a, b, a}) == 2
