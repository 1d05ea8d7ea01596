"""Micro-kernels as LLVM IR: a tile of accumulators in registers, broadcasts, fused multiply-adds.

Every output element is summed over k in order, one fused multiply-add after another, whatever
the tile: so results do not depend on how rows are shared out among threads.
"""

from __future__ import annotations

from functools import cache

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .lanes import count_mask, masked_load, masked_store
from .vectors import Vector

__all__ = ["load_bfloat16", "tile_outer", "tile_rows"]

_I64, _I32, _I16 = ir.IntType(64), ir.IntType(32), ir.IntType(16)


def _widened(builder, address, count: int):
    """`count` lanes of bfloat16 as float32: they are its upper halves."""
    value = builder.load(builder.inttoptr(address, ir.VectorType(_I16, count).as_pointer()))
    value.align = 2
    wide = ir.VectorType(_I32, count)
    upper = builder.shl(builder.zext(value, wide), ir.Constant(wide, [16] * count))
    return builder.bitcast(upper, ir.VectorType(ir.FloatType(), count))


@cache
def load_bfloat16(count: int):
    """An intrinsic: the vector of float32 that `count` lanes of bfloat16 at an address are."""

    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, args):
            return _widened(builder, args[0], count)

        return Vector("float32", count)(types.int64), codegen

    return load


class _Tile:
    """Shared pieces of the two micro-kernels."""

    def __init__(self, builder, dtype: str, count: int, rows: int, vectors: int, last):
        self.b, self.count, self.rows, self.vectors = builder, count, rows, vectors
        self.elem = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self.item = 4 if dtype == "float32" else 8
        self.vector = ir.VectorType(self.elem, count)
        self.mask = count_mask(builder, last, count)
        name = f"llvm.fma.v{count}f{self.item * 8}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self.fma = cgutils.get_or_insert_function(builder.module, kind, name)

    def const(self, n: int):
        return ir.Constant(_I64, n)

    def pointer(self, address, to):
        return self.b.inttoptr(address, to.as_pointer())

    def load(self, address, n: int, full: bool = False):
        """Vector n of a row; the last one masked unless `full`."""
        at = self.pointer(self.b.add(address, self.const(n * self.count * self.item)), self.vector)
        if n == self.vectors - 1 and not full:
            return masked_load(self.b, at, self.vector, self.mask, self.item)
        value = self.b.load(at)
        value.align = self.item
        return value

    def weights(self, address, n: int, stored: str):
        """Vector n of a row of a panel."""
        if not stored:
            return self.load(address, n, full=True)
        return _widened(self.b, self.b.add(address, self.const(n * self.count * 2)), self.count)

    def store(self, value, address, n: int):
        at = self.pointer(self.b.add(address, self.const(n * self.count * self.item)), self.vector)
        if n == self.vectors - 1:
            masked_store(self.b, value, at, self.mask, self.item)
        else:
            self.b.store(value, at).align = self.item

    def broadcast(self, address):
        one = self.b.load(self.pointer(address, self.elem))
        vector = ir.Constant(self.vector, ir.Undefined)
        inserted = self.b.insert_element(vector, one, ir.Constant(_I32, 0))
        return self.b.shuffle_vector(inserted, vector, ir.Constant(ir.VectorType(_I32, self.count), [0] * self.count))

    def listed(self, base, width, rows_list, shift, m: int):
        """Address of the row that entry m of an index list names."""
        entry = self.b.load(self.pointer(self.b.add(rows_list, self.const(8 * m)), _I64))
        return self.b.add(base, self.b.mul(self.b.add(entry, shift), width))

    def loop(self, n, start, body):
        """for k in range(n): accumulators = body(k, accumulators); n may be 0."""
        b = self.b
        before, head = b.block, b.append_basic_block("k")
        done = b.append_basic_block("done")
        b.cbranch(b.icmp_signed(">", n, self.const(0)), head, done)
        b.position_at_end(head)
        k = b.phi(_I64)
        k.add_incoming(self.const(0), before)
        acc = [[b.phi(self.vector) for _ in range(self.vectors)] for _ in range(self.rows)]
        new = body(k, acc)
        following = b.add(k, self.const(1))
        k.add_incoming(following, b.block)
        for m in range(self.rows):
            for v in range(self.vectors):
                acc[m][v].add_incoming(start[m][v], before)
                acc[m][v].add_incoming(new[m][v], b.block)
        b.cbranch(b.icmp_signed("<", following, n), head, done)
        end = b.block
        b.position_at_end(done)
        out = [[b.phi(self.vector) for _ in range(self.vectors)] for _ in range(self.rows)]
        for m in range(self.rows):
            for v in range(self.vectors):
                out[m][v].add_incoming(start[m][v], before)
                out[m][v].add_incoming(new[m][v], end)
        return out


