"""A strict stand-in for CuPy over NumPy, for machines without a GPU: the module is the namespace, `ndarray` its array.

It does what CuPy does, and refuses what CuPy refuses: host and device arrays never meet, and nothing goes to the host
but by `asnumpy`, or as the one number of an array of size 1. Host memory plays the device's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .accesses import MemoryPointer, UnownedMemory, get_allocator, made, ran, using_allocator
from .standin_dlpack import capsule_of, host_of
from .streams import Event, Stream, get_current_stream

__all__ = ["Address", "asarray", "asnumpy", "cuda", "ndarray"]

cuda = SimpleNamespace(
    Event=Event, MemoryPointer=MemoryPointer, Stream=Stream, UnownedMemory=UnownedMemory, get_allocator=get_allocator,
    get_current_stream=get_current_stream, runtime=SimpleNamespace(getDevice=lambda: 0),
    using_allocator=using_allocator,
)  # fmt: skip

_NUMBERS = (bool, int, float, complex, np.generic)


class Address(int):
    """Where an array's numbers begin, and the memory that they are a part of, from `first` to `end`."""

    whole: np.ndarray
    first: int
    end: int

    def __new__(cls, host: np.ndarray) -> Address:
        whole = host
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        found = super().__new__(cls, host.ctypes.data)
        found.whole = whole
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
    device = property(lambda self: SimpleNamespace(id=0))
    T = property(lambda self: ndarray(self.host.T))
    data = property(lambda self: SimpleNamespace(ptr=Address(self.host)))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.host.__array_interface__, "version": 3, "stream": get_current_stream().ptr or 1}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None) -> Any:
        return capsule_of(self.host, stream, max_version)

    def __len__(self) -> int:
        return len(self.host)

    def __repr__(self) -> str:
        return f"device{self.host!r}"

    # to the host: one number, as CuPy allows, and nothing else
    def __bool__(self) -> bool:
        return bool(_read(self))

    def __int__(self) -> int:
        return int(_read(self))

    def __float__(self) -> float:
        return float(_read(self))

    def item(self) -> Any:
        return _read(self).item()

    def __array__(self, *_, **__):
        raise TypeError("a device array is not converted to a NumPy array implicitly: use asnumpy")

    # parts
    def __getitem__(self, at) -> ndarray:
        index = _index(at)
        found = self.host[index][...]
        if _within(found, [self.host]):
            return ndarray(found)
        ran([self.host, *_arrays(index)], [])
        return _new(found)

    def __setitem__(self, at, value) -> None:
        index, bare = _index(at), _bare(value)
        view = self.host[index]
        inside = isinstance(view, np.ndarray) and _within(view, [self.host])
        ran([*_arrays(index), *_arrays(bare)], [view if inside else self.host])
        self.host[index] = bare

    # NumPy's functions and operators, among device arrays and numbers
    def __array_ufunc__(self, ufunc, method, *inputs, **given):
        if method != "__call__":
            raise TypeError(f"{ufunc.__name__}.{method} is not there for device arrays")
        return _called(getattr(ufunc, method), *inputs, **given)

    def fill(self, value) -> None:
        self[...] = value

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


def _read(value: ndarray) -> np.ndarray:
    """The memory behind an array, whose stream the host has waited for."""
    ran([value.host], [])
    get_current_stream().synchronize()
    return value.host


def _arrays(value) -> Iterator[np.ndarray]:
    """NumPy arrays in lists and alone."""
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _arrays(part)
    elif isinstance(value, np.ndarray):
        yield value


def _within(found: Any, given: list[np.ndarray]) -> bool:
    """Whether an array is a view of one of the others, in whose memory nothing happens then."""
    return any(np.may_share_memory(found, host) for host in given)


