"""Instructions of a device, and the ops of the language, as functions that numba puts in place.

The functions are those of `rnncore.vecmath`. Sums, products, quotients and fused products are rounded on a device as on
a CPU (PTX ISA, floating-point instructions: ``.rn``), and so are the functions that are made of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .. import vecmath
from ..vecmath import Lane
from . import trigonometry
from .fast import FAST
from .lane import DeviceLane
from .target import compiler

__all__ = [
    "across", "anew", "arrive", "arrived", "exchanged", "intrinsic", "load", "place", "pointwise", "quotient",
    "store", "types", "uniform", "vector_of",
]  # fmt: skip

cuda = compiler()
types, intrinsic = cuda.types, cuda.extending.intrinsic
_I32, _I64 = ir.IntType(32), ir.IntType(64)


def place(context, builder, array_type, array, index):
    """The address of ``array[index]``, for an index that is not negative."""
    data = context.make_array(array_type)(context, builder, array).data
    wide = builder.sext(index, _I64) if index.type.width < 64 else index
    return builder.gep(data, [wide])


def vector_of(array, index) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and isinstance(index, types.Integer)


@intrinsic
def load(typingctx, array, index):
    """``array[index]``, for an index from 0."""
    if not vector_of(array, index):
        return None

    def codegen(context, builder, signature, args):
        return builder.load(place(context, builder, signature.args[0], args[0], args[1]))

    return array.dtype(array, index), codegen


@intrinsic
def anew(typingctx, value):
    """`value`; the compiler does not know that it is, and keeps nothing that is made of it from step to step."""
    if value != types.int64:
        return None

    def codegen(context, builder, signature, args):
        return _assembly(builder, "mov.b64 $0, $1;", "=l,l", _I64, [args[0]])

    return value(value), codegen


@intrinsic
def quotient(typingctx, a, b):
    """``a // b``, for ``0 <= a < 2**31`` and ``0 < b < 2**31``.

    Of 64 bits it would be a subroutine's hundred instructions.
    """
    if not isinstance(a, types.Integer) or not isinstance(b, types.Integer):
        return None

    def codegen(context, builder, signature, args):
        narrow = [builder.trunc(x, _I32) if x.type.width > 32 else x for x in args]
        return builder.zext(builder.udiv(*narrow), _I64)

    return types.int64(a, b), codegen


@intrinsic
def across(typingctx, value, mask):
    """The `value` of the lane whose index differs in the bits of `mask`; all lanes of a warp call it together."""
    if not isinstance(value, types.Float) or not isinstance(mask, types.Integer):
        return None

    def codegen(context, builder, signature, args):
        turn = builder.trunc(args[1], _I32) if args[1].type.width > 32 else args[1]
        return exchanged(builder, args[0], turn)

    return value(value, mask), codegen


def exchanged(builder, number, turn):
    """The number of the lane whose index differs in the bits of `turn`."""
    bits = {ir.FloatType: 32, ir.DoubleType: 64}[type(number.type)]
    whole = ir.IntType(bits)
    mine, got = builder.bitcast(number, whole), ir.Constant(whole, 0)
    for first in range(0, bits, 32):
        part = mine if bits == 32 else builder.trunc(builder.lshr(mine, whole(first)), _I32)
        text = "shfl.sync.bfly.b32 $0, $1, $2, 0x1f, 0xffffffff;"
        other = _assembly(builder, text, "=r,r,r,~{memory}", _I32, [part, turn], ("convergent",))
        wide = other if bits == 32 else builder.zext(other, whole)
        got = builder.or_(got, builder.shl(wide, whole(first)))
    return builder.bitcast(got, number.type)


@intrinsic
def uniform(typingctx, value):
    """`value`, from 0 and less than ``2**31``, where it is the same in all lanes of a warp, which call it together.

    From here on the assembler knows that it is. A branch on what it knows nothing of may part the lanes for all it
    knows, and what they do together behind it is there a second time, for lanes that come one by one.
    """
    if not isinstance(value, types.Integer):
        return None

    def codegen(context, builder, signature, args):
        narrow = builder.trunc(args[0], _I32) if args[0].type.width > 32 else args[0]
        text = "shfl.sync.idx.b32 $0, $1, 0, 0x1f, 0xffffffff;"
        return builder.zext(_assembly(builder, text, "=r,r", _I32, [narrow], ("convergent",)), _I64)

    return types.int64(value), codegen


@intrinsic
def store(typingctx, array, index, value):
    """``array[index] = value``, for an index from 0 and a value of the array's own type."""
    if not vector_of(array, index) or value != array.dtype and not isinstance(value, types.Integer):
        return None
    if isinstance(value, types.Integer) and not isinstance(array.dtype, types.Integer):
        return None

    def codegen(context, builder, signature, args):
        wanted = context.cast(builder, args[2], value, array.dtype)
        builder.store(wanted, place(context, builder, signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


def _assembly(builder, text, constraints, result, args, attributes=()):
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), args, attrs=attributes)


