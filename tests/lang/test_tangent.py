"""Forward mode: the tangent of every row of the op table against the complex step, and forward against reverse."""

import numpy as np
import pytest

from rnncore.lang.diff import reverse, tangent
from rnncore.lang.dims import POSITION
from rnncore.lang.graph import Graph, check_graph
from rnncore.lang.ops import OPS, apply, like
from rnncore.reference import evaluate

N, M, P, ROWS = 5, 3, 4, 2
STEP = 1e-30
SIZES = {"n5": N, "n3": M, POSITION: P}
COUNT = {("position", "count"): np.array([4, 2])}
STILL = {name for name, row in OPS.items() if row.boolean} | {"stop", "eye", "draw"}
V, W, WIDE = ("step", "n5"), ("step", "n3"), ("step", POSITION, "n3")
SPECS = {
    "sum": (V,), "rmax": (V,), "spread": (("step",),), "along": (W,), "over": (("step", POSITION),), "psum": (WIDE,),
    "matmul": (("call", "n5", "n3"), W), "matmul_t": (("call", "n5", "n3"), V), "outer": (V, W),
    "transpose": (("call", "n5", "n3"),), "total": (("call", "n5", "n3"),),
}  # fmt: skip


def numbers(name, seed):
    """Numbers of both signs, none near another nor near 0; above 0 where an op wants it."""

    def make(shape):
        n = int(np.prod(shape, dtype=int))
        array = np.random.default_rng(seed).permutation(np.linspace(-2.05, 1.95, n) if n > 1 else [0.7]).reshape(shape)
        return np.abs(array) + 0.1 if name in ("log", "sqrt") else array

    return make


def example(name, specs):
    """An op on leaves: its root, leaves, values, and the leaves of their directions with values."""
    graph, values, leaves, dots = Graph(), dict(COUNT), [], {}
    for k, (level, *axes) in enumerate(specs):
        kind = "input" if level == "step" else "param"
        shape = ((ROWS,) if level == "step" else ()) + tuple(SIZES[a] for a in axes)
        leaf = graph.leaf(kind, f"a{k}", tuple(axes), level)
        leaves.append(leaf)
        values[kind, f"a{k}"] = numbers(name, k)(shape)
        if k >= OPS[name].conditions:
            dots[leaf] = graph.leaf(kind, f"d{k}", tuple(axes), level)
            values[kind, f"d{k}"] = numbers("", k + 10)(shape)
    shaped = {"spread": V, "along": WIDE, "over": WIDE}
    args = [*leaves, like(graph.leaf("input", "wide", shaped[name][1:], "step"))] if name in shaped else leaves
    return apply(name, *args), dots, values


def moved(values, dots, step):
    """The values, each that has a direction gone along it by `step`."""
    keys = {leaf.attrs: dot.attrs for leaf, dot in dots.items()}
    return {key: v + step * values[keys[key]] if key in keys else v for key, v in values.items()}


def pointwise_specs(row):
    yield (V,) * row.arity
    if row.arity > 1:
        yield (*[V] * (row.arity - 1), ("step",))
        yield (*[V] * (row.arity - 1), ("call", "n5"))


CASES = [(n, (s,) if isinstance(s[0], str) else s) for n, s in SPECS.items()]
CASES += [
    (name, specs) for name, row in OPS.items() if row.pointwise and name not in STILL | {"spread"}
    for specs in pointwise_specs(row)
]  # fmt: skip


@pytest.mark.parametrize("name, specs", CASES, ids=lambda v: v if isinstance(v, str) else "-".join(s[0] for s in v))
def test_the_tangent_of_a_row_is_the_complex_step(name, specs):
    root, dots, values = example(name, specs)
    made = tangent([root], dots)[root.id]
    check_graph({"y": root, "d": made})
    assert made.shape == root.shape
    want = evaluate({"y": root}, moved(values, dots, 1j * STEP), SIZES)["y"].imag / STEP
    got = evaluate({"d": made}, values, SIZES)["d"]
    np.testing.assert_allclose(np.broadcast_to(got, want.shape), want, rtol=1e-13, atol=1e-13)


def test_every_row_is_covered():
    assert {name for name, _ in CASES} | STILL == set(OPS)


@pytest.mark.parametrize("name, specs", [c for c in CASES if len(c[1]) > 1], ids=str)
def test_one_moving_argument_is_enough(name, specs):
    root, dots, values = example(name, specs)
    for leaf, dot in dots.items():
        made = tangent([root], {leaf: dot})[root.id]
        assert made.shape == root.shape
        want = evaluate({"y": root}, moved(values, {leaf: dot}, 1j * STEP), SIZES)["y"].imag / STEP
        got = evaluate({"d": made}, values, SIZES)["d"]
        np.testing.assert_allclose(np.broadcast_to(got, want.shape), want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", sorted(STILL - {"eye", "not", "and", "or", "draw"}))
def test_what_has_no_derivative_does_not_move(name):
    root, dots, _ = example(name, (V,) * OPS[name].arity)
    assert root.id not in tangent([root], dots)


def test_what_nothing_moves_has_no_tangent():
    graph = Graph()
    a, b = graph.leaf("input", "a", ("n5",), "step"), graph.leaf("input", "b", ("n5",), "step")
    still, both = apply("tanh", a), apply("mul", apply("tanh", a), b)
    dots = tangent([both], {b: graph.leaf("input", "db", ("n5",), "step")})
    assert still.id not in dots and a.id not in dots and both.id in dots


def test_the_tangent_of_the_reverse_is_the_reverse_of_the_tangent():
    graph = Graph()
    a = graph.leaf("input", "a", ("n5",), "step")
    da = graph.leaf("input", "da", ("n5",), "step")
    y = apply("sum", apply("mul", apply("tanh", a), apply("exp", apply("mul", a, apply("sum", a)))))
    one = graph.const(1.0)
    gradient = reverse({y: one})[a.id]
    forward_over_reverse = tangent([gradient], {a: da})[gradient.id]
    reverse_over_forward = reverse({tangent([y], {a: da})[y.id]: one})[a.id]
    values = {("input", "a"): numbers("", 0)((ROWS, N)) / 3, ("input", "da"): numbers("", 1)((ROWS, N))}
    got = evaluate({"f": forward_over_reverse, "r": reverse_over_forward}, values, SIZES)
    np.testing.assert_allclose(got["f"], got["r"], rtol=1e-12)


def test_directions_are_named_after_what_they_belong_to():
    graph = Graph()
    a = graph.leaf("input", "a", ("n5",), "step")
    gate = apply("sigmoid", a)
    graph.names[gate.id] = "gate"
    dots = tangent([gate], {a: graph.leaf("input", "da", ("n5",), "step")})
    assert graph.names[dots[gate.id].id] == "gate_dot"
