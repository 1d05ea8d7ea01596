"""Stand-ins for CuPy's memory, and who was where in it: work that nothing orders is found, whatever happens first.

Numbers are never wrong in the simulator, where what is given to a stream runs at once. Within `watched` two accesses
of one number, one of them a write, are an error where the later stream does not know of the earlier
(`rnncore.cuda.streams`), and so is memory that the pool gives to a stream that does not know all that was done with it
before: any block freed on a stream may be what comes next.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakValueDictionary, finalize

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .streams import TIME, Clock, get_current_stream, merge

__all__ = ["MemoryPointer", "StreamRace", "UnownedMemory", "get_allocator", "made", "ran", "using_allocator", "watched"]

_watching: ContextVar[bool] = ContextVar("watching", default=os.environ.get("RNNCORE_CUDASIM") == "watch")
_lock = threading.RLock()
_local = threading.local()


class StreamRace(RuntimeError):
    """Work of two streams on the same memory that nothing orders."""


# memory
class _Pooled:
    """Memory of the pool, which may be any that was freed on its stream before."""

    _places = itertools.count(1 << 20, 512)
    known: WeakValueDictionary[int, _Pooled] = WeakValueDictionary()

    def __init__(self, arena: Clock | None):
        self.arena, self.uses, self.ptr = arena, dict(arena or {}), next(self._places)
        self.known[self.ptr] = self

    def __del__(self) -> None:
        if self.arena is not None:
            merge(self.arena, self.uses)


class UnownedMemory:
    """As ``cupy.cuda.UnownedMemory``."""

    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1):
        self.ptr, self.size, self.owner = ptr, size, owner
        self.uses = _Pooled.known[ptr].uses


class MemoryPointer:
    """As ``cupy.cuda.MemoryPointer``."""

    def __init__(self, mem: Any, offset: int):
        self.mem, self.ptr = mem, mem.ptr + offset


Allocator = Callable[[int], MemoryPointer]
_arenas: dict[int, Clock] = {}


def _from_pool(size: int) -> MemoryPointer:
    return MemoryPointer(_Pooled(_arenas.setdefault(get_current_stream().number, {})), 0)


def _from_device(size: int) -> MemoryPointer:
    """What is freed waits for the whole device."""
    return MemoryPointer(_Pooled(None), 0)


def get_allocator() -> Allocator:
    """What takes memory for arrays in this thread."""
    return getattr(_local, "allocator", None) or _from_pool


@contextmanager
def using_allocator(allocator: Allocator | None = None) -> Iterator[None]:
    """Take memory otherwise within, in this thread; None: without a pool."""
    before = getattr(_local, "allocator", None)
    _local.allocator = allocator or _from_device
    try:
        yield
    finally:
        _local.allocator = before


# who has been where
class _Memory:
    """Who wrote and who read each number of an array last."""

    def __init__(self, root: np.ndarray, pointer: MemoryPointer | None, epoch: int):
        self.address, end = _bounds(root)
        self.item, self.pointer = root.itemsize, pointer
        self.wrote = np.full((end - self.address) // self.item, epoch)
        self.read: dict[int, np.ndarray] = {}

    def seen(self, times: np.ndarray, host: np.ndarray) -> np.ndarray:
        """Those of a view."""
        if host.itemsize != self.item:
            return times
        at = (host.__array_interface__["data"][0] - self.address) // self.item
        return as_strided(times[at:], host.shape, [s // self.item * times.itemsize for s in host.strides])

    def clock(self) -> Clock:
        """All that was done with it."""
        found: Clock = {}
        for times in (self.wrote, *self.read.values()):
            merge(found, _clock_of(times))
        return found


_memories: dict[int, _Memory] = {}


def _bounds(host: np.ndarray) -> tuple[int, int]:
    """Where an array's memory begins, and where it ends."""
    first = host.__array_interface__["data"][0]
    reach = [(n - 1) * stride for n, stride in zip(host.shape, host.strides)]
    return first + sum(min(n, 0) for n in reach), first + sum(max(n, 0) for n in reach) + host.itemsize


def _address(host: np.ndarray) -> int:
    return _bounds(host)[0]


def _clock_of(times: np.ndarray) -> Clock:
    found: Clock = {}
    for epoch in np.unique(times).tolist():
        merge(found, {epoch >> TIME: epoch & (1 << TIME) - 1})
    return found


def _root(host: np.ndarray) -> np.ndarray:
    while isinstance(host.base, np.ndarray):
        host = host.base
    return host


def _freed(address: int) -> None:
    with _lock:
        memory = _memories.pop(address, None)
        if memory is not None and memory.pointer is not None:
            merge(memory.pointer.mem.uses, memory.clock())


def _require(known: Clock, needed: Clock, what: str) -> None:
    late = [stream for stream, time in needed.items() if known.get(stream, 0) < time]
    if late:
        raise StreamRace(f"stream {get_current_stream().number} {what} stream {late[0]}, and does not wait for it")


def _memory_of(root: np.ndarray) -> _Memory | None:
    """What is known of an array's memory, or of that which it is a part of by its address alone."""
    address = _address(root)
    if address in _memories or root.base is None:
        return _memories.get(address)
    parts = (m for m in _memories.values() if m.address <= address < m.address + m.wrote.size * m.item)
    return next(parts, None)


def made(host: np.ndarray, here: bool = True) -> None:
    """A device array of `host` is made; where its memory is new, on the current stream if `here`."""
    if not _watching.get() or not host.size:
        return
    with _lock:
        root = _root(host)
        if _memory_of(root) is not None:
            return
        pointer = get_allocator()(root.nbytes) if here else None
        stream = get_current_stream()
        epoch = stream.tick() if here else 0
        if pointer is not None:
            _require(stream.clock, pointer.mem.uses, "is given memory that was used on")
        _memories[_address(root)] = _Memory(root, pointer, epoch)
        finalize(root, _freed, _address(root))


def ran(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray]) -> None:
    """The current stream was given work that reads and writes these arrays."""
    if not _watching.get():
        return
    with _lock:
        stream = get_current_stream()
        epoch = stream.tick()
        for host, writing in [*((h, False) for h in reads if h.size), *((h, True) for h in writes if h.size)]:
            made(host, here=False)
            memory = _memory_of(_root(host))
            assert memory is not None
            wrote, verb = memory.seen(memory.wrote, host), "writes" if writing else "reads"
            _require(stream.clock, _clock_of(wrote), f"{verb} an array of shape {host.shape} that was written on")
            if not writing:
                times = memory.read.setdefault(stream.number, np.zeros_like(memory.wrote))
                memory.seen(times, host)[...] = epoch
                continue
            for times in memory.read.values():
                _require(stream.clock, _clock_of(memory.seen(times, host)),
                         f"writes an array of shape {host.shape} that was read on")  # fmt: skip
            wrote[...] = epoch


@contextmanager
def watched(on: bool = True) -> Iterator[None]:
    """Work within is watched: what was before is over, and so it is afterwards.

    Raises
    ------
    StreamRace
        From work on memory that a stream does not wait for, as the module says.
    """
    token = _watching.set(on)
    _forget()
    try:
        yield
    finally:
        _watching.reset(token)
        _forget()


def _forget() -> None:
    with _lock:
        _memories.clear()
        _arenas.clear()
