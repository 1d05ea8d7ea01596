"""The arrays of the device: CuPy's, or those of its stand-in where the device is simulated."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from . import target

__all__ = ["Stay", "after", "here", "mark", "put", "xp"]

xp: Any = importlib.import_module(".standin" if target.simulated else "cupy", __package__)


def put(host: np.ndarray) -> Any:
    """A copy of a host array on the device."""
    return xp.asarray(host)


def here() -> int:
    """The number of the current device."""
    return xp.cuda.runtime.getDevice()


def mark() -> Any:
    """What the current stream has been given so far (see `after`)."""
    return xp.cuda.get_current_stream().record()


def after(mark: Any) -> None:
    """Let the current stream wait for what a stream had been given."""
    xp.cuda.get_current_stream().wait_event(mark)


class Stay:
    """A copy of a host array on the device that work of any stream reads, and of any thread.

    Parameters
    ----------
    host : ndarray
    shared : bool
        Whether other calls read it as well. Its memory is then not the pool's, which would give it to the next in the
        stream that it was made on, whatever another still reads: what is freed without a pool waits for the device.
    """

    def __init__(self, host: np.ndarray, shared: bool = True):
        if shared:
            with xp.cuda.using_allocator(None):
                self._array = put(host)
        else:
            self._array = put(host)
        self._made: Any = mark()

    def array(self) -> Any:
        """The array, for the current stream: that has to wait until it is there."""
        made = self._made
        if made is not None:
            if made.done:
                self._made = None
            else:
                after(made)
        return self._array
