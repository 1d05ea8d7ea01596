"""Every row of the op table: its NumPy meaning against the obvious, its derivative against the complex step."""

import numpy as np
import pytest

from rnncore.lang.diff import reverse
from rnncore.lang.dims import Dim
from rnncore.lang.graph import Graph, check_graph
from rnncore.lang.ops import OPS, apply, sum_to
from rnncore.reference import evaluate

N, M, ROWS = 5, 3, 4
STEP = 1e-30
rng = np.random.default_rng(0)


def values(*shape):
    """Numbers of both signs, none near another nor near 0."""
    return np.round(rng.permutation(np.linspace(-2.05, 1.95, int(np.prod(shape)))).reshape(shape), 3)


POSITIVE = ("log", "sqrt")
WITHOUT = {name for name, row in OPS.items() if row.boolean} | {"stop", "eye", "spread", "draw"}
SMOOTH = {name: row for name, row in OPS.items() if row.pointwise and name not in WITHOUT}
MATRIX = {
    "matmul": (("call", N, M), ("step", M)), "matmul_t": (("call", N, M), ("step", N)),
    "outer": (("step", N), ("step", M)), "transpose": (("call", N, M),), "total": (("call", N, M),),
}  # fmt: skip


def graph_of(name, specs, data):
    """A graph of one op on leaves, its root and the leaves' values; step-level values have a leading axis of rows."""
    graph, leaves, args = Graph(), {}, []
    for k, ((level, *axes), value) in enumerate(zip(specs, data, strict=True)):
        node = graph.leaf("input" if level == "step" else "param", f"a{k}", tuple(f"n{n}" for n in axes), level)
        leaves["input" if level == "step" else "param", f"a{k}"] = value
        args.append(node)
    return graph, apply(name, *args), args, leaves


SIZES = {f"n{k}": k for k in (1, N, M)}


def slopes(name, specs, data):
    """(argument, slope by the complex step, slope by the derivative's graph) of a weighted sum of the op."""
    graph, root, args, leaves = graph_of(name, specs, data)
    weights = rng.standard_normal(np.shape(evaluate({"y": root}, leaves, SIZES)["y"]))
    adjoint = reverse({root: graph.leaf("adj", "y", root.shape, root.level)})
    roots = {str(k): sum_to(adjoint[a.id], a) for k, a in enumerate(args) if a.id in adjoint}
    check_graph(roots)
    got = evaluate(roots, leaves | {("adj", "y"): weights}, SIZES)
    for k, key in enumerate(leaves):
        direction = rng.standard_normal(np.shape(data[k]))
        moved = evaluate({"y": root}, leaves | {key: data[k] + 1j * STEP * direction}, SIZES)["y"]
        terms = got.get(str(k), np.zeros(())) * direction  # of a call-level argument: each row's contribution
        yield key[1], (weights * moved).sum().imag / STEP, terms.sum()


@pytest.mark.parametrize("shapes", ["vectors", "scalar first", "scalar last", "call first"])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_derivative_of_a_pointwise_row(name, shapes):
    row = SMOOTH[name]
    specs = [("step", N)] * row.arity
    if shapes != "vectors" and row.arity > 1:
        specs[0 if "first" in shapes else -1] = ("call", N) if shapes.startswith("call") else ("step",)
    data = [values(*((ROWS,) if s[0] == "step" else ()), *s[1:]) for s in specs]
    if name in POSITIVE:
        data = [abs(d) + 0.1 for d in data]
    if row.conditions:
        data[0] = (data[0] > 0).astype(float)
    for argument, slope, found in slopes(name, specs, data):
        if not (row.conditions and argument == "a0"):
            assert found == pytest.approx(slope, rel=1e-12, abs=1e-12), argument


@pytest.mark.parametrize("name", ["sum", "rmax"])
def test_the_derivative_of_a_reduction(name):
    for argument, slope, found in slopes(name, [("step", N)], [values(ROWS, N)]):
        assert found == pytest.approx(slope, rel=1e-12), argument


@pytest.mark.parametrize("name", MATRIX)
def test_the_derivative_of_a_matrix_row(name):
    data = [values(*((ROWS,) if level == "step" else ()), *axes) for level, *axes in MATRIX[name]]
    for argument, slope, found in slopes(name, MATRIX[name], data):
        assert found == pytest.approx(slope, rel=1e-12), argument


def test_every_row_is_held_against_the_complex_step_or_has_no_derivative():
    assert set(OPS) == set(SMOOTH) | set(MATRIX) | {"sum", "rmax"} | {"along", "over", "psum"} | WITHOUT


P = 5


@pytest.mark.parametrize("name", ["along", "over", "psum", "sum"])
def test_the_derivative_of_a_row_over_positions(name):
    """A weighted sum of what is there for each position and unit, squared so that the adjoint depends on it."""
    graph = Graph()
    wide = graph.leaf("source", "k", ("position", "n3"), "step")
    vector = graph.leaf("input", "a", ("position",) if name == "over" else ("n3",), "step")
    if name in ("along", "over"):
        root = apply("sum", apply("psum", apply("mul", apply(name, vector, wide), apply("mul", wide, wide))))
    else:
        root = apply("sum", apply("mul", apply(name, wide), apply(name, wide)))
    counts = np.array([P, 2, 0])
    inside = np.arange(P) < counts[:, None]
    leaves = {("source", "k"): values(3, P, 3), ("input", "a"): values(3, P if name == "over" else 3)}
    leaves["position", "count"] = counts
    sizes = {"n3": 3, "position": P}
    adjoint = reverse({root: graph.leaf("adj", "y", (), "step")})
    found = {leaf.attrs: adjoint[leaf.id] for leaf in (wide, vector) if leaf.id in adjoint}
    check_graph({str(k): v for k, v in found.items()})
    got = evaluate({"|".join(k): v for k, v in found.items()}, leaves | {("adj", "y"): np.ones(3)}, sizes)
    assert found
    for key in found:
        direction = rng.standard_normal(leaves[key].shape)
        moved = evaluate({"y": root}, leaves | {key: leaves[key] + 1j * STEP * direction}, sizes)["y"]
        slope = np.broadcast_to(got["|".join(key)], direction.shape) * direction
        if key[0] == "source":
            slope = slope * inside[..., None]
        if name == "over" and key == ("input", "a"):
            slope = slope * inside
        total = slope.reshape(3, -1).sum(1)
        assert total == pytest.approx(moved.imag / STEP, rel=1e-12, abs=1e-12), key


