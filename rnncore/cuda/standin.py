"""A strict stand-in for CuPy over NumPy, for machines without a GPU: the module is the namespace, `ndarray` its array.

It does what CuPy does, and refuses what CuPy refuses: host and device arrays never meet, and nothing goes to the host
but by `asnumpy`, or as the one number of an array of size 1. Host memory plays the device's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["Address", "asarray", "asnumpy", "ndarray"]

_NUMBERS = (bool, int, float, complex, np.generic)


class Address(int):
    """Where an array's numbers begin, and the memory that they are a part of, from `first` to `end`."""

    first: int
    end: int

    def __new__(cls, host: np.ndarray) -> Address:
        whole = host
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        found = super().__new__(cls, host.ctypes.data)
        found.first, found.end = np.lib.array_utils.byte_bounds(whole)
        return found


class ndarray:
    """An array on the pretended device: `host` is the NumPy array that plays its memory."""

    __slots__ = ("host", "__weakref__")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray):
        self.host = host

    # what it is
    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    nbytes = property(lambda self: self.host.nbytes)
    itemsize = property(lambda self: self.host.itemsize)
    strides = property(lambda self: self.host.strides)
    flags = property(lambda self: self.host.flags)
    T = property(lambda self: ndarray(self.host.T))
    data = property(lambda self: SimpleNamespace(ptr=Address(self.host)))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.host.__array_interface__, "version": 3, "stream": None}

    def __len__(self) -> int:
        return len(self.host)

    def __repr__(self) -> str:
        return f"device{self.host!r}"

    # to the host: one number, as CuPy allows, and nothing else
    def __bool__(self) -> bool:
        return bool(self.host)

    def __int__(self) -> int:
        return int(self.host)

    def __float__(self) -> float:
        return float(self.host)

    def item(self) -> Any:
        return self.host.item()

    def __array__(self, *_, **__):
        raise TypeError("a device array is not converted to a NumPy array implicitly: use asnumpy")

    # parts
    def __getitem__(self, at) -> ndarray:
        return ndarray(self.host[_index(at)][...])

    def __setitem__(self, at, value) -> None:
        self.host[_index(at)] = _bare(value)

    # NumPy's functions and operators, among device arrays and numbers
    def __array_ufunc__(self, ufunc, method, *inputs, **given):
        if method != "__call__":
            raise TypeError(f"{ufunc.__name__}.{method} is not there for device arrays")
        return _wrapped(getattr(ufunc, method)(*map(_bare, inputs), **{k: _bare(v) for k, v in given.items()}))

    def __array_function__(self, function, types, args, given):
        return _called(function, *args, **given)


def _index(at):
    """An index without host arrays."""
    if isinstance(at, tuple):
        return tuple(map(_index, at))
    if isinstance(at, (np.ndarray, list)):
        raise TypeError("a device array is indexed by device arrays, integers and slices, not by host arrays")
    return at.host if isinstance(at, ndarray) else at


def _bare(value):
    """What stands behind device arrays and numbers, in lists too."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError(f"a host array of shape {value.shape} meets a device array")
    if isinstance(value, (list, tuple)):
        return type(value)(map(_bare, value))
    return value


def _wrapped(value):
    if isinstance(value, (tuple, list)):
        return type(value)(map(_wrapped, value))
    return ndarray(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def _called(function: Callable, *args, **given):
    if given.get("shape", None) == ():
        raise TypeError("CuPy takes shape=() for none at all: give (1,), and reshape")
    return _wrapped(function(*map(_bare, args), **{k: _bare(v) for k, v in given.items()}))


def _operator(ufunc: np.ufunc, turned: bool = False) -> Callable:
    def apply(self, other):
        if not isinstance(other, (ndarray, *_NUMBERS)):
            _bare(other)
            return NotImplemented
        pair = (other, self) if turned else (self, other)
        return _wrapped(ufunc(*map(_bare, pair)))

    return apply


def _in_place(ufunc: np.ufunc) -> Callable:
    def apply(self, other):
        ufunc(self.host, _bare(other), out=self.host)
        return self

    return apply


def _unary(ufunc: np.ufunc) -> Callable:
    return lambda self: _wrapped(ufunc(self.host))


def _method(name: str) -> Callable:
    return lambda self, *args, **given: _called(getattr(self.host, name), *args, **given)


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power, "mod": np.remainder,
    "floordiv": np.floor_divide, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
    setattr(ndarray, f"__r{_name}__", _operator(_ufunc, turned=True))
    setattr(ndarray, f"__i{_name}__", _in_place(_ufunc))
for _name, _ufunc in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in {"neg": np.negative, "abs": np.absolute, "invert": np.invert}.items():
    setattr(ndarray, f"__{_name}__", _unary(_ufunc))
for _name in (
    "all", "any", "argmax", "argsort", "astype", "copy", "cumsum", "dot", "fill", "max", "mean", "min", "ravel",
    "reshape", "sum", "swapaxes", "transpose", "view",
):  # fmt: skip
    setattr(ndarray, _name, _method(_name))


# the namespace
def asarray(value, dtype=None) -> ndarray:
    """A device array of a host array or of numbers, by a copy; a device array as it is."""
    if isinstance(value, ndarray):
        return value if dtype is None or value.dtype == dtype else ndarray(value.host.astype(dtype))
    return ndarray(np.array(value, dtype))


def asnumpy(value: ndarray) -> np.ndarray:
    """A copy on the host."""
    return value.host.copy()


def ascontiguousarray(value, dtype=None) -> ndarray:
    """As `asarray`, C-contiguous."""
    if isinstance(value, ndarray):
        return ndarray(np.ascontiguousarray(value.host, dtype))
    return ndarray(np.array(value, dtype, order="C"))


def empty(shape, dtype=float) -> ndarray:
    """Memory that holds anything: what is no number, where it may."""
    made = np.empty(shape, dtype)
    if made.dtype.kind == "f":
        made.fill(np.nan)
    return ndarray(made)


def _made(name: str) -> Callable:
    """A function of NumPy's that makes an array from numbers, or works on device arrays."""
    return lambda *args, **given: _called(getattr(np, name), *args, **given)


for _name in (
    "abs", "arange", "argsort", "broadcast_to", "concatenate", "divide", "empty_like", "exp", "eye", "full",
    "isfinite", "log", "maximum", "minimum", "ones", "ones_like", "pad", "repeat", "searchsorted", "stack", "sqrt",
    "take", "take_along_axis", "where", "zeros", "zeros_like",
):  # fmt: skip
    globals()[_name] = _made(_name)
