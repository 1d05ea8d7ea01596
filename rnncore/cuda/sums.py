"""Sums of products in registers: rows times columns of a thread, or of a warp whose lanes share out the terms.

Sums are tuples of rows, which are tuples of columns. numba takes its time for every name and every line of a kernel,
and so all terms of all sums are one call; it is put in place, and a device sees nothing of the tuples.
"""

from __future__ import annotations

from llvmlite import ir

from .intrinsics import exchanged, intrinsic, place, types, vector_of
from .lane import DeviceLane

__all__ = ["lane_term", "lane_terms4", "own_sum", "set_own_sums", "term", "terms4"]

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _four(context, builder, array_type, array, index) -> list:
    """Four neighbours from ``array[index]``, for an index that is a multiple of four, at once."""
    first = place(context, builder, array_type, array, index)
    item = context.get_data_type(array_type.dtype)
    bits = {ir.FloatType: 32, ir.DoubleType: 64}[type(item)]
    numbers = []
    for shift in range(0, 4, 128 // bits):
        kind = ir.VectorType(item, 128 // bits)
        here = builder.bitcast(builder.gep(first, [_I64(shift)]), kind.as_pointer())
        four = builder.load(here, align=16)
        numbers += [builder.extract_element(four, _I32(k)) for k in range(128 // bits)]
    return numbers


class _Sums:
    """What is read of two vectors, and what is added to sums, while the code of a call is written."""

    def __init__(self, context, builder, signature, args):
        self.context, self.builder = context, builder
        self.kind, self.vectors = signature.args[0], {1: signature.args[1], 4: signature.args[4]}
        self.args = args
        rows, columns = range(self.kind.count), range(self.kind.dtype.count)
        self.sums = [[builder.extract_value(args[0], [i, j]) for j in columns] for i in rows]
        self.starts = [builder.extract_value(args[2], i) for i in rows]
        self.columns = len(columns)

    def at(self, start, *steps):
        """`start`, and so many times so much more."""
        for many, size in steps:
            start = self.builder.add(start, self.builder.mul(many, size, flags=["nsw"]), flags=["nsw"])
        return start

    def four(self, which: int, index) -> list:
        return _four(self.context, self.builder, self.vectors[which], self.args[which], index)

    def one(self, which: int, index):
        return self.builder.load(place(self.context, self.builder, self.vectors[which], self.args[which], index))

    def neighbours(self, index) -> list:
        """The columns of one inner index."""
        found = []
        for j in range(0, self.columns, 4):
            there = self.builder.add(index, _I64(j), flags=["nsw"])
            if self.columns - j >= 4:
                found += self.four(4, there)
            else:
                found += [self.one(4, self.builder.add(index, _I64(n), flags=["nsw"])) for n in range(j, self.columns)]
        return found

    def add(self, x: list, y: list) -> None:
        """One term to every sum: a number of each row times one of each column."""
        for row, a in zip(self.sums, x):
            for j, b in enumerate(y):
                lane = DeviceLane(self.builder, a)
                row[j] = lane.fma(lane._new(b), lane._new(row[j])).v

    def made(self):
        rows = [self.context.make_tuple(self.builder, self.kind.dtype, row) for row in self.sums]
        return self.context.make_tuple(self.builder, self.kind, rows)


def _typed(acc, x, at_x, k, w) -> bool:
    """Whether these are sums of rows and columns, and of numbers of one type."""
    nested = isinstance(acc, types.UniTuple) and isinstance(acc.dtype, types.UniTuple)
    rows = isinstance(at_x, types.UniTuple) and at_x.dtype == types.int64 and nested and at_x.count == acc.count
    return rows and vector_of(x, k) and vector_of(w, k) and acc.dtype.dtype == x.dtype == w.dtype and k == types.int64


def _terms(many: int):
    """The next `many` terms of a thread's sums."""

    def typed(typingctx, acc, x, at_x, k, w, at_w, pad):
        if not _typed(acc, x, at_x, k, w) or at_w != types.int64 or pad != types.int64:
            return None

        def codegen(context, builder, signature, args):
            s, (k, at_w, pad) = _Sums(context, builder, signature, args), (args[3], args[5], args[6])
            starts = [s.at(start, (k, _I64(1))) for start in s.starts]
            rows = [s.four(1, start) if many == 4 else [s.one(1, start)] for start in starts]
            for term in range(many):
                inner = builder.add(k, _I64(term), flags=["nsw"])
                s.add([row[term] for row in rows], s.neighbours(s.at(at_w, (inner, pad))))
            return s.made()

        return acc(acc, x, at_x, k, w, at_w, pad), codegen

    return intrinsic(typed)


def _lane_terms(many: int):
    """The next `many` terms of a lane's sums."""

    def typed(typingctx, acc, x, at_x, k, w, at_w):
        columns = isinstance(at_w, types.UniTuple) and at_w.dtype == types.int64
        if not _typed(acc, x, at_x, k, w) or not columns or at_w.count != acc.dtype.count:
            return None

        def codegen(context, builder, signature, args):
            s = _Sums(context, builder, signature, args)
            firsts = [builder.extract_value(args[5], j) for j in range(s.columns)]
            starts, firsts = ([s.at(first, (args[3], _I64(1))) for first in all_] for all_ in (s.starts, firsts))
            read = s.four if many == 4 else lambda which, index: [s.one(which, index)]
            rows, columns = [read(1, start) for start in starts], [read(4, first) for first in firsts]
            for term in range(many):
                s.add([row[term] for row in rows], [column[term] for column in columns])
            return s.made()

        return acc(acc, x, at_x, k, w, at_w), codegen

    return intrinsic(typed)


# acc[i][j] += sum of x[at_x[i] + k + s] * w[at_w + (k + s) * pad + j] over s
terms4, term = _terms(4), _terms(1)
# acc[i][j] += sum of x[at_x[i] + k + s] * w[at_w[j] + k + s] over s
lane_terms4, lane_term = _lane_terms(4), _lane_terms(1)


@intrinsic
def set_own_sums(typingctx, out, at, pitch, top, tops, many, acc):
    """Sets ``out[at + i * pitch + j] = acc[i][j]`` where ``top + i * tops`` is less than `many`."""

    def codegen(context, builder, signature, args):
        out, at, pitch, top, tops, many, acc = args
        for i in range(signature.args[6].count):
            row = builder.add(top, builder.mul(_I64(i), tops, flags=["nsw"]), flags=["nsw"])
            with builder.if_then(builder.icmp_signed("<", row, many)):
                first = builder.add(at, builder.mul(_I64(i), pitch, flags=["nsw"]), flags=["nsw"])
                for j in range(signature.args[6].dtype.count):
                    there = place(context, builder, signature.args[0], out, builder.add(first, _I64(j), flags=["nsw"]))
                    builder.store(builder.extract_value(acc, [i, j]), there)
        return context.get_dummy_value()

    int64 = types.int64
    nested = isinstance(acc, types.UniTuple) and isinstance(acc.dtype, types.UniTuple)
    if not nested or not vector_of(out, at) or out.dtype != acc.dtype.dtype or {at, pitch, top, tops, many} != {int64}:
        return None
    return types.void(out, int64, int64, int64, int64, int64, acc), codegen


@intrinsic
def own_sum(typingctx, lane, acc):
    """The sum over a warp of one of the n sums that each lane has: of that of index ``lane * n // 32``, row by row.

    n is 1, 2, 4, 8, 16 or 32. At each step a lane hands over the half of its sums that its partner goes on with, for
    the partner's of its own half: n - 1 exchanges for n sums, and one more for each bit of the lane that is left. All
    lanes of a warp call it together.
    """
    nested = isinstance(acc, types.UniTuple) and isinstance(acc.dtype, types.UniTuple)
    if not nested or not isinstance(lane, types.Integer) or 32 % (acc.count * acc.dtype.count):
        return None

    def codegen(context, builder, signature, args):
        values = [builder.extract_value(args[1], [i, j]) for i in range(acc.count) for j in range(acc.dtype.count)]
        for step in (16, 8, 4, 2, 1):
            turn, half = _I32(step), len(values) // 2
            if half:
                second = builder.icmp_unsigned("!=", builder.and_(args[0], args[0].type(step)), args[0].type(0))
                pairs = list(zip(values[:half], values[half:]))
                kept = [builder.select(second, b, a) for a, b in pairs]
                given = [builder.select(second, a, b) for a, b in pairs]
            else:
                kept = given = values
            values = [builder.fadd(a, exchanged(builder, b, turn)) for a, b in zip(kept, given)]
        return values[0]

    return acc.dtype.dtype(lane, acc), codegen
