"""How threads of one call meet: atomics, giving way when the machine is oversubscribed, sleeping on a pipe."""

from __future__ import annotations

import sys

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = [
    "compare_exchange", "fetch_add", "load_acquire", "read_byte", "store_release", "write_byte", "yield_thread",
]  # fmt: skip

_I64 = ir.IntType(64)


@intrinsic
def fetch_add(typingctx, address, value):
    """Add to the int64 at an address; returns what was there."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", builder.inttoptr(args[0], _I64.as_pointer()), args[1], "acq_rel")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def compare_exchange(typingctx, address, expected, value):
    """Write the int64 at an address if it is what is expected; returns what was there."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.extract_value(builder.cmpxchg(pointer, args[1], args[2], "acq_rel", "acquire"), 0)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def load_acquire(typingctx, address):
    """The int64 at an address, with everything written before it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], _I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def store_release(typingctx, address, value):
    """Write the int64 at an address, after everything written before it."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[1], builder.inttoptr(args[0], _I64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def yield_thread(typingctx):
    """Let another thread run."""

    def codegen(context, builder, signature, args):
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), []), name)
        builder.call(fn, [])
        return context.get_dummy_value()

    return types.void(), codegen


def _one_byte(builder, name: str, file):
    """``read`` or ``write`` of one byte of the stack."""
    size = ir.IntType(32) if sys.platform == "win32" else _I64
    byte = cgutils.alloca_once(builder, ir.IntType(8))
    kind = ir.FunctionType(size, [ir.IntType(32), ir.IntType(8).as_pointer(), size])
    fn = cgutils.get_or_insert_function(builder.module, kind, f"_{name}" if sys.platform == "win32" else name)
    builder.call(fn, [builder.trunc(file, ir.IntType(32)), byte, ir.Constant(size, 1)])


@intrinsic
def read_byte(typingctx, file):
    """Sleep until a byte can be read of a file descriptor, or a signal comes."""

    def codegen(context, builder, signature, args):
        _one_byte(builder, "read", args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def write_byte(typingctx, file):
    """Write a byte to a file descriptor, unless it is full."""

    def codegen(context, builder, signature, args):
        _one_byte(builder, "write", args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
