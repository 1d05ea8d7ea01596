"""The closed table of ops: NumPy meaning, derivative, shape rule, cost. One row an op.

The CPU and CUDA texts of an op carry the same name (``rnncore.cpu.vectors``). Derivatives
are written in ops of the table, so that they can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import meanings, shapes
from .dims import Dim
from .drawing import draw
from .graph import Graph, Node
from .origin import fail
from .symbols import Arithmetic

__all__ = ["OPS", "SHAPED", "Op", "apply", "as_condition", "as_node", "as_number", "like", "shape_leaf", "sum_to"]


@dataclass(frozen=True)
class Op:
    """A row: `numpy` computes it, `vjp(g, node)` gives one adjoint (or None) per argument.

    The tangent of a row is `jvp(dots, node)` where that is given; that of a row linear in each of its first `linear`
    arguments is the row itself; that of any other pointwise row is its `vjp`, whose Jacobian is diagonal.
    """

    name: str
    arity: int
    numpy: Any
    vjp: Callable[[Node, Node], tuple]
    shape: Callable = shapes.pointwise
    costly: bool = False  # worth saving for BPTT rather than computing again
    boolean: bool = False
    conditions: int = 0  # leading arguments that are true or false, not numbers
    linear: int = 0  # leading arguments in each of which a row is linear that is not pointwise
    jvp: Callable[[Mapping[int, Node], Node], Node | None] | None = None  # tangents of arguments by their place
    whole: bool = False  # reads and gives whole rows: a function of the library, called once a row
    limits: tuple[float, ...] = ()  # values that it saturates at: its slope goes to 0 there

    @property
    def pointwise(self) -> bool:
        return self.shape is shapes.pointwise


def _none(g, n):
    return (None,) * len(n.args)


def _where(c, a, b):
    return apply("where", c, a, b)


def _rmax_vjp(g, n):
    """The adjoint goes to the largest value, in equal shares where several are the largest."""
    largest = apply("eq", n.args[0], n)
    return (_where(largest, g / apply("sum", largest), 0),)


def _rmax_jvp(dots, n):
    """The mean of the tangents of those that are the largest: what its adjoint is the transpose of."""
    largest = apply("eq", n.args[0], n)
    return apply("sum", _where(largest, dots[0], 0)) / apply("sum", largest) if 0 in dots else None


def _sum_vjp(g, n):
    """A sum over units: each unit gets its adjoint, at its own position where there are positions."""
    return (apply("over" if len(n.args[0].shape) == 2 else "spread", g, like(n.args[0])),)


SHAPED = ("spread", "along", "over")  # ops whose second argument gives a shape alone


def like(node: Node) -> Node:
    """What stands for the shape of `node` alone: its value is never read."""
    return shape_leaf(node.graph, node.shape, node.level)


def shape_leaf(graph: Graph, shape: tuple, level: str) -> Node:
    """What stands for a shape: its value is never read."""
    dims = (str(id(d.root())) if isinstance(d, Dim) else str(d) for d in shape)
    return graph.leaf("like", "|".join((level, *dims)), shape, level)


def _sin_vjp(g, n):
    return (g * apply("cos", n.args[0]),)


_ROWS = [
    Op("add", 2, np.add, lambda g, n: (g, g)),
    Op("sub", 2, np.subtract, lambda g, n: (g, -g)),
    Op("mul", 2, np.multiply, lambda g, n: (g * n.args[1], g * n.args[0])),
    Op("div", 2, np.divide, lambda g, n: (g / n.args[1], -(g * n) / n.args[1])),
    Op("neg", 1, np.negative, lambda g, n: (-g,)),
    Op("exp", 1, np.exp, lambda g, n: (g * n,), costly=True),
    Op("log", 1, np.log, lambda g, n: (g / n.args[0],), costly=True),
    Op("sqrt", 1, np.sqrt, lambda g, n: (0.5 * g / n,), costly=True),
    Op("sin", 1, np.sin, _sin_vjp, costly=True),
    Op("cos", 1, np.cos, lambda g, n: (-(g * apply("sin", n.args[0])),), costly=True),
    Op("tanh", 1, np.tanh, lambda g, n: (g * (1 - n * n),), costly=True, limits=(-1, 1)),
    Op("sigmoid", 1, meanings.sigmoid, lambda g, n: (g * (n * (1 - n)),), costly=True, limits=(0, 1)),
    Op("softplus", 1, meanings.softplus, lambda g, n: (g * apply("sigmoid", n.args[0]),), costly=True, limits=(0,)),
    Op("relu", 1, meanings.relu,
       lambda g, n: (_where(apply("gt", n.args[0], 0), g, 0),), limits=(0,)),
    Op("abs", 1, meanings.absolute,
       lambda g, n: (_where(apply("gt", n.args[0], 0), g, _where(apply("lt", n.args[0], 0), -g, 0)),)),
    Op("maximum", 2, meanings.maximum, lambda g, n: (
        _where(apply("ge", *n.args), g, 0), _where(apply("ge", *n.args), 0, g))),
    Op("minimum", 2, meanings.minimum, lambda g, n: (
        _where(apply("le", *n.args), g, 0), _where(apply("le", *n.args), 0, g))),
    Op("where", 3, meanings.choose, lambda g, n: (None, _where(n.args[0], g, 0), _where(n.args[0], 0, g)),
       conditions=1),
    Op("lt", 2, lambda a, b: np.real(a) < np.real(b), _none, boolean=True),
    Op("le", 2, lambda a, b: np.real(a) <= np.real(b), _none, boolean=True),
    Op("gt", 2, lambda a, b: np.real(a) > np.real(b), _none, boolean=True),
    Op("ge", 2, lambda a, b: np.real(a) >= np.real(b), _none, boolean=True),
    Op("eq", 2, lambda a, b: np.real(a) == np.real(b), _none, boolean=True),
    Op("ne", 2, lambda a, b: np.real(a) != np.real(b), _none, boolean=True),
    Op("and", 2, np.logical_and, _none, boolean=True, conditions=2),
    Op("or", 2, np.logical_or, _none, boolean=True, conditions=2),
    Op("not", 1, np.logical_not, _none, boolean=True, conditions=1),
    Op("stop", 1, np.real, _none),
    Op("sum", 1, lambda a: np.sum(a, axis=-1),
       _sum_vjp, shape=shapes.reduced, costly=True, linear=1),
    Op("rmax", 1, meanings.rmax, _rmax_vjp, shape=shapes.reduced, costly=True, jvp=_rmax_jvp),
    Op("spread", 2, None, lambda g, n: (apply("sum", g), None), linear=1),
    Op("along", 2, None, lambda g, n: (apply("psum", g), None), shape=shapes.along, linear=1),
    Op("over", 2, None, lambda g, n: (apply("sum", g), None), shape=shapes.over, linear=1),
    Op("psum", 1, lambda a: np.sum(a, axis=-2), lambda g, n: (apply("along", g, like(n.args[0])),),
       shape=shapes.positions_reduced, costly=True, linear=1),
    Op("matmul", 2, None, lambda g, n: (apply("outer", g, n.args[1]), apply("matmul_t", n.args[0], g)),
       shape=shapes.matmul, costly=True, linear=2),
    Op("matmul_t", 2, None, lambda g, n: (apply("outer", n.args[1], g), apply("matmul", n.args[0], g)),
       shape=shapes.matmul_t, costly=True, linear=2),
    Op("outer", 2, None, lambda g, n: (apply("matmul", g, n.args[1]), apply("matmul_t", g, n.args[0])),
       shape=lambda node, a, b: (a[0], b[0]), costly=True, linear=2),
    Op("transpose", 1, lambda a: np.swapaxes(a, -1, -2), lambda g, n: (apply("transpose", g),),
       shape=shapes.transposed, linear=1),
    Op("draw", 2, draw, _none, shape=shapes.drawn, costly=True, whole=True),
    Op("eye", 1, meanings.eye, _none),
    Op("total", 1, np.sum, lambda g, n: (apply("spread", g, n.args[0]),), shape=lambda node, a: (), linear=1),
]
OPS: dict[str, Op] = {row.name: row for row in _ROWS}


def as_node(value: Any, graph: Graph) -> Node:
    """`value` as a node of `graph`: a node, a number, or something with a ``_node()``."""
    if isinstance(value, Node):
        if value.graph is not graph:
            raise fail("a symbol of another cell is used here: symbols do not outlive the step they belong to")
        return value
    if isinstance(value, (bool, int, float, np.integer, np.floating)):
        return graph.const(float(value))
    made = getattr(type(value), "_node", None)
    if made is not None:
        return made(value)
    if isinstance(value, np.ndarray):
        raise fail("an array in a step must be wrapped: constant(array)")
    raise fail(f"a {type(value).__name__} cannot be part of an equation")


def _graph_of(args) -> Graph:
    for a in args:
        if isinstance(a, Node):
            return a.graph
        if isinstance(a, Arithmetic):
            return a._node().graph
    raise fail("an operation needs at least one symbol")


def apply(name: str, *args) -> Node:
    """The node of op `name` on `args`, simplified where a constant makes it trivial."""
    graph = _graph_of(args)
    row = OPS[name]
    nodes = tuple(
        as_condition(as_node(a, graph)) if k < row.conditions else as_number(as_node(a, graph))
        for k, a in enumerate(args)
    )
    simple = _simplify(name, nodes, graph)
    if simple is not None:
        return simple
    shape = row.shape(None, *[n.shape for n in nodes])
    return graph.make(name, nodes, (), shape)


def as_number(node: Node) -> Node:
    """A comparison as what NumPy takes it for: 1 where it holds, else 0."""
    return apply("where", node, 1, 0) if node.op in OPS and OPS[node.op].boolean else node


def as_condition(node: Node) -> Node:
    """A number as what NumPy takes it for: it holds where it is not 0."""
    return node if node.is_const or node.op in OPS and OPS[node.op].boolean else apply("ne", node, 0)


def _simplify(name: str, n: tuple[Node, ...], graph: Graph) -> Node | None:
    row = OPS[name]
    if row.pointwise and name != "spread" and all(a.is_const for a in n):
        with np.errstate(all="ignore"):
            value = row.numpy(*[np.float64(a.value) for a in n])
        if not row.boolean and np.isfinite(value):
            return graph.const(float(value))
    if row.conditions and any(a.is_const for a in n[: row.conditions]):
        return _decided(name, n, graph)
    if name == "add":
        return _either(n, 0.0)
    if name == "mul":
        return _either(n, 1.0)
    if name == "sub" and n[1].is_const and n[1].value == 0:
        return n[0]
    if name == "sub" and n[0].is_const and n[0].value == 0:
        return apply("neg", n[1])
    if name == "div" and n[1].is_const and n[1].value == 1:
        return n[0]
    if name == "neg" and n[0].op == "neg":
        return n[0].args[0]
    return None


def _decided(name: str, n: tuple[Node, ...], graph: Graph) -> Node:
    """A choice or a combination of conditions of which one is known."""
    if name == "where":
        chosen, other = n[1:] if n[0].value else n[:0:-1]
        return apply("spread", chosen, other) if len(chosen.shape) < len(other.shape) else chosen
    if all(a.is_const for a in n):
        return graph.const(float(OPS[name].numpy(*[a.value for a in n])))
    known, rest = n if n[0].is_const else n[::-1]
    return graph.const(float(name == "or")) if bool(known.value) == (name == "or") else rest


def _either(n, neutral):
    for a, b in (n, n[::-1]):
        if a.is_const and a.value == neutral:
            return b
    return None


def sum_to(g: Node, target: Node) -> Node:
    """`g` summed over the axes along which `target` was broadcast."""
    if len(g.shape) == len(target.shape):
        return g
    if len(target.shape) == 0 and len(g.shape) == 1:
        return apply("sum", g)
    if len(target.shape) == 0 and len(g.shape) == 2:
        return apply("sum", apply("sum", g)) if shapes.is_position(g.shape[0]) else apply("total", g)
    raise AssertionError(f"adjoint of shape {g.shape} for a value of shape {target.shape}")


def new_dim(value: int | None = None, origin=None) -> Dim:
    return Dim(number=value, origin=origin)
