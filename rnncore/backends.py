"""Where numbers are: what the face asks of the code of a device, and arrays told apart by their device."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from .errors import InputError
from .rounding import EXACT, Rounding

__all__ = ["Backend", "add", "backend_of", "chosen", "device_of", "indexed", "namespace", "zeros_beside"]

_MODULES = {"cpu": ".cpu.backend", "cuda": ".cuda.backend"}
_NEEDS = {"cuda": ".cuda.target"}  # where a function `missing` says what is not there
_HOST = (1, 3, 11, 13)  # what DLPack calls memory that the host reads: CPU, pinned by CUDA or ROCm, managed


class Backend(Protocol):
    """What a device offers; a module is one.

    Attributes
    ----------
    device : str
    xp : namespace
        NumPy's functions for its arrays.
    array_type : type
        Of its arrays.
    """

    device: str
    xp: Any
    array_type: type
    check: Callable[[], None]  # an InputError where nothing can be computed now
    empty: Callable[..., Any]  # (shape, dtype)
    zeros: Callable[..., Any]
    put: Callable[[np.ndarray], Any]  # a copy of a host array on the device
    get: Callable[[Any], np.ndarray]  # and back
    taken: Callable[[Any, str], Any]  # its array of an array of the device, without a copy; what is not one: as it is
    index: Callable[[np.ndarray], Any]  # what indexes its arrays, from integers on the host
    shown_as: Callable[[Any], Callable[[Any], Any] | None]  # how results are shown to who gave an array; None: as is
    prepare: Callable[..., Any]
    loop_forward: Callable[..., Any]
    loop_backward: Callable[..., Any]
    checkpointed_forward: Callable[..., Any]
    # (loops of each block, which, layout, dtype): within, a function whose contexts, in turn, are those of blocks that
    # need nothing of one another
    beside: Callable[..., AbstractContextManager[Callable[[], AbstractContextManager[Any]]]]
    affine: Callable[..., Any]
    affine_backward: Callable[..., Any]


_loaded: dict[str, Any] = {}


def add(backend: Any) -> None:
    """Make a backend known under its device."""
    _loaded[backend.device] = backend


def backend_of(device: str, rounding: Rounding = EXACT) -> Backend:
    """The backend of a device, which may round so in its loops.

    Raises
    ------
    InputError
        There is no such device, or something is missing to use it: the text says what to install; or nothing can be
        computed on it here and now.
    """
    found = _loaded.get(device)
    if found is None:
        if device not in _MODULES:
            raise InputError(f"device must be one of {', '.join(map(repr, _MODULES))}, got {device!r}")
        if device in _NEEDS:
            reason = importlib.import_module(_NEEDS[device], __package__).missing()
            if reason is not None:
                raise InputError(f"device {device!r} is not available: {reason}")
        found = _loaded[device] = importlib.import_module(_MODULES[device], __package__)
    found.check()
    return found.rounding(rounding) if any(rounding) else found


def namespace(backend: Backend | None) -> Any:
    """NumPy's functions for the arrays of a backend; None is the host."""
    return np if backend is None else backend.xp


def device_of(value: Any) -> str | None:
    """The device that an array is on; None for what is no array of a device: it can be read on the host."""
    if isinstance(value, np.ndarray):
        return None
    for backend in list(_loaded.values()):
        if isinstance(value, backend.array_type):
            return backend.device
    if hasattr(value, "__dlpack_device__"):
        kind = int(value.__dlpack_device__()[0])
        return None if kind in _HOST else "cuda" if kind == 2 else f"the device that DLPack numbers {kind}"
    return "cuda" if hasattr(value, "__cuda_array_interface__") else None


def indexed(array: Any, host: np.ndarray) -> Any:
    """What indexes `array`, from integers on the host."""
    if type(array) is np.ndarray:
        return host
    device = device_of(array)
    return host if device is None else backend_of(device).index(host)


def chosen(array: Any, flags: np.ndarray) -> Any:
    """The elements of an array where the flags, of its leading axes and on the host, are set."""
    if type(array) is np.ndarray:
        return array[flags]
    flat = array.reshape(-1, *array.shape[flags.ndim :])
    return flat[indexed(flat, np.flatnonzero(flags))]


def zeros_beside(array: Any, shape: tuple[int, ...]) -> Any:
    """C-contiguous zeros of the kind and dtype of an array."""
    return np.zeros_like(array, order="C", shape=shape)