@intrinsic
def arrive(typingctx, counters, slot):
    """Adds 1 to ``counters[slot]`` after all that this thread has written or seen written."""

    def codegen(context, builder, signature, args):
        at = builder.ptrtoint(place(context, builder, signature.args[0], *args), _I64)
        text = "red.release.gpu.global.add.u32 [$0], 1;"
        _assembly(builder, text, "l,~{memory}", ir.VoidType(), [at])
        return context.get_dummy_value()

    return types.void(counters, slot), codegen


@intrinsic
def arrived(typingctx, counters, slot):
    """``counters[slot]``, before all that this thread reads next."""

    def codegen(context, builder, signature, args):
        at = builder.ptrtoint(place(context, builder, signature.args[0], *args), _I64)
        return _assembly(builder, "ld.acquire.gpu.global.u32 $0, [$1];", "=r,l,~{memory}", _I32, [at])

    return types.int32(counters, slot), codegen


def _operation(kinds: tuple, result: Any, build: Callable[..., Any]) -> Any:
    """A function of numbers of the given types, and of no others: `build` makes it of lanes, or of conditions."""

    def typed(given):
        return tuple(given) == kinds

    def codegen(context, builder, signature, args):
        made = build(builder, *args)
        return getattr(made, "v", made)

    if len(kinds) == 1:
        return intrinsic(lambda typingctx, a: (result(a), codegen) if typed([a]) else None)
    if len(kinds) == 2:
        return intrinsic(lambda typingctx, a, b: (result(a, b), codegen) if typed([a, b]) else None)
    return intrinsic(lambda typingctx, a, b, c: (result(a, b, c), codegen) if typed([a, b, c]) else None)


_NUMBERS: dict[str, Callable[..., Lane]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "maximum": vecmath.larger, "minimum": vecmath.smaller, "neg": lambda a: -a, "abs_": lambda a: a.abs(),
    "relu": vecmath.relu, "exp": vecmath.exp, "log": vecmath.log, "sqrt": vecmath.sqrt, "tanh": vecmath.tanh,
    "sigmoid": vecmath.sigmoid, "softplus": vecmath.softplus,
}  # fmt: skip
_LIBRARY = {"sin": "__nv_sin", "cos": "__nv_cos"}  # of float64 numbers: within 2 units in the last place
_SINGLE = {"sin": trigonometry.sin, "cos": trigonometry.cos}
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_CONDITIONS = {"and_": "and_", "or_": "or_", "not_": "not_"}


@lru_cache(maxsize=8)
def pointwise(dtype: str, fast: bool = False) -> dict[str, Any]:
    """The ops of the language on numbers of `dtype`."""
    one, truth = {"float32": types.float32, "float64": types.float64}[dtype], types.boolean
    made = {}
    own = _SINGLE if dtype == "float32" else {name: _called(function) for name, function in _LIBRARY.items()}
    for name, build in (_NUMBERS | own | (FAST if fast and dtype == "float32" else {})).items():
        many = build.__code__.co_argcount
        made[name] = _operation((one,) * many, one, _of_lanes(build))
    for name, sign in _COMPARISONS.items():
        made[name] = _operation((one, one), truth, _of_lanes(lambda a, b, sign=sign: a.compare(sign, b)))
    for name in _CONDITIONS:
        kinds = (truth,) if name == "not_" else (truth, truth)
        made[name] = _operation(kinds, truth, lambda builder, *args, name=name: getattr(builder, name)(*args))
    made["where"] = _operation((truth, one, one), one, lambda builder, *args: builder.select(*args))
    return made


def _called(function: str) -> Callable[[Lane], Lane]:
    """A function of the device's own library."""

    def build(x):
        kind = ir.FunctionType(x.v.type, [x.v.type])
        return x._new(x.b.call(cgutils.get_or_insert_function(x.b.module, kind, function), [x.v]))

    return build


def _of_lanes(build: Callable[..., Any]) -> Callable[..., Any]:
    return lambda builder, *args: build(*[DeviceLane(builder, a) for a in args])