def _wrapped(value):
    if isinstance(value, (tuple, list)):
        return type(value)(map(_wrapped, value))
    return _new(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def _new(host: np.ndarray) -> ndarray:
    """An array in memory that the current stream is given."""
    made(host)
    return ndarray(host)


def _called(function: Callable, *args, **given):
    if given.get("shape", None) == ():
        raise TypeError("CuPy takes shape=() for none at all: give (1,), and reshape")
    args, given = tuple(map(_bare, args)), {k: _bare(v) for k, v in given.items()}
    found, reads, out = function(*args, **given), [*_arrays(args)], [*_arrays(given.get("out"))]
    if isinstance(found, np.ndarray) and not out and _within(found, reads):
        return ndarray(found)
    ran([*reads, *_arrays(tuple(v for k, v in given.items() if k != "out"))], out)
    return _wrapped(found)


def _operator(ufunc: np.ufunc, turned: bool = False) -> Callable:
    def apply(self, other):
        if not isinstance(other, (ndarray, *_NUMBERS)):
            _bare(other)
            return NotImplemented
        pair = (other, self) if turned else (self, other)
        return _called(ufunc, *pair)

    return apply


def _in_place(ufunc: np.ufunc) -> Callable:
    def apply(self, other):
        _called(ufunc, self, other, out=self)
        return self

    return apply


def _unary(ufunc: np.ufunc) -> Callable:
    return lambda self: _called(ufunc, self)


def _method(name: str) -> Callable:
    def apply(host, *args, **given):
        return getattr(host, name)(*args, **given)

    return lambda self, *args, **given: _called(apply, self, *args, **given)


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
    "all", "any", "argmax", "argsort", "astype", "copy", "cumsum", "dot", "max", "mean", "min", "ravel",
    "reshape", "sum", "swapaxes", "transpose", "view",
):  # fmt: skip
    setattr(ndarray, _name, _method(_name))


# the namespace
def asarray(value, dtype=None) -> ndarray:
    """A device array of a host array or of numbers, by a copy; a device array as it is."""
    if isinstance(value, ndarray):
        return value if dtype is None or value.dtype == dtype else _called(np.asarray, value, dtype)
    if hasattr(value, "__cuda_array_interface__"):
        return _described(value)
    return _new(np.array(value, dtype))


def _described(value: Any) -> ndarray:
    """An array in memory that an object describes, whose stream CuPy's host would wait for."""
    described = value.__cuda_array_interface__
    if described.get("mask") is not None:
        raise ValueError("CuPy currently does not support masked arrays.")
    if described.get("stream") is not None:
        raise ValueError("the host would wait")
    seen = {**described, "version": 3}
    return ndarray(np.asarray(SimpleNamespace(__array_interface__=seen, owner=value)))


def from_dlpack(value: Any) -> ndarray:
    """An array in the memory of another library's."""
    return ndarray(host_of(value))


def asnumpy(value: ndarray) -> np.ndarray:
    """A copy on the host."""
    return _read(value).copy()


def ascontiguousarray(value, dtype=None) -> ndarray:
    """As `asarray`, C-contiguous."""
    if isinstance(value, ndarray):
        return _called(np.ascontiguousarray, value, dtype)
    return _new(np.array(value, dtype, order="C"))


def empty(shape, dtype=float) -> ndarray:
    """Memory that holds anything: what is no number, where it may."""
    host = np.empty(shape, dtype)
    if host.dtype.kind == "f":
        host.fill(np.nan)
    return _new(host)


def _made(name: str) -> Callable:
    """A function of NumPy's that makes an array from numbers, or works on device arrays."""
    return lambda *args, **given: _called(getattr(np, name), *args, **given)


for _name in (
    "abs", "arange", "argsort", "broadcast_to", "concatenate", "divide", "empty_like", "exp", "eye", "full",
    "isfinite", "log", "maximum", "minimum", "ones", "ones_like", "pad", "repeat", "searchsorted", "stack", "sqrt",
    "take", "take_along_axis", "where", "zeros", "zeros_like",
):  # fmt: skip
    globals()[_name] = _made(_name)
