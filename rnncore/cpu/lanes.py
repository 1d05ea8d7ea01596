"""Vectors of lanes as numba values: the ops of the table on them and on scalars, loads and stores by address.

Generated kernels hold addresses as integers; a vector is as wide as the host's registers.
Every function here is an intrinsic: it becomes a few instructions in place.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

from . import vecmath
from .vecmath import Lane

__all__ = ["Vector", "lanes", "call"]

_FLOATS = {"float32": (ir.FloatType(), types.float32, 4), "float64": (ir.DoubleType(), types.float64, 8)}


class Vector(types.Type):
    """`count` lanes of float32, float64 or (for comparisons) bits."""

    def __init__(self, elem: str, count: int):
        self.elem, self.count = elem, count
        super().__init__(name=f"lanes({elem} x {count})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        elem = ir.IntType(1) if fe_type.elem == "bit" else _FLOATS[fe_type.elem][0]
        super().__init__(dmm, fe_type, ir.VectorType(elem, fe_type.count))


def _bits_of(ty):
    return Vector("bit", ty.count) if isinstance(ty, Vector) else types.boolean


def _joint(a, b):
    """The type of a binary op: a scalar meets a vector by being spread."""
    return a if isinstance(a, Vector) else b


def _spread(builder, value, ty, to):
    if isinstance(ty, Vector) or not isinstance(to, Vector):
        return value
    count = to.count
    vector = ir.VectorType(value.type, count)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    )


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
        result = _joint(a, b)

        def codegen(context, builder, signature, args):
            left = _spread(builder, args[0], a, result)
            right = _spread(builder, args[1], b, result)
            return build(Lane(builder, left), Lane(builder, right)).v

        return result(a, b), codegen

    return op


def _comparison(sign):
    @intrinsic
    def op(typingctx, a, b):
        wide = _joint(a, b)

        def codegen(context, builder, signature, args):
            left = Lane(builder, _spread(builder, args[0], a, wide))
            return left.compare(sign, Lane(builder, _spread(builder, args[1], b, wide)))

        return _bits_of(wide)(a, b), codegen

    return op


def _logical(name):
    @intrinsic
    def op(typingctx, a, b):
        result = _joint(a, b)

        def codegen(context, builder, signature, args):
            left = _spread(builder, args[0], a, result)
            return getattr(builder, name)(left, _spread(builder, args[1], b, result))

        return result(a, b), codegen

    return op


@intrinsic
def logical_not(typingctx, a):
    def codegen(context, builder, signature, args):
        return builder.not_(args[0])

    return a(a), codegen


@intrinsic
def where(typingctx, c, a, b):
    result = _joint(a, b)
    if isinstance(c, Vector) and not isinstance(result, Vector):
        result = Vector("float32" if result == types.float32 else "float64", c.count)

    def codegen(context, builder, signature, args):
        left, right = (_spread(builder, v, t, result) for v, t in ((args[1], a), (args[2], b)))
        return builder.select(args[0], left, right)

    return result(c, a, b), codegen


def _larger(a, b):
    first = builder_or(a, a.compare(">=", b), a.compare("!=", a))
    return a.select(first, b)


def _smaller(a, b):
    first = builder_or(a, a.compare("<=", b), a.compare("!=", a))
    return a.select(first, b)


def builder_or(lane, p, q):
    return lane.b.or_(p, q)


def _relu(a):
    return a.select(builder_or(a, a.compare(">", 0.0), a.compare("!=", a)), 0.0)


def _call_lane(name):
    return lambda a: Lane(a.b, a.intrinsic(name, a.v))


OPS = {
    "add": _binary(lambda a, b: a + b),
    "sub": _binary(lambda a, b: a - b),
    "mul": _binary(lambda a, b: a * b),
    "div": _binary(lambda a, b: a / b),
    "neg": _unary(lambda a: -a),
    "exp": _unary(vecmath.exp),
    "log": _unary(vecmath.log),
    "sqrt": _unary(_call_lane("llvm.sqrt")),
    "sin": _unary(_call_lane("llvm.sin")),
    "cos": _unary(_call_lane("llvm.cos")),
    "tanh": _unary(vecmath.tanh),
    "sigmoid": _unary(vecmath.sigmoid),
    "softplus": _unary(vecmath.softplus),
    "relu": _unary(_relu),
    "abs": _unary(lambda a: a.abs()),
    "maximum": _binary(_larger),
    "minimum": _binary(_smaller),
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


@intrinsic
def load_int(typingctx, address):
    """The int64 at an address."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))

    return types.int64(types.int64), codegen


