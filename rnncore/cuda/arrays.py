"""Arrays in and out: device arrays of any library are taken without a copy, and results are given as the same kind.

The order of work is kept between the streams of both libraries, and the host waits for nothing: DLPack's exchange lets
the reader's stream wait for the writer's (array API standard, ``__dlpack__``), and where there is only
``__cuda_array_interface__``, version 3, an event on the stream that it names does. Everything of ours runs on CuPy's
current stream.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from . import target
from .space import here, xp

__all__ = ["array_type", "get", "shown_as", "taken"]

array_type: Any = xp.ndarray
get: Callable[[Any], np.ndarray] = xp.asnumpy


class _Stream:
    """A stream's handle, as CUDA's Python packages hand streams to one another."""

    def __init__(self, handle: int):
        self.handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


class _Interface:
    """Memory that an object describes, without its stream: who reads it has seen to the order itself."""

    def __init__(self, owner: Any, described: dict[str, Any]):
        self.owner = owner
        self.__cuda_array_interface__ = {**described, "stream": None}
        self.__array_interface__ = {**described, "version": 3}  # where its memory plays the device


def taken(value: Any, what: str) -> Any:
    """Our array of a device array, in the same memory; what is no array of a device as it is.

    Raises
    ------
    InputError
        The array is on another device, or its library does not hand it out.
    """
    if isinstance(value, array_type) and not target.simulated and value.device.id != here():
        place = f"on device {value.device.id}, the current one is {here()}"
        raise InputError(f"{what} is {place}: make the other current, or move the array")
    if isinstance(value, (array_type, np.ndarray)):
        return value
    shares = hasattr(value, "__dlpack_device__")
    if not shares and not hasattr(value, "__cuda_array_interface__"):
        return value
    try:
        if not shares:
            return _described(value)
        return _simulated(value) if target.simulated else _shared(value, what)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        kind = f"{type(value).__module__}.{type(value).__name__}"
        raise InputError(f"{what} cannot be taken from {kind}: {error}") from None


def _simulated(value: Any) -> Any:
    return xp.ndarray(np.from_dlpack(value))


def _shared(value: Any, what: str) -> Any:
    kind, number = map(int, value.__dlpack_device__())
    here = int(xp.cuda.runtime.getDevice())
    if kind not in (2, 13) or number != here:
        place = "on the host" if kind not in (2, 13) else f"on device {number}"
        raise InputError(
            f"{what} is a {type(value).__name__} {place}, the parameters are on the device {here}: "
            "move it there, or give a NumPy array, which is copied"
        )
    return xp.from_dlpack(value)


def _described(value: Any) -> Any:
    """Of an object with ``__cuda_array_interface__`` alone."""
    described = value.__cuda_array_interface__
    if target.simulated:
        return xp.ndarray(np.asarray(_Interface(value, described)))
    stream = described.get("stream")
    if stream is not None:
        xp.cuda.get_current_stream().wait_event(xp.cuda.Stream.from_external(_Stream(stream)).record())
    return xp.asarray(_Interface(value, described))


def shown_as(value: Any) -> Callable[[Any], Any] | None:
    """How results are shown to who gave `value`, an array or a mapping or list of some; None: as they are.

    Who gave NumPy arrays, lists or nothing gets NumPy arrays, and waits for them.
    """
    while isinstance(value, (Mapping, list, tuple)) and len(value):
        value = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
    if isinstance(value, array_type):
        return None
    shares = hasattr(value, "__dlpack_device__")
    if isinstance(value, np.ndarray) or not shares and not hasattr(value, "__cuda_array_interface__"):
        return get
    made = _from_dlpack(value)
    if made is None:
        return None
    return (lambda array: made(array.host)) if target.simulated else made


def _from_dlpack(value: Any) -> Callable[[Any], Any] | None:
    """The function by which an array's library takes those of others; None where it has none: it reads ours as is."""
    if hasattr(value, "__array_namespace__"):
        return value.__array_namespace__().from_dlpack
    library = sys.modules.get(type(value).__module__.partition(".")[0])
    return getattr(library, "from_dlpack", None)
