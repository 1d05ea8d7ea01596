"""The functions an author writes equations with. On plain numbers and arrays they mean what NumPy means."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .dims import Dim
from .graph import Node
from .ops import OPS, apply, as_node
from .origin import fail
from .symbols import Arithmetic

__all__ = [
    "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "softplus", "relu", "abs", "maximum", "minimum",
    "where", "sum", "mean", "max", "size", "dot", "norm", "softmax", "layer_norm", "stop_gradient",
]  # fmt: skip


def _call(name: str, *args):
    if any(isinstance(a, Arithmetic) for a in args):
        return apply(name, *args)
    return OPS[name].numpy(*[np.asarray(a, dtype=float) for a in args])[()]


def exp(a):
    """e to the power of `a`, element by element."""
    return _call("exp", a)


def log(a):
    """Natural logarithm, element by element; NaN below 0, -inf at 0."""
    return _call("log", a)


def sqrt(a):
    """Square root, element by element."""
    return _call("sqrt", a)


def sin(a):
    """Sine of `a` in radians."""
    return _call("sin", a)


def cos(a):
    """Cosine of `a` in radians."""
    return _call("cos", a)


def tanh(a):
    """Hyperbolic tangent."""
    return _call("tanh", a)


def sigmoid(a):
    """Logistic function 1 / (1 + exp(-a))."""
    return _call("sigmoid", a)


def softplus(a):
    """log(1 + exp(a)), stable for large `a`."""
    return _call("softplus", a)


def relu(a):
    """max(a, 0); its derivative at 0 is 0."""
    return _call("relu", a)


def abs(a):
    """Absolute value; its derivative at 0 is 0."""
    return _call("abs", a)


def maximum(a, b):
    """The larger of two values, element by element; at a tie the derivative goes to `a`."""
    return _call("maximum", a, b)


def minimum(a, b):
    """The smaller of two values, element by element; at a tie the derivative goes to `a`."""
    return _call("minimum", a, b)


def where(condition, a, b):
    """`a` where the condition holds, else `b`; both are computed."""
    return _call("where", condition, a, b)


def sum(a):
    """Sum over units: a scalar."""
    return _call("sum", a)


def max(a):
    """Largest value over units: a scalar; several that are largest share its derivative."""
    return _call("rmax", a)


def mean(a):
    """Mean over units: a scalar."""
    if not isinstance(a, Arithmetic):
        return np.mean(a, axis=-1)
    a = _vector(a, "mean")
    return apply("sum", a) / _size(a)


def size(a):
    """Number of units: a scalar that is known when the network is."""
    if not isinstance(a, Arithmetic):
        return np.asarray(a).shape[-1]
    return _size(_vector(a, "size"))


def dot(a, b):
    """Sum over units of a * b: a scalar."""
    return sum(a * b)


def norm(a):
    """Euclidean length over units: a scalar; its derivative at 0 is 0."""
    square = sum(a * a)
    nought = square == 0
    return where(nought, 0, sqrt(where(nought, 1, square)))  # the root of 0 has an infinite slope


def softmax(a):
    """exp(a) / sum(exp(a)) over units, shifted by the maximum so that nothing overflows."""
    e = exp(a - stop_gradient(max(a)))
    return e / sum(e)


def layer_norm(a, eps: float = 1e-5):
    """(a - mean) / sqrt(variance + eps) over units (Ba, Kiros and Hinton 2016); gain and bias are yours to add."""
    d = a - mean(a)
    return d / sqrt(mean(d * d) + eps)


def stop_gradient(a):
    """`a` itself, taken as a constant by the derivative."""
    return apply("stop", a) if isinstance(a, Arithmetic) else a


def power(a, exponent):
    """``a ** exponent`` for a number `exponent`."""
    if not isinstance(exponent, (int, float)):
        raise fail("the exponent of ** must be a number; write exp(b * log(a)) for a symbol b")
    if exponent == 0.5:
        return sqrt(a)
    if exponent == int(exponent) and 0 < exponent <= 8:
        result = a
        for _ in range(int(exponent) - 1):
            result = result * a
        return result
    if exponent == int(exponent) and -8 <= exponent < 0:
        return 1 / power(a, -exponent)
    if exponent == 0:
        return 0 * a + 1
    return exp(exponent * log(a))


def _vector(a: Any, what: str) -> Node:
    node = as_node(a, a.graph if isinstance(a, Node) else a._node().graph)
    if len(node.shape) != 1:
        raise fail(f"{what} is taken over units of a vector, got a {'scalar' if not node.shape else 'matrix'}")
    return node


def _size(a: Node) -> Node:
    """The number of units of `a` as a scalar known once per call."""
    dim = a.shape[0].root() if isinstance(a.shape[0], Dim) else a.shape[0]
    return a.graph.make("size", (), (dim,), (), "call")


_NAMES = builtins.sorted(__all__)
