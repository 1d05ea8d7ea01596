"""Tensor cores: a warp's product of two small matrices, whose numbers lie spread over its lanes' registers.

PTX ISA, "Matrix Fragments for mma.m16n8k8" and "m16n8k16": with g = lane // 4 and t = lane % 4, the sums of a lane are
those of rows g and g + 8, columns 2t and 2t + 1.
"""

from __future__ import annotations

from llvmlite import ir

from .target import compiler

__all__ = ["mma_bf16", "mma_tf32", "pack_bf16", "to_tf32"]

cuda = compiler()
types, intrinsic = cuda.types, cuda.extending.intrinsic
_F32, _I32 = ir.FloatType(), ir.IntType(32)


def _converted(builder, text, args):
    kind = ir.FunctionType(_I32, [_F32] * len(args))
    constraints = ",".join(["=r", *["f"] * len(args)])
    return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=False), args)


@intrinsic
def to_tf32(typingctx, a):
    """The bits of a float32 number rounded to 10 bits of mantissa, to nearest, ties away from 0."""
    if a != types.float32:
        return None

    def codegen(context, builder, signature, args):
        return _converted(builder, "cvt.rna.tf32.f32 $0, $1;", args)

    return types.int32(a), codegen


@intrinsic
def pack_bf16(typingctx, a, b):
    """Two float32 numbers rounded to bfloat16, to nearest, ties to even: a in the lower half."""
    if (a, b) != (types.float32, types.float32):
        return None

    def codegen(context, builder, signature, args):
        return _converted(builder, "cvt.rn.bf16x2.f32 $0, $1, $2;", args[::-1])

    return types.int32(a, b), codegen


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
