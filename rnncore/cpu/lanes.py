"""Loads, stores and reductions of vectors of lanes, by address; calls of C functions by address.

Generated kernels hold addresses as integers; a vector is as wide as the host's registers.
Every function here is an intrinsic: it becomes a few instructions in place.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..vecmath import Lane, larger
from .vectors import FLOATS, Vector
from .vectors import spread as spread_value

__all__ = ["call", "count_mask", "lanes", "load_int", "masked_load", "masked_store", "store_int"]


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


def count_mask(builder, n, count):
    """Lanes below n."""
    i32 = ir.IntType(32)
    most = ir.Constant(n.type, count)  # lanes are numbered in 32 bits, half as wide as n
    few = builder.trunc(builder.select(builder.icmp_signed("<", n, most), n, most), i32)
    index = ir.Constant(ir.VectorType(i32, count), list(range(count)))
    wide = builder.insert_element(ir.Constant(index.type, ir.Undefined), few, ir.Constant(i32, 0))
    wide = builder.shuffle_vector(wide, ir.Constant(index.type, ir.Undefined), ir.Constant(index.type, [0] * count))
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


def turned(builder, rows):
    """As many vectors as they have lanes, transposed: blocks change places, of one lane, then of two, and so on."""
    count, step = len(rows), 1
    kind = ir.VectorType(ir.IntType(32), count)
    rows = list(rows)
    while step < count:
        low = [i if not i & step else count + i - step for i in range(count)]
        high = [count + i if i & step else i + step for i in range(count)]
        for r in range(count):
            if not r & step:
                a, b = rows[r], rows[r + step]
                rows[r] = builder.shuffle_vector(a, b, ir.Constant(kind, low))
                rows[r + step] = builder.shuffle_vector(a, b, ir.Constant(kind, high))
        step *= 2
    return rows


@cache
def lanes(dtype: str, count: int) -> SimpleNamespace:
    """Loads, stores and reductions for vectors of `count` lanes of `dtype`.

    ``load(address)``, ``load_n(address, n)`` (lanes from n on are 0 and not read), ``store``, ``store_n``,
    ``keep(v, n)`` (lanes from n on made 0), ``total(v, n)`` and ``largest(v, n)`` over the first n lanes,
    ``load_one``, ``store_one``, ``spread``; ``transpose(source, stride, target, stride, n, k)`` of up to `count` rows
    n of k numbers.
    """
    elem, scalar, item = FLOATS[dtype]
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
            mask = count_mask(builder, args[1], count)
            return masked_load(builder, pointer(builder, args[0], vector), vector, mask, item)

        return ty(types.int64, types.int64), codegen

    @intrinsic
    def store(typingctx, address, value):
        def codegen(context, builder, signature, args):
            wide = spread_value(builder, args[1], value, ty)
            builder.store(wide, pointer(builder, args[0], vector)).align = item
            return context.get_dummy_value()

        return types.void(types.int64, value), codegen

    @intrinsic
    def store_n(typingctx, address, value, n):
        def codegen(context, builder, signature, args):
            wide = spread_value(builder, args[1], value, ty)
            mask = count_mask(builder, args[2], count)
            masked_store(builder, wide, pointer(builder, args[0], vector), mask, item)
            return context.get_dummy_value()

        return types.void(types.int64, value, types.int64), codegen

    @intrinsic
    def keep(typingctx, value, n):
        def codegen(context, builder, signature, args):
            wide = spread_value(builder, args[0], value, ty)
            return builder.select(count_mask(builder, args[1], count), wide, ir.Constant(vector, [0.0] * count))

        return ty(value, types.int64), codegen

    def reduction(combine, neutral):
        @intrinsic
        def reduce(typingctx, value, n):
            def codegen(context, builder, signature, args):
                fill = ir.Constant(vector, [neutral] * count)
                v = builder.select(count_mask(builder, args[1], count), args[0], fill)
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
            return spread_value(builder, args[0], value, ty)

        return ty(value), codegen

    @intrinsic
    def transpose(typingctx, source, source_stride, target, target_stride, n, k):
        def codegen(context, builder, signature, args):
            source, source_stride, target, target_stride, n, k = args
            zero = ir.Constant(n.type, 0)
            rows = []
            for r in range(count):
                at = builder.add(source, builder.mul(source_stride, ir.Constant(source.type, r)))
                there = builder.icmp_signed("<", ir.Constant(n.type, r), n)
                mask = count_mask(builder, builder.select(there, k, zero), count)
                rows.append(masked_load(builder, pointer(builder, at, vector), vector, mask, item))
            for r, row in enumerate(turned(builder, rows)):
                at = builder.add(target, builder.mul(target_stride, ir.Constant(target.type, r)))
                there = builder.icmp_signed("<", ir.Constant(k.type, r), k)
                mask = count_mask(builder, builder.select(there, n, zero), count)
                masked_store(builder, row, pointer(builder, at, vector), mask, item)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    made.transpose = transpose
    made.load, made.load_n, made.store, made.store_n, made.keep = load, load_n, store, store_n, keep
    made.total = reduction(lambda a, b: a + b, 0.0)
    made.largest = reduction(larger, float("-inf"))
    made.load_one, made.store_one, made.spread = load_one, store_one, spread
    return made
