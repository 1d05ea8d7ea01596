"""What a block's run is given, and what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Launched", "Usage"]


@dataclass(frozen=True)
class Launched:
    """A block's place in a launch, and what of the launch its addresses depend on."""

    numbers: np.ndarray  # the int64 array
    chunk: int
    block: int
    blocks: int
    threads: int
    barrier: float  # cycles for blocks to meet
    multiply_adds: float  # of float32 numbers, that one multiprocessor does in a cycle
    l2_bytes: float  # that it reads in a cycle
    near_bytes: int  # of its own cache
    tensor: float = 1024.0  # multiply-adds that its tensor cores do in a cycle


@dataclass
class Usage:
    """What has been used since the launch began."""

    cycles: float = 0.0
    slots: float = 0.0  # of the four schedulers together
    float32: float = 0.0  # additions, products and both at once, of warps
    wavefronts: float = 0.0  # of the load unit
    l2_bytes: float = 0.0
    tensor: float = 0.0  # multiply-adds of tensor cores
    bound: Counter = field(default_factory=Counter)  # cycles by what they were spent on

    def minus(self, other: Usage, times: float) -> Usage:
        """The difference of two, divided by `times`."""
        pairs = (self.counts() - other.counts()) / times
        bound = Counter({k: (v - other.bound[k]) / times for k, v in self.bound.items()})
        return Usage((self.cycles - other.cycles) / times, *pairs.tolist(), bound)

    def counts(self) -> np.ndarray:
        """What has been used but time."""
        return np.array([self.slots, self.float32, self.wavefronts, self.l2_bytes, self.tensor])

    def add(self, counts: np.ndarray) -> None:
        """Add to what has been used."""
        self.slots, self.float32, self.wavefronts, self.l2_bytes, self.tensor = (self.counts() + counts).tolist()
