"""Blocks that need nothing of one another run at once: each on a stream that is forked from the caller's and joined.

All memory is of the caller's stream, whatever stream works on it. CuPy's pool gives what is freed to whoever comes next
on the stream that it was taken on: of a stream of ours that would be work that need not have waited for what others,
on the caller's stream or in other threads, still do with it. So what a branch frees stays in the branch, for its own
next use, until the caller's stream waits for the branch; and what it takes anew waits for all that the caller's stream
has been given until then, by other threads too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

from ..layout import Layout
from ..rounding import EXACT, Rounding
from .geometry import Shape, chosen, step_seconds
from .launch import device, of_a_share, shape_of, shared_out
from .rows import kept
from .space import here, xp
from .target import Properties
from .weights import code_of

__all__ = ["beside", "forked", "worthwhile"]

Work = Sequence[tuple[Any, Mapping[Any, int]]]  # the loops of a block, one after another: layers and their sizes
_FORK = 3e-5  # s of the host for a branch: its events, and its memory
_GAIN = 0.1  # of the time, for less than which the model is not to be believed
_UNIT = 512  # bytes, which CuPy's pool counts in
_local = threading.local()


@contextmanager
def beside(
    works: Sequence[Work], which: str, layout: Layout, dtype: str, rounding: Rounding = EXACT
) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """What blocks are run in that may run at once (see `rnncore.backends.Backend`): on streams where that is faster."""
    shapes = _shapes(works, which, layout, dtype, rounding)
    if shapes is None or not worthwhile(shapes, device(), layout.time):
        yield nullcontext
        return
    with forked(len(works)) as branch:
        yield branch


def _shapes(works: Sequence[Work], which: str, layout: Layout, dtype: str, rounding: Rounding):
    """What the layouts of launches depend on, of each block's loops; None where blocks do read what is not theirs."""
    if any(layer.step.sources for work in works for layer, _ in work):
        return None
    loops = tuple(tuple((layer.step, *sizes.items()) for layer, sizes in work) for work in works)

    def make():
        fast = bool(rounding.functions) and dtype == "float32"
        products = rounding.products if dtype == "float32" else ""
        codes = [[(code_of(layer.step, which, dtype, fast), sizes) for layer, sizes in work] for work in works]
        return tuple(tuple(shape_of(code, sizes, layout, products) for code, sizes in work) for work in codes)

    return kept(layout, ("beside", which, dtype, rounding, loops), make)


@lru_cache(maxsize=1024)
def worthwhile(shapes: tuple[tuple[Shape, ...], ...], whole: Properties, steps: int) -> bool:
    """Whether blocks take less time at once, each on its share of the device, than one after another on all of it."""
    if whole.multiprocessors < len(shapes):
        return False
    part = shared_out(whole, len(shapes))
    together = max(_seconds(block, part) for block in shapes)
    apart = sum(_seconds(block, whole) for block in shapes)
    return steps * (apart - together) > max(_FORK * len(shapes), _GAIN * steps * apart)


def _seconds(shapes: Sequence[Shape], device: Properties) -> float:
    return sum(step_seconds(shape, chosen(shape, device)) for shape in shapes)


@contextmanager
def forked(many: int) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """So many branches of the current stream, each entered once; it waits for all of them afterwards."""
    caller = xp.cuda.get_current_stream()
    start, branches = caller.record(), [_Branch(caller) for _ in range(many)]
    waiting = iter(branches)

    @contextmanager
    def branch() -> Iterator[None]:
        mine = next(waiting)
        mine.stream.wait_event(start)
        with mine.stream, xp.cuda.using_allocator(mine.malloc), of_a_share(many):
            yield

    try:
        yield branch
    finally:
        for each in branches:
            caller.wait_event(each.stream.record())
        for each in branches:
            each.end()


class _Branch:
    """A stream, and the memory that work on it is given."""

    def __init__(self, caller: Any):
        self.caller, self.taken_from = caller, xp.cuda.get_allocator()
        self.ready, self.spare = xp.cuda.Event(disable_timing=True), _spare()
        self.stream = self.spare.pop() if self.spare else xp.cuda.Stream(non_blocking=True)
        self.free: dict[int, list[Any]] | None = {}  # by their sizes

    def malloc(self, size: int) -> Any:
        """As an allocator of CuPy's."""
        if not size or self.free is None:
            return self.taken_from(size)
        size = -(-size // _UNIT) * _UNIT
        known = self.free.get(size)
        pointer = known.pop() if known else self._taken(size)
        memory = xp.cuda.UnownedMemory(pointer.ptr, size, _Block(pointer, size, self), here())
        return xp.cuda.MemoryPointer(memory, 0)

    def _taken(self, size: int) -> Any:
        with self.caller:
            pointer = self.taken_from(size)
        self.ready.record(self.caller)
        self.stream.wait_event(self.ready)
        return pointer

    def end(self) -> None:
        """The caller's stream waits for this one: what is freed is free for it, and the stream for others."""
        self.free = None
        self.spare.append(self.stream)


class _Block:
    """What owns memory of a branch: it is the branch's again when nothing else does."""

    def __init__(self, pointer: Any, size: int, branch: _Branch):
        self.pointer, self.size, self.branch = pointer, size, branch

    def __del__(self) -> None:
        free = self.branch.free
        if free is not None:
            free.setdefault(self.size, []).append(self.pointer)


def _spare() -> list[Any]:
    """Streams of this thread on the current device that no branch uses."""
    if not hasattr(_local, "streams"):
        _local.streams = {}
    return _local.streams.setdefault(here(), [])
