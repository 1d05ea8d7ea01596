"""Reverse mode: adjoints add up, stop where they are told to, and can be differentiated again."""

import numpy as np

from rnncore.lang.diff import reverse
from rnncore.lang.graph import Graph
from rnncore.lang.ops import apply
from rnncore.reference import evaluate

SIZES = {"x": 3}
values = {
    ("input", "a"): np.array([[0.5, -1.25, 2.0]]), ("input", "b"): np.array([[1.5, 0.25, -0.75]]),
    ("input", "one"): np.ones((1, 3)),
}  # fmt: skip


def leaves(graph):
    return [graph.leaf("input", name, ("x",), "step") for name in "ab"]


def at(node):
    return evaluate({"y": node}, values, SIZES)["y"]


def test_adjoints_of_several_uses_and_roots_add_up():
    graph = Graph()
    a, b = leaves(graph)
    product = apply("mul", a, b)
    one = graph.leaf("input", "one", ("x",), "step")
    adjoint = reverse({apply("add", product, a): one, apply("mul", product, a): one})
    va, vb = values["input", "a"], values["input", "b"]
    np.testing.assert_allclose(at(adjoint[a.id]), vb + 1 + 2 * va * vb)
    np.testing.assert_allclose(at(adjoint[b.id]), va + va * va)


def test_nothing_is_wanted_behind_a_stop():
    graph = Graph()
    a, b = leaves(graph)
    middle = apply("tanh", a)
    adjoint = reverse({apply("mul", middle, b): graph.const(1)}, stop=[middle])
    assert middle.id in adjoint and b.id in adjoint and a.id not in adjoint


def test_what_has_no_derivative_passes_nothing():
    graph = Graph()
    a, b = leaves(graph)
    adjoint = reverse({apply("where", apply("gt", a, b), apply("stop", a), b): graph.const(1)})
    assert a.id not in adjoint and b.id in adjoint


def test_the_adjoint_of_a_scalar_is_summed_over_what_it_was_spread_to():
    graph = Graph()
    a, _ = leaves(graph)
    s = graph.leaf("param", "s", (), "call")
    adjoint = reverse({apply("mul", s, a): a})
    assert adjoint[s.id].shape == ()
    np.testing.assert_allclose(at(adjoint[s.id]), [(values["input", "a"] ** 2).sum()])


def test_a_derivative_can_be_differentiated_again():
    graph = Graph()
    a, _ = leaves(graph)
    one = graph.leaf("input", "one", ("x",), "step")
    first = reverse({apply("tanh", a): one})[a.id]
    second = reverse({first: one})[a.id]
    t = np.tanh(values["input", "a"])
    np.testing.assert_allclose(at(second), -2 * t * (1 - t * t), rtol=1e-14)
