"""DLPack's exchange between stand-ins for arrays of a GPU: NumPy's capsules, which say that their memory is a device's.

What CuPy's ``from_dlpack`` and ``__dlpack__`` do with streams is done here with those of `rnncore.cuda.streams` (array
API standard, ``array.__dlpack__``: 1 is the legacy default stream, 2 the thread's own; -1 asks for no order, and 0 is
an error).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .streams import Stream, get_current_stream

__all__ = ["capsule_of", "host_of"]

_CPU, _CUDA = 1, 2  # of dlpack.h
_PLACES = {b"dltensor": 8, b"dltensor_versioned": 40}  # of the device's type in what a capsule holds
_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class _Capsule:
    """What NumPy reads a capsule of."""

    def __init__(self, capsule: Any):
        self.capsule = capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU, 0

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule


def _move(capsule: Any, wanted: int, to: int) -> None:
    """Let the memory of a capsule be of another device."""
    name = _name(capsule)
    place = _pointer(capsule, name) + _PLACES[name]
    kind = ctypes.c_int32.from_address(place)
    if kind.value != wanted:
        raise RuntimeError(f"a capsule with memory of the device {kind.value}, not {wanted}")
    kind.value = to


def capsule_of(host: np.ndarray, stream: int | None = None, max_version: tuple[int, int] | None = None) -> Any:
    """A capsule of a device array, in order for the stream that will read it, as ``cupy.ndarray.__dlpack__``."""
    if stream == 0:
        raise ValueError("stream 0 is ambiguous: 1 is the legacy default stream, 2 the thread's own")
    if stream != -1:
        Stream.at(1 if stream is None else stream).wait_event(get_current_stream().record())
    capsule = host.__dlpack__(max_version=max_version)
    _move(capsule, _CPU, _CUDA)
    return capsule


def host_of(value: Any) -> np.ndarray:
    """The memory behind a device array of another library, in order for the current stream, as ``cupy.from_dlpack``."""
    stream = get_current_stream().ptr or 1
    try:
        capsule = value.__dlpack__(stream=stream, max_version=(1, 0), copy=None)
    except TypeError:
        capsule = value.__dlpack__(stream=stream)
    _move(capsule, _CUDA, _CPU)
    return np.from_dlpack(_Capsule(capsule))