@pytest.mark.parametrize("name, expected", [
    ("add", lambda a, b: a + b), ("sub", lambda a, b: a - b), ("mul", lambda a, b: a * b), ("div", lambda a, b: a / b),
    ("maximum", np.maximum), ("minimum", np.minimum), ("lt", np.less), ("le", np.less_equal), ("gt", np.greater),
    ("ge", np.greater_equal), ("eq", np.equal), ("ne", np.not_equal),
])  # fmt: skip
def test_the_meaning_of_a_row_of_two(name, expected):
    a, b = np.repeat([-1.5, 0.0, 2.0, np.inf], 4), np.tile([-1.5, 0.0, 2.0, np.nan], 4)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(OPS[name].numpy(a, b), expected(a, b))


@pytest.mark.parametrize("name, expected", [
    ("neg", lambda a: -a), ("exp", np.exp), ("sqrt", np.sqrt), ("log", np.log), ("sin", np.sin), ("cos", np.cos),
    ("tanh", np.tanh), ("sigmoid", lambda a: 1 / (1 + np.exp(-a))), ("softplus", lambda a: np.logaddexp(0, a)),
    ("relu", lambda a: np.maximum(a, 0)), ("abs", np.abs), ("stop", lambda a: a),
])  # fmt: skip
def test_the_meaning_of_a_row_of_one(name, expected):
    a = np.array([-800.0, -1.5, 0.0, 0.5, 800.0, np.inf, -np.inf, np.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(OPS[name].numpy(a), expected(a), rtol=1e-15)


@pytest.mark.parametrize("name", ["abs", "relu", "maximum", "minimum"])
def test_the_derivative_at_a_kink_is_the_documented_one(name):
    specs = [("step", 1)] * OPS[name].arity
    wanted = {"abs": [0], "relu": [0], "maximum": [1, 0], "minimum": [1, 0]}[name]
    graph, root, args, leaves = graph_of(name, specs, [np.zeros((1, 1))] * len(specs))
    adjoint = reverse({root: graph.leaf("adj", "y", root.shape, "step")})
    got = evaluate({str(k): adjoint[a.id] for k, a in enumerate(args)}, leaves | {("adj", "y"): np.ones((1, 1))}, SIZES)
    assert [float(np.ravel(v)[0]) for v in got.values()] == wanted


def test_equal_largest_values_share_the_derivative():
    equal = np.array([[2.0, 1.0, 2.0, 0.0, 2.0], [1, 2, 3, 4, 5]])
    graph, root, args, leaves = graph_of("rmax", [("step", 5)], [equal])
    adjoint = reverse({root: graph.leaf("adj", "y", (), "step")})
    got = evaluate({"d": adjoint[args[0].id]}, leaves | {("adj", "y"): np.array([3.0, 1.0])}, SIZES)
    np.testing.assert_allclose(got["d"], [[1, 0, 1, 0, 1], [0, 0, 0, 0, 1]])


def leaf(graph, name="a", shape=("n5",), level="step"):
    return graph.leaf("input", name, shape, level)


def test_constants_are_folded_and_neutral_ones_dropped():
    graph = Graph()
    a = leaf(graph)
    assert apply("add", a, 0) is a and apply("mul", 1, a) is a and apply("sub", a, 0) is a and apply("div", a, 1) is a
    assert apply("sub", 0, a).op == "neg" and apply("neg", apply("neg", a)) is a
    assert apply("exp", graph.const(0)).value == 1.0
    assert apply("div", graph.const(1), graph.const(0)).op == "div"  # an infinity is left to run time


def test_zero_times_a_symbol_stays_for_nan_to_pass():
    assert apply("mul", leaf(Graph()), 0).op == "mul"


def test_a_comparison_is_a_number_where_a_number_is_wanted_and_the_other_way_round():
    graph = Graph()
    a, b = leaf(graph, "a"), leaf(graph, "b")
    counted = apply("mul", apply("gt", a, 0), b)
    assert counted.args[0].op == "where" and [n.value for n in counted.args[0].args[1:]] == [1, 0]
    chosen = apply("where", a, b, 0)
    assert chosen.args[0].op == "ne"


@pytest.mark.parametrize("flag", [True, False])
def test_a_condition_known_while_tracing_decides(flag):
    graph = Graph()
    a, b = leaf(graph, "a"), leaf(graph, "b")
    positive = apply("gt", a, 0)
    assert apply("where", flag, a, b) is (a if flag else b)
    assert apply("and", positive, flag) is (positive if flag else graph.const(0))
    assert apply("or", flag, positive) is (graph.const(1) if flag else positive)
    assert apply("not", graph.const(flag)).value == (not flag)
    assert apply("where", flag, graph.const(2), a).shape == a.shape  # a chosen scalar is spread


def test_a_size_that_is_still_free_takes_the_other_ones():
    graph = Graph()
    free, fixed = Dim(), Dim(number=7)
    total = apply("add", leaf(graph, "a", (free,)), leaf(graph, "b", (fixed,)))
    assert total.shape[0].resolved == 7 == free.resolved
