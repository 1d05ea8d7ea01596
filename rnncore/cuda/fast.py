"""exp, tanh, sigmoid and softplus of float32 numbers by a device's approximations: a few instructions, fewer digits.

Bounds, from the CUDA programming guide and the PTX ISA: exp 2 + |1.173 x| units in the last place; ``tanh.approx``
2**-11 of the result, and so sigmoid 2**-12; ``lg2.approx`` 2**-22 near 1, and so softplus.
"""

from __future__ import annotations

from llvmlite import ir

from ..vecmath import Lane

__all__ = ["FAST"]

_LN2 = 0.69314718055994531


def _instruction(name: str, x: Lane) -> Lane:
    kind = ir.FunctionType(x.v.type, [x.v.type])
    return x._new(x.b.call(ir.InlineAsm(kind, f"{name} $0, $1;", "=f,f", side_effect=False), [x.v]))


def exp(x: Lane) -> Lane:
    """2**(x / ln 2)."""
    return _instruction("ex2.approx.ftz.f32", x * (1.0 / _LN2))


def tanh(x: Lane) -> Lane:
    return _instruction("tanh.approx.f32", x)


def sigmoid(x: Lane) -> Lane:
    """(1 + tanh(x / 2)) / 2."""
    half = x._new(x.const(0.5))
    return tanh(x * 0.5).fma(half, half)


def softplus(x: Lane) -> Lane:
    """max(x, 0) + ln 2 log2(1 + e**-|x|)."""
    tail = _instruction("lg2.approx.f32", exp(-x.abs()) + 1.0)
    positive = x._new(x.b.select(x.compare("<", 0.0), x.const(0.0), x.v))  # NaN stays NaN
    return tail.fma(_LN2, positive)


FAST = {"exp": exp, "tanh": tanh, "sigmoid": sigmoid, "softplus": softplus}