@cache
def tile_rows(dtype: str, count: int, rows: int, vectors: int, stored: str = "", wide: int = 0):
    """C[ic + sc] (+)= A[ia + sa] @ panel for `rows` rows and `vectors` vectors of columns.

    The panel may be `stored` as ``"bfloat16"``, which is widened as it is read. Panels of `wide` vectors each may be
    several, one after another; 0: there is one.

    Arguments: A, bytes of a row of A, index list, shift; panel; C, bytes of a row of C, index list, shift; length k of
    the sum; 1 to start from C, 0 to start from the row at `start`; start; lanes of the last vector.
    """

    @intrinsic
    def tile(typingctx, a, lda, ia, sa, panel, c, ldc, ic, sc, k, add, start, last):
        def codegen(context, builder, signature, args):
            a, lda, ia, sa, panel, c, ldc, ic, sc, k, add, start, last = args
            t = _Tile(builder, dtype, count, rows, vectors, last)
            b = builder
            ra = [t.listed(a, lda, ia, sa, m) for m in range(rows)]
            rc = [t.listed(c, ldc, ic, sc, m) for m in range(rows)]
            onto = b.icmp_signed("!=", add, t.const(0))
            origin = [b.select(onto, r, start) for r in rc]
            first = [[t.load(o, v) for v in range(vectors)] for o in origin]
            width = wide or vectors
            row_bytes = t.const(width * count * (2 if stored else t.item))
            panels = [b.add(panel, b.mul(b.mul(k, row_bytes), t.const(p))) for p in range(vectors // width)]

            def body(i, acc):
                from_start = b.mul(i, row_bytes)
                starts = [b.add(p, from_start) for p in panels]
                bs = [t.weights(start, v, stored) for start in starts for v in range(width)]
                at = b.mul(i, t.const(t.item))
                new = []
                for m in range(rows):
                    x = t.broadcast(b.add(ra[m], at))
                    new.append([b.call(t.fma, [x, bs[v], acc[m][v]]) for v in range(vectors)])
                return new

            for m, row in enumerate(t.loop(k, first, body)):
                for v, value in enumerate(row):
                    t.store(value, rc[m], v)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 13), codegen

    return tile


@cache
def tile_outer(dtype: str, count: int, rows: int, vectors: int):
    """C += P^T @ B[ib + sb] for `rows` rows of C and `vectors` vectors of columns; P is packed (n, rows).

    Arguments: P; B, bytes of a row of B, index list, shift; C, bytes of a row of C; length n of the sum; lanes of the
    last vector.
    """

    @intrinsic
    def tile(typingctx, p, bm, ldb, ib, sb, c, ldc, n, last):
        def codegen(context, builder, signature, args):
            p, bm, ldb, ib, sb, c, ldc, n, last = args
            t = _Tile(builder, dtype, count, rows, vectors, last)
            b = builder
            rc = [b.add(c, b.mul(ldc, t.const(m))) for m in range(rows)]
            first = [[t.load(r, v) for v in range(vectors)] for r in rc]

            def body(i, acc):
                entry = b.load(t.pointer(b.add(ib, b.mul(i, t.const(8))), _I64))
                row = b.add(bm, b.mul(b.add(entry, sb), ldb))
                bs = [t.load(row, v) for v in range(vectors)]
                at = b.add(p, b.mul(i, t.const(rows * t.item)))
                new = []
                for m in range(rows):
                    x = t.broadcast(b.add(at, t.const(m * t.item)))
                    new.append([b.call(t.fma, [x, bs[v], acc[m][v]]) for v in range(vectors)])
                return new

            for m, row in enumerate(t.loop(n, first, body)):
                for v, value in enumerate(row):
                    t.store(value, rc[m], v)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), codegen

    return tile
