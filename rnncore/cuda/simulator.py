"""Kernels without a GPU: all blocks of a launch run together, with barriers that are real.

The threads of a launch are generators of one Python thread, which runs each until it waits: no two runs differ, and a
change of threads costs half a microsecond. A barrier's party is the threads that have not ended. What would hang
on a device raises. (numba's own simulator runs one block after another: a barrier of blocks is silently none in it.)
"""

from __future__ import annotations

import linecache
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .accesses import ran
from .rewriting import rewritten
from .running import Lane, now
from .twins import Entry
from .watch import Watch, Watched

__all__ = ["SimulationError", "Simulated", "watched"]

_lock = threading.RLock()  # of `now`: one launch at a time
_watching: ContextVar[bool] = ContextVar("watching", default=os.environ.get("RNNCORE_CUDASIM") == "watch")
_NAMES = "tape", "weights", "memory", "numbers"


class SimulationError(RuntimeError):
    """A kernel did what hangs, or is undefined, on a device."""


class Simulated:
    """The kernel of a text, to be launched in the simulator.

    Parameters
    ----------
    text : str
        A module with one function that is marked by ``entry``.
    """

    def __init__(self, text: str):
        name = f"<kernel {abs(hash(text)):x}>"
        linecache.cache[name] = len(text), None, text.splitlines(True), name  # tracebacks show the text
        code, waiting = rewritten(text, name)
        space: dict[str, Any] = {"__name__": name}
        exec(code, space)
        (self.entry,) = [value for value in space.values() if isinstance(value, Entry)]
        self.waits = self.entry.function.__name__ in waiting

    def launch(
        self, blocks: int, threads: int, shared_bytes: int, arrays: Sequence[Any], cooperative: bool, stream: Any = None
    ) -> None:
        """Run the kernel to its end, as `rnncore.cuda.target.Loaded.launch` says."""
        *passed, chunk = arrays
        dtypes = (*[self.entry.dtype] * 3, "int64", "int32")
        given = [_memory(array, dtype) for array, dtype in zip(passed, dtypes, strict=True)]
        tape, weights, memory, numbers, counters = given
        ran([weights, numbers], [tape, memory, counters])
        with _lock, np.errstate(all="ignore"):
            watch = Watch(blocks, threads) if _watching.get() else None
            seen = [_seen(watch, name, host) for name, host in zip(_NAMES, given[:-1])]
            _Launch(
                self, blocks, threads, shared_bytes, [*seen, memoryview(given[-1]), chunk], cooperative, watch
            ).run()


@contextmanager
def watched(on: bool = True) -> Iterator[None]:
    """Launches within find races, and numbers of types that a device would convert; they take several times as long.

    Raises
    ------
    Race
        From a launch in which two threads are at one number, one of them writes, and no barrier is between them.
    """
    token = _watching.set(on)
    try:
        yield
    finally:
        _watching.reset(token)


def _memory(array: Any, dtype: str) -> Any:
    """The host's vector that plays an array of a device."""
    host = getattr(array, "host", array)
    if host.dtype != dtype or host.ndim != 1 or not host.flags.c_contiguous:
        raise TypeError(f"an array of {host.ndim} axes of {host.dtype}, where a contiguous vector of {dtype} is read")
    return host


def _seen(watch: Watch | None, name: str, host: Any) -> Any:
    """What a kernel indexes: numbers of NumPy's where they are rounded, Python's own where they count."""
    if watch is not None:
        return Watched(watch, name, host)
    return memoryview(host) if host.dtype.kind == "i" else host


