"""The device: what it offers, kernels' texts made ready to be launched on it, and what is missing to use it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from .simulator import Simulated

__all__ = ["Properties", "load", "properties", "simulated"]

simulated: bool = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


@dataclass(frozen=True)
class Properties:
    """What a device offers.

    Attributes
    ----------
    name : str
    capability : tuple of int
        The compute capability, as (9, 0).
    multiprocessors : int
        Each runs at least one block at a time.
    shared_bytes : int
        The most shared memory that a block can have.
    threads : int
        The most threads that a block can have.
    memory_bytes : int
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    threads: int
    memory_bytes: int


def properties() -> Properties:
    """What the device offers that kernels are launched on."""
    return Properties("simulator", (9, 0), 3, 65536, 8, 1 << 30)


@cache
def load(text: str) -> Simulated:
    """The kernel of a text, ready to be launched."""
    return Simulated(text)
