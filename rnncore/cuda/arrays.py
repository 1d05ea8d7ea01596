"""Arrays in and out: device arrays of any library are taken without a copy, and results are given as the same kind.

The order of work is kept between the streams of both libraries, and the host waits for nothing: DLPack's exchange lets
the reader's stream wait for the writer's (array API standard, ``__dlpack__``), and where there is only
``__cuda_array_interface__``, version 3, an event on the stream that it names does. Everything of ours runs on CuPy's
current stream.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..errors import InputError
from .space import after, here, xp

__all__ = ["array_type", "get", "shown_as", "taken"]

array_type: Any = xp.ndarray
get: Callable[[Any], np.ndarray] = xp.asnumpy
_HOST, _DEVICES = (1, 3, 11), (2, 13)  # what DLPack calls memory of the host, and what CUDA's devices read


class _Interface:
    """Memory that an object describes, without its stream: who reads it has seen to the order itself."""

    def __init__(self, owner: Any, described: dict[str, Any]):
        self.owner = owner
        self.__cuda_array_interface__ = {**described, "stream": None}


def _on_a_device(value: Any) -> bool:
    """Whether an array that is not ours may be on a device."""
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__dlpack_device__"):
        return int(value.__dlpack_device__()[0]) not in _HOST
    return hasattr(value, "__cuda_array_interface__")


def taken(value: Any, what: str) -> Any:
    """Our array of a device array, in the same memory; what is no array of a device as it is.

    Raises
    ------
    InputError
        The array is on another device, or its library does not hand it out.
    """
    found = value
    if not isinstance(value, array_type):
        if not _on_a_device(value):
            return value
        try:
            found = _shared(value, what) if hasattr(value, "__dlpack_device__") else _described(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            kind = f"{type(value).__module__}.{type(value).__name__}"
            raise InputError(f"{what} cannot be taken from {kind}: {error}") from None
    number = found.device.id
    if number != here():
        place = f"on device {number}, the current one is {here()}"
        raise InputError(f"{what} is {place}: make the other current, or move the array")
    return found


def _shared(value: Any, what: str) -> Any:
    kind, number = map(int, value.__dlpack_device__())
    if kind not in _DEVICES or number != here():
        place = f"device {number}" if kind in _DEVICES else f"what DLPack numbers {kind}"
        raise InputError(
            f"{what} is a {type(value).__name__} on {place}, the parameters are on the device {here()}: "
            "move it there, or give an array of the host, which is copied"
        )
    return xp.from_dlpack(value)


def _described(value: Any) -> Any:
    """Of an object with ``__cuda_array_interface__`` alone."""
    described = value.__cuda_array_interface__
    stream = described.get("stream")
    if stream == 0:
        raise ValueError("its stream is 0, which is ambiguous: 1 is the legacy default stream, 2 the thread's own")
    if stream is not None:
        given = xp.cuda.Event(disable_timing=True)
        given.record(SimpleNamespace(ptr=stream))  # an object of CuPy's for it would be its owner
        after(given)
    return xp.asarray(_Interface(value, described))


def shown_as(value: Any) -> Callable[[Any], Any] | None:
    """How results are shown to who gave `value`, an array or a mapping or list of some; None: as they are.

    Who gave arrays of the host, lists or nothing gets NumPy arrays, and waits for them.
    """
    while isinstance(value, (Mapping, list, tuple)) and len(value):
        value = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
    if isinstance(value, array_type):
        return None
    return _from_dlpack(value) if _on_a_device(value) else get


def _from_dlpack(value: Any) -> Callable[[Any], Any] | None:
    """The function by which an array's library takes those of others; None where it has none: it reads ours as is."""
    if hasattr(value, "__array_namespace__"):
        return value.__array_namespace__().from_dlpack
    library = sys.modules.get(type(value).__module__.partition(".")[0])
    return getattr(library, "from_dlpack", None)
