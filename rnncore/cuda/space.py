"""The arrays of the device: CuPy's, or those of its stand-in where the device is simulated."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from . import target

__all__ = ["after", "here", "mark", "put", "put_to_stay", "xp"]

xp: Any = importlib.import_module(".standin" if target.simulated else "cupy", __package__)


def put(host: np.ndarray) -> Any:
    """A copy of a host array on the device."""
    return xp.asarray(host)


def put_to_stay(host: np.ndarray) -> Any:
    """A copy of a host array on the device for calls on any stream: it is there before this returns."""
    made = put(host)
    if not target.simulated:
        xp.cuda.get_current_stream().synchronize()
    return made


def here() -> int:
    """The number of the current device."""
    return 0 if target.simulated else xp.cuda.runtime.getDevice()


def mark() -> Any:
    """What the current stream has been given so far (see `after`)."""
    return None if target.simulated else xp.cuda.get_current_stream().record()


def after(mark: Any) -> None:
    """Let the current stream wait for what a stream had been given."""
    if mark is not None:
        xp.cuda.get_current_stream().wait_event(mark)
