"""The pointwise ops of the language on vectors of lanes and on scalars: each becomes a few instructions in place."""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from .. import vecmath
from ..vecmath import Lane
from .vectors import Vector, bits_of, joint, spread

__all__ = ["OPS"]


def _unary(build):
    @intrinsic
    def op(typingctx, a):
        def codegen(context, builder, signature, args):
            return build(Lane(builder, args[0])).v

        return a(a), codegen

    return op


def _binary(build):
    @intrinsic
    def op(typingctx, a, b):
        result = joint(a, b)

        def codegen(context, builder, signature, args):
            left = spread(builder, args[0], a, result)
            right = spread(builder, args[1], b, result)
            return build(Lane(builder, left), Lane(builder, right)).v

        return result(a, b), codegen

    return op


def _comparison(sign):
    @intrinsic
    def op(typingctx, a, b):
        wide = joint(a, b)

        def codegen(context, builder, signature, args):
            left = Lane(builder, spread(builder, args[0], a, wide))
            return left.compare(sign, Lane(builder, spread(builder, args[1], b, wide)))

        return bits_of(wide)(a, b), codegen

    return op


def _logical(name):
    @intrinsic
    def op(typingctx, a, b):
        result = joint(a, b)

        def codegen(context, builder, signature, args):
            left = spread(builder, args[0], a, result)
            return getattr(builder, name)(left, spread(builder, args[1], b, result))

        return result(a, b), codegen

    return op


@intrinsic
def logical_not(typingctx, a):
    def codegen(context, builder, signature, args):
        return builder.not_(args[0])

    return a(a), codegen


@intrinsic
def where(typingctx, c, a, b):
    result = joint(a, b)
    if isinstance(c, Vector) and not isinstance(result, Vector):
        result = Vector("float32" if result == types.float32 else "float64", c.count)

    def codegen(context, builder, signature, args):
        left, right = (spread(builder, v, t, result) for v, t in ((args[1], a), (args[2], b)))
        return builder.select(args[0], left, right)

    return result(c, a, b), codegen


OPS = {
    "add": _binary(lambda a, b: a + b),
    "sub": _binary(lambda a, b: a - b),
    "mul": _binary(lambda a, b: a * b),
    "div": _binary(lambda a, b: a / b),
    "neg": _unary(lambda a: -a),
    "exp": _unary(vecmath.exp),
    "log": _unary(vecmath.log),
    "sqrt": _unary(vecmath.sqrt),
    "sin": _unary(vecmath.sin),
    "cos": _unary(vecmath.cos),
    "tanh": _unary(vecmath.tanh),
    "sigmoid": _unary(vecmath.sigmoid),
    "softplus": _unary(vecmath.softplus),
    "relu": _unary(vecmath.relu),
    "abs": _unary(lambda a: a.abs()),
    "maximum": _binary(vecmath.larger),
    "minimum": _binary(vecmath.smaller),
    "where": where,
    "lt": _comparison("<"),
    "le": _comparison("<="),
    "gt": _comparison(">"),
    "ge": _comparison(">="),
    "eq": _comparison("=="),
    "ne": _comparison("!="),
    "and": _logical("and_"),
    "or": _logical("or_"),
    "not": logical_not,
}
