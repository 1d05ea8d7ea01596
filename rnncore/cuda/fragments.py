"""Tensor cores: a warp's product of two small matrices, whose numbers lie spread over its lanes' registers.

PTX ISA, "Matrix Fragments for mma.m16n8k8" and "m16n8k16": with g = lane // 4 and t = lane % 4, the sums of a lane are
those of rows g and g + 8, columns 2t and 2t + 1.
"""

from __future__ import annotations

from llvmlite import ir

from .intrinsics import place, vector_of
from .target import compiler

__all__ = ["mma_bf16", "mma_tf32", "store2", "store_bf16", "store_tf32", "words4"]

cuda = compiler()
types, intrinsic = cuda.types, cuda.extending.intrinsic
_F32, _I32 = ir.FloatType(), ir.IntType(32)


def _converted(builder, text, kind, value):
    """A number rounded: in 16 bits or 32."""
    letter = {16: "h", 32: "r"}[kind.width]
    code = ir.InlineAsm(ir.FunctionType(kind, [_F32]), text, f"={letter},f", side_effect=False)
    return builder.call(code, [value])


def _stored(kind, text):
    """``array[index] = value``, rounded: of words, or of halves of words where `kind` has 16 bits."""

    @intrinsic
    def stored(typingctx, array, index, value):
        if not vector_of(array, index) or (array.dtype, value) != (types.float32, types.float32):
            return None

        def codegen(context, builder, signature, args):
            number = _converted(builder, text, kind, args[2])
            data = context.make_array(array)(context, builder, args[0]).data
            builder.store(number, builder.gep(builder.bitcast(data, _pointer(data, kind)), [args[1]]))
            return context.get_dummy_value()

        return types.void(array, index, value), codegen

    return stored


def _pointer(data, kind):
    return ir.PointerType(kind, data.type.addrspace)


store_bf16 = _stored(ir.IntType(16), "cvt.rn.bf16.f32 $0, $1;")
store_tf32 = _stored(_I32, "cvt.rna.tf32.f32 $0, $1;")


@intrinsic
def words4(typingctx, array, index):
    """The bits of four neighbours from ``array[index]``, for an index that is a multiple of four, at once."""
    if not vector_of(array, index) or array.dtype != types.float32:
        return None

    def codegen(context, builder, signature, args):
        at = place(context, builder, signature.args[0], args[0], args[1])
        four = builder.load(builder.bitcast(at, _pointer(at, ir.VectorType(_I32, 4))), align=16)
        words = [builder.extract_element(four, _I32(k)) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, words)

    return types.UniTuple(types.int32, 4)(array, index), codegen


@intrinsic
def store2(typingctx, array, index, a, b):
    """``array[index], array[index + 1] = a, b``, for an even index, at once."""
    if not vector_of(array, index) or (array.dtype, a, b) != (types.float32,) * 3:
        return None

    def codegen(context, builder, signature, args):
        at = place(context, builder, signature.args[0], args[0], args[1])
        kind = ir.VectorType(_F32, 2)
        two = builder.insert_element(ir.Constant(kind, ir.Undefined), args[2], _I32(0))
        two = builder.insert_element(two, args[3], _I32(1))
        builder.store(two, builder.bitcast(at, _pointer(at, kind)), align=8)
        return context.get_dummy_value()

    return types.void(array, index, a, b), codegen


def _product(text):
    """c + a b of a warp, from four registers of a, two of b and four sums."""

    @intrinsic
    def product(typingctx, a, b, c):
        if (a, b, c) != tuple(types.UniTuple(kind, n) for kind, n in _KINDS):
            return None

        def codegen(context, builder, signature, args):
            registers = [
                builder.extract_value(whole, k) for whole, (_, n) in zip(args, _KINDS) for k in range(n)
            ]  # fmt: skip
            four = ir.LiteralStructType([_F32] * 4)
            kind = ir.FunctionType(four, [r.type for r in registers])
            code = ir.InlineAsm(kind, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", side_effect=True)
            found = builder.call(code, registers, attrs=("convergent",))
            return context.make_tuple(
                builder, signature.return_type, [builder.extract_value(found, k) for k in range(4)]
            )

        return c(a, b, c), codegen

    return product


_KINDS = (types.int32, 4), (types.int32, 2), (types.float32, 4)
_REGISTERS = "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
mma_tf32 = _product(f"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {_REGISTERS}")
mma_bf16 = _product(f"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {_REGISTERS}")
