"""The GPU as a backend (see `rnncore.backends.Backend`): arrays are CuPy's, or its stand-in's where it is simulated."""

from __future__ import annotations

from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..errors import InputError
from ..rounding import Rounding
from . import target
from .arrays import array_type, get, shown_as, taken
from .back import loop_backward
from .beside import beside
from .checkpoint import checkpointed_forward
from .dense import affine, affine_backward
from .driver import lost
from .run import loop_forward, prepare
from .space import put, xp

__all__ = [
    "affine", "affine_backward", "array_type", "beside", "check", "checkpointed_forward", "device", "empty", "get",
    "index", "loop_backward", "loop_forward", "prepare", "put", "rounding", "shown_as", "taken", "xp", "zeros",
]  # fmt: skip

device = "cuda"
_TENSOR_CORES = (8, 0)  # the least capability whose tensor cores take tf32 and bfloat16


def check() -> None:
    """What is said of a device before anything is computed.

    Raises
    ------
    InputError
        The process was forked from one that uses the device; or the current stream is captured in a graph, which would
        go on to use memory that a call has given back.
    """
    reason = None if target.simulated else lost()
    if reason is None and _captured():
        reason = "its current stream is captured in a CUDA graph, of which no call can be a part"
    if reason is not None:
        raise InputError(f"device 'cuda' is not available: {reason}")


def _captured() -> bool:
    try:
        return xp.cuda.get_current_stream().is_capturing()
    except RuntimeError as error:  # the legacy stream would join the capture of one that it waits for
        if "capture" not in str(error).lower():
            raise
        return True


def empty(shape: tuple[int, ...], dtype) -> Any:
    """As ``numpy.empty``, on the device."""
    return xp.empty(shape, dtype)


def zeros(shape: tuple[int, ...], dtype) -> Any:
    """As ``numpy.zeros``, on the device."""
    return xp.zeros(shape, dtype)


def index(host: np.ndarray) -> Any:
    """A copy of `host` on the device."""
    return put(host)


def rounding(kind: Rounding) -> Any:
    """This backend, with kernels and products of the library that may round so.

    Raises
    ------
    InputError
        The current device has no tensor cores for it.
    """
    return _rounding(kind, target.properties())


@lru_cache(maxsize=8)
def _rounding(kind: Rounding, has: target.Properties) -> Any:
    if kind.products and has.capability < _TENSOR_CORES:
        needs, got = (f"{major}.{minor}" for major, minor in (_TENSOR_CORES, has.capability))
        raise InputError(
            f"products={kind.products!r} needs tensor cores of compute capability {needs} or more, {has.name} has {got}"
        )
    here = {name: globals()[name] for name in __all__}
    products = {f.__name__: partial(f, products=kind.products) for f in (affine, affine_backward)}
    loops = {f.__name__: partial(f, rounding=kind) for f in (beside, prepare)}
    return SimpleNamespace(**here | products | loops)
