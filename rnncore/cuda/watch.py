"""Races of a simulated kernel: two threads at one number, one of them writing, and no barrier that orders them.

Each thread has a vector clock (Mattern 1989): how much of every thread's past it has been told of. A barrier of a block
tells all of its threads all of it, an arrival at a counter tells those who wait for that count. What is not told is not
ordered, whatever order the threads happened to run in: one run finds the races of all (Flanagan and Freund 2009).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from .running import now

__all__ = ["Race", "Watch", "Watched"]


class Race(RuntimeError):
    """Two threads are at one number, one of them writes, and nothing orders them."""


class Watch:
    """What the threads of a launch know of one another, and who was last at which number."""

    def __init__(self, blocks: int, threads: int):
        self.threads = threads
        many = blocks * threads
        self.clocks = [[int(a == b) for b in range(many)] for a in range(many)]
        self.writes: dict[int, tuple[int, int, int]] = {}  # address: thread, its time, line
        self.reads: dict[int, dict[int, tuple[int, int]]] = {}  # address: thread: its time, line
        self._arrivals: dict[tuple[int, int], list[int]] = {}

    def number(self, block: int, thread: int) -> int:
        return block * self.threads + thread

    def met(self, block: int, threads: Iterable[int]) -> None:
        """Threads of a block have met: each knows what any of them knew."""
        numbers = [self.number(block, thread) for thread in threads]
        known = [max(times) for times in zip(*[self.clocks[one] for one in numbers])]
        for one in numbers:
            self.clocks[one] = known.copy()
            self.clocks[one][one] += 1

    def arrived(self, block: int, thread: int, slot: int, count: int) -> None:
        """A thread has raised the counter of `slot` to `count`, on top of all arrivals before."""
        one = self.number(block, thread)
        before = self._arrivals.get((slot, count - 1), [0] * len(self.clocks))
        self._arrivals[slot, count] = [max(times) for times in zip(before, self.clocks[one])]
        self.clocks[one][one] += 1

    def told(self, block: int, thread: int, slot: int, count: int) -> None:
        """A thread has seen that the counter of `slot` is `count` at least: of later arrivals it may not know."""
        one = self.number(block, thread)
        told = self._arrivals.get((slot, count), self.clocks[one])
        self.clocks[one] = [max(times) for times in zip(self.clocks[one], told)]

    def read(self, name: str, address: int, index: int) -> None:
        one, line = self.number(now.block, now.thread), _line()
        last = self.writes.get(address)
        if last is not None and self.clocks[one][last[0]] < last[1]:
            raise self._race(name, index, (last[0], last[2], "writes"), (one, line, "reads"))
        self.reads.setdefault(address, {})[one] = self.clocks[one][one], line

    def write(self, name: str, address: int, index: int) -> None:
        one, line = self.number(now.block, now.thread), _line()
        known = self.clocks[one]
        last = self.writes.get(address)
        if last is not None and known[last[0]] < last[1]:
            raise self._race(name, index, (last[0], last[2], "writes"), (one, line, "writes"))
        for reader, (time, at) in self.reads.pop(address, {}).items():
            if known[reader] < time:
                raise self._race(name, index, (reader, at, "reads"), (one, line, "writes"))
        self.writes[address] = one, known[one], line

    def _race(self, name: str, index: int, *both: tuple[int, int, str]) -> Race:
        told = [f"thread {one % self.threads} of block {one // self.threads} {does} it at line {line}"
                for one, line, does in both]  # fmt: skip
        return Race(f"{name}[{index}]: {' and '.join(told)}, and no barrier is between them")


def _line() -> int:
    """The line of the kernel's text that is at work."""
    frame: Any = sys._getframe(2)
    while not frame.f_code.co_filename.startswith("<kernel"):
        frame = frame.f_back
    return frame.f_lineno


class Watched:
    """A vector whose numbers are watched; what is stored must be of its own type, as on a device."""

    def __init__(self, watch: Watch, name: str, host: Any):
        self._watch, self._name = watch, name
        self._kind: Any = int if host.dtype.kind == "i" else host.dtype.type
        self._values: Any = memoryview(host) if self._kind is int else host
        self._base, self._item = host.ctypes.data, host.itemsize

    def __len__(self) -> int:
        return len(self._values)

    def _checked(self, i: int) -> int:
        if not 0 <= i < len(self._values):
            raise IndexError(f"{self._name}[{i}], of {len(self._values)}")
        return self._base + i * self._item

    def words(self, i: int, many: int) -> Any:
        """Neighbours as they lie there, whose halves may have been written apart."""
        for k in range(i, i + many):
            address = self._checked(k)
            self._watch.read(self._name, address, k)
            self._watch.read(self._name, address + self._item // 2, k)
        return self._values[i : i + many]

    def set_part(self, i: int, kind: Any, bits: int) -> None:
        """Set a part of the vector seen as one of another type."""
        size = np.dtype(kind).itemsize
        k = i * size // self._item
        self._watch.write(self._name, self._checked(k) + i * size % self._item, k)
        self._values.view(kind)[i] = bits

    def __getitem__(self, i: int) -> Any:
        self._watch.read(self._name, self._checked(i), i)
        return self._values[i]

    def __setitem__(self, i: int, value: Any) -> None:
        if type(value) is not self._kind:
            raise TypeError(f"{self._name}[{i}] takes {self._kind.__name__}, got {type(value).__name__}")
        self._watch.write(self._name, self._checked(i), i)
        self._values[i] = value