@intrinsic
def store_int(typingctx, address, value):
    """Write an int64 at an address."""

    def codegen(context, builder, signature, args):
        builder.store(args[1], builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@cache
def call(arity: int):
    """An intrinsic calling the C function at an address with `arity` int64 arguments, returning nothing."""

    @intrinsic
    def caller(typingctx, address, arguments):
        signature = types.void(types.int64, arguments)

        def codegen(context, builder, sig, args):
            i64 = ir.IntType(64)
            fn = ir.FunctionType(ir.VoidType(), [i64] * arity)
            values = [builder.extract_value(args[1], k) for k in range(arity)]
            builder.call(builder.inttoptr(args[0], fn.as_pointer()), values)
            return context.get_dummy_value()

        return signature, codegen

    return caller


def _count_mask(builder, n, count):
    """Lanes below n."""
    i64 = ir.IntType(64)
    index = ir.Constant(ir.VectorType(i64, count), list(range(count)))
    wide = builder.insert_element(ir.Constant(index.type, ir.Undefined), n, ir.Constant(ir.IntType(32), 0))
    zero = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    wide = builder.shuffle_vector(wide, ir.Constant(index.type, ir.Undefined), zero)
    return builder.icmp_signed("<", index, wide)


def masked_load(builder, pointer, vector, mask, align):
    """Lanes of the mask from memory, 0 elsewhere; nothing outside the mask is touched."""
    from numba.core import cgutils

    kind = f"v{vector.count}f{align * 8}"
    fn = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector.as_pointer(), ir.IntType(32), mask.type, vector]),
        f"llvm.masked.load.{kind}.p0",
    )
    return builder.call(fn, [pointer, ir.Constant(ir.IntType(32), align), mask, ir.Constant(vector, None)])


def masked_store(builder, value, pointer, mask, align):
    """Lanes of the mask to memory; nothing else is touched."""
    from numba.core import cgutils

    kind = f"v{value.type.count}f{align * 8}"
    fn = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [value.type, value.type.as_pointer(), ir.IntType(32), mask.type]),
        f"llvm.masked.store.{kind}.p0",
    )
    builder.call(fn, [value, pointer, ir.Constant(ir.IntType(32), align), mask])


@cache
def lanes(dtype: str, count: int) -> SimpleNamespace:
    """Loads, stores and reductions for vectors of `count` lanes of `dtype`.

    ``load(address)``, ``load_n(address, n)`` (lanes from n on are 0 and not read), ``store``, ``store_n``,
    ``keep(v, n)`` (lanes from n on made 0), ``total(v, n)`` and ``largest(v, n)`` over the first n lanes,
    ``load_one``, ``store_one``, ``spread``.
    """
    elem, scalar, item = _FLOATS[dtype]
    vector, ty = ir.VectorType(elem, count), Vector(dtype, count)
    made = SimpleNamespace(Vector=ty, count=count, item=item)

    def pointer(builder, address, to):
        return builder.inttoptr(address, to.as_pointer())

    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, args):
            value = builder.load(pointer(builder, args[0], vector))
            value.align = item
            return value

        return ty(types.int64), codegen

    @intrinsic
    def load_n(typingctx, address, n):
        def codegen(context, builder, signature, args):
            mask = _count_mask(builder, args[1], count)
            return masked_load(builder, pointer(builder, args[0], vector), vector, mask, item)

        return ty(types.int64, types.int64), codegen

    @intrinsic
    def store(typingctx, address, value):
        def codegen(context, builder, signature, args):
            wide = _spread(builder, args[1], value, ty)
            builder.store(wide, pointer(builder, args[0], vector)).align = item
            return context.get_dummy_value()

        return types.void(types.int64, value), codegen

    @intrinsic
    def store_n(typingctx, address, value, n):
        def codegen(context, builder, signature, args):
            wide = _spread(builder, args[1], value, ty)
            mask = _count_mask(builder, args[2], count)
            masked_store(builder, wide, pointer(builder, args[0], vector), mask, item)
            return context.get_dummy_value()

        return types.void(types.int64, value, types.int64), codegen

    @intrinsic
    def keep(typingctx, value, n):
        def codegen(context, builder, signature, args):
            wide = _spread(builder, args[0], value, ty)
            return builder.select(_count_mask(builder, args[1], count), wide, ir.Constant(vector, [0.0] * count))

        return ty(value, types.int64), codegen

    def reduction(combine, neutral):
        @intrinsic
        def reduce(typingctx, value, n):
            def codegen(context, builder, signature, args):
                fill = ir.Constant(vector, [neutral] * count)
                v = builder.select(_count_mask(builder, args[1], count), args[0], fill)
                width = count
                while width > 1:  # halves are folded in a fixed order
                    width //= 2
                    order = [*range(width, 2 * width), *range(width, 2 * width), *range(count)][:count]
                    turned = builder.shuffle_vector(
                        v, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), count), order)
                    )
                    v = combine(Lane(builder, v), Lane(builder, turned)).v
                return builder.extract_element(v, ir.Constant(ir.IntType(32), 0))

            return scalar(value, types.int64), codegen

        return reduce

    @intrinsic
    def load_one(typingctx, address):
        def codegen(context, builder, signature, args):
            return builder.load(pointer(builder, args[0], elem))

        return scalar(types.int64), codegen

    @intrinsic
    def store_one(typingctx, address, value):
        def codegen(context, builder, signature, args):
            builder.store(args[1], pointer(builder, args[0], elem))
            return context.get_dummy_value()

        return types.void(types.int64, scalar), codegen

    @intrinsic
    def spread(typingctx, value):
        def codegen(context, builder, signature, args):
            return _spread(builder, args[0], value, ty)

        return ty(value), codegen

    made.load, made.load_n, made.store, made.store_n, made.keep = load, load_n, store, store_n, keep
    made.total = reduction(lambda a, b: a + b, 0.0)
    made.largest = reduction(_larger, float("-inf"))
    made.load_one, made.store_one, made.spread = load_one, store_one, spread
    return made
