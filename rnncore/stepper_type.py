"""A stepper inside numba's compiled code: a few integers, and a method that calls the program's runner by address."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.core.imputils import lower_constant
from numba.extending import (
    NativeValue,
    intrinsic,
    make_attribute_wrapper,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.numpy_support import from_dtype

__all__ = ["FIELDS", "StepperType", "registered"]

FIELDS = ("advance", "program", "size", "state_size", "x_size", "y_size")
_I64 = ir.IntType(64)
_frozen: list = []  # steppers that compiled code holds by address: they live as long as the process


class StepperType(types.Type):
    """The type of steppers of a dtype, `x` being that of their inputs."""

    def __init__(self, dtype: types.Type, x: types.Type):
        self.dtype, self.x = dtype, x
        super().__init__(name=f"rnncore.Stepper({dtype}, {x})")


@register_model(StepperType)
class _Model(models.StructModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, [(name, types.int64) for name in FIELDS])


for _name in FIELDS:
    make_attribute_wrapper(StepperType, _name, _name if _name.endswith("size") else f"_{_name}")


def registered(cls: type) -> type:
    """Tell numba of the class of steppers."""

    @typeof_impl.register(cls)
    def typeof_stepper(value, c):
        return StepperType(from_dtype(value.dtype), from_dtype(value.x_dtype))

    return cls


@unbox(StepperType)
def _unbox(typ, value, c):
    held = c.pyapi.object_getattr_string(value, "_at")
    at = c.pyapi.long_as_longlong(held)
    c.pyapi.decref(held)
    return NativeValue(_read(c.context, c.builder, typ, at))


@lower_constant(StepperType)
def _constant(context, builder, typ, value):
    _frozen.append(value)
    at = context.add_dynamic_addr(builder, value._at, info="a stepper")  # which also keeps it out of numba's cache
    return _read(context, builder, typ, builder.ptrtoint(at, _I64))


def _read(context, builder, typ, at):
    made = cgutils.create_struct_proxy(typ)(context, builder)
    for k, name in enumerate(FIELDS):
        place = builder.add(at, ir.Constant(_I64, 8 * k))
        setattr(made, name, builder.load(builder.inttoptr(place, _I64.as_pointer())))
    return made._getvalue()


@intrinsic
def _address(typingctx, array):
    """Where an array's numbers start; 0 of None."""

    def codegen(context, builder, signature, args):
        if isinstance(array, types.NoneType):
            return ir.Constant(_I64, 0)
        data = cgutils.create_struct_proxy(array)(context, builder, args[0]).data
        return builder.ptrtoint(data, _I64)

    return types.int64(array), codegen


@intrinsic
def _advance(typingctx, function, program, run, x, y):
    """The runner's ``advance`` at an address, alone (see `rnncore.cpu.advance.runner`)."""

    def codegen(context, builder, signature, args):
        fn = builder.inttoptr(args[0], ir.FunctionType(_I64, [_I64] * 6).as_pointer())
        none = ir.Constant(_I64, 0)
        return builder.call(fn, [*args[1:], none, none])

    return types.int64(*[types.int64] * 5), codegen


def _check(what: str, given, dtype: types.Type, written: bool) -> None:
    fits = isinstance(given, types.Array) and given.dtype == dtype and given.layout == "C"
    if fits and (given.mutable or not written):
        return
    kind = "a writable C-contiguous" if written else "a C-contiguous"
    raise TypingError(f"{what} of a stepper's step must be {kind} {dtype} array, got {given}")


@overload_method(StepperType, "step")
def _step(stepper, run, x, y):
    _check("run", run, stepper.dtype, True)
    _check("y", y, stepper.dtype, True)
    without = isinstance(x, types.NoneType)
    if not without:
        _check("x", x, stepper.x, False)

    def impl(stepper, run, x, y):
        if run.size != stepper.size:
            raise ValueError("run is not of this stepper: it has another size")
        if (0 if without else x.size) != stepper.x_size:
            raise ValueError("x has not the size that this stepper reads")
        if y.size != stepper.y_size:
            raise ValueError("y has not the size that this stepper writes")
        if _advance(stepper._advance, stepper._program, _address(run), _address(x), _address(y)):
            raise ValueError("a token is out of range")
        return y

    return impl