class _Block:
    """The threads of a block by what they do: run, wait for one another, or wait for other blocks."""

    def __init__(self, index: int, shared_bytes: int, watch: Watch | None):
        self.index, self.watch = index, watch
        self.ready: list[tuple[int, Iterator[Any]]] = []
        self.waiting: list[tuple[int, Iterator[Any]]] = []
        self.lanes: dict[tuple[int, int], dict[int, tuple[Iterator[Any], Any]]] = {}  # of warps
        self.shown: dict[int, list[Any]] = {}  # what they are shown
        self.away: list[tuple[int, Iterator[Any], tuple[Any, int, int]]] = []
        self._bytes = np.full(shared_bytes, 255, np.uint8)  # NaN until written, as what lies there is anything
        self._views: dict[Any, Any] = {}

    def shared(self, dtype: Any) -> Any:
        name = getattr(dtype, "name", dtype)
        if name not in self._views:
            item = np.dtype(name).itemsize
            whole = self._bytes[: len(self._bytes) // item * item].view(name)
            self._views[name] = _seen(self.watch, "shared", whole)
        return self._views[name]

    def opened(self) -> bool:
        """Whether threads of this block can run, after the barriers that can open have."""
        for warp in [warp for warp, found in self.lanes.items() if len(found) == warp[1]]:
            found = dict(sorted(self.lanes.pop(warp).items()))
            for index, (steps, _) in found.items():
                self.shown[index] = [value for _, value in found.values()]
                self.ready.append((index, steps))
        for one in [one for one in self.away if one[2][0][one[2][1]] >= one[2][2]]:
            self.away.remove(one)
            self.ready.append(one[:2])
            if self.watch is not None:
                self.watch.told(self.index, one[0], *one[2][1:])
        if not self.ready and not self.away and not self.lanes and self.waiting:
            self.ready, self.waiting = self.waiting, []
            if self.watch is not None:
                self.watch.met(self.index, [thread for thread, _ in self.ready])
        return bool(self.ready)


class _Launch:
    """One run of a kernel over all its blocks."""

    def __init__(
        self, kernel: Simulated, blocks: int, threads: int, shared_bytes: int, given: list, cooperative: bool,
        watch: Watch | None,
    ):  # fmt: skip
        self.kernel, self.given, self.cooperative, self.watch = kernel, given, cooperative, watch
        self.blocks = [_Block(index, shared_bytes, watch) for index in range(blocks)]
        self.threads = threads

    def run(self) -> None:
        now.blocks, now.threads = len(self.blocks), self.threads
        function, given = self.kernel.entry.function, self.given
        for block in self.blocks:
            now.block, now.shared = block.index, block.shared
            if not self.kernel.waits:
                for now.thread in range(self.threads):
                    function(*given)
                continue
            block.ready = [(index, function(*given)) for index in range(self.threads)]
        while any([self._advance(block) for block in self.blocks]):
            pass
        stuck = [block for block in self.blocks if block.waiting or block.away or block.lanes]
        if stuck:
            raise SimulationError("the kernel waits for ever: " + "; ".join(_describe(block) for block in stuck))

    def _advance(self, block: _Block) -> bool:
        """Run a block until it waits for others or has ended; whether anything ran."""
        ran = False
        now.block, now.shared = block.index, block.shared
        while block.opened():
            ran, ready, block.ready = True, block.ready, []
            for index, steps in ready:
                now.thread = index
                now.lanes = block.shown.pop(index, [])
                try:
                    wanted = next(steps)
                except StopIteration:
                    continue
                if wanted is None:
                    block.waiting.append((index, steps))
                elif isinstance(wanted, Lane):
                    warp = index // wanted.many, wanted.many
                    block.lanes.setdefault(warp, {})[index] = steps, wanted.value
                else:
                    block.away.append((index, steps, self._arrived(*wanted)))
        return ran

    def _arrived(self, counters: Any, slot: int, target: int) -> tuple[Any, int, int]:
        if not self.cooperative and len(self.blocks) > 1:
            raise SimulationError("blocks wait for one another in a launch that is not cooperative")
        counters[slot] += 1
        if self.watch is not None:
            self.watch.arrived(now.block, now.thread, slot, counters[slot])
        return counters, slot, target


def _describe(block: _Block) -> str:
    parts = [f"thread {index} for counter {slot} to reach {target}, it is {counters[slot]}"
             for index, _, (counters, slot, target) in block.away]  # fmt: skip
    parts += [f"threads {list(found)} for the rest of their warp" for found in block.lanes.values()]
    if block.waiting:
        parts.append(f"threads {[index for index, _ in block.waiting]} for their block")
    return f"in block {block.index} " + ", ".join(parts)
