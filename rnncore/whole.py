"""Calls as programs: what a call of one shape prepares is the same at the next one."""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from .batch import is_tokens
from .cpu import memory
from .cpu.memory import address_of, take
from .cpu.pool import available_threads
from .cpu.stepping import NotWritten
from .forking import renewed
from .inputs import Batch, as_lengths
from .steps import Steps
from .writing import writes

__all__ = ["Calls", "Shapes", "Whole", "side_by_side", "with_stride"]

_SHAPES = 32  # that are kept, each with tables of its own
_LEAST = 8  # steps that there is room for where lengths vary: more than one
_SEEN = 64  # that came once and are remembered
_NUMBERS = 2**20  # of inputs and outputs: what is prepared for more costs little beside the work
_READOUT_FLOPS = 4e6  # more are worth threads
Key = tuple[int, int, tuple[bool, ...], int]  # batch, time, which kind, threads; 0: whatever their number


class Whole:
    """The program of calls of one shape, each in memory of its own: any number of threads may call at once.

    With lengths, calls may have fewer steps than `time`.
    """

    def __init__(self, run: Any, batch: int, time: int, varied: bool):
        self._steps = steps = Steps(run, batch, True, time, varied)
        self.short = steps.program.short  # too short for threads
        self.used = 0  # when it was asked for last
        start = np.zeros(steps.size, steps.dtype)
        steps.begin(start, None)
        self._start = start[: steps.state_size].copy()

    def __call__(
        self, arrays: Mapping[str, np.ndarray], time: int, state: Mapping[str, np.ndarray] | None = None,
        lengths: np.ndarray | None = None,
    ):  # fmt: skip
        """Outputs and final state of inputs by name, C-contiguous; None where a token is out of range."""
        steps = self._steps
        x = side_by_side(steps, arrays, time)
        y = memory.empty(steps.shape(time), steps.dtype)
        room = take(steps.program.nbytes)
        try:
            states = room.array(self._start.shape, steps.dtype)
            states[...] = self._start
            views = steps.states(states)
            for path, given in (state or {}).items():
                views[path][...] = given
            given = with_stride(lengths, time)
            if steps.program.once(room.address, address_of(x), address_of(y), address_of(given)):
                return None
            return y, {path: view.copy() for path, view in views.items()}
        finally:
            room.give_back()


def with_stride(lengths: np.ndarray | None, time: int) -> np.ndarray:
    """Lengths as programs read them, of sequences in arrays of so many steps."""
    if lengths is None:
        return np.array([time], np.int64)
    given = np.empty(len(lengths) + 1, np.int64)
    given[:-1], given[-1] = lengths, time
    return given


def side_by_side(steps: Steps, arrays: Mapping[str, np.ndarray], time: int) -> np.ndarray:
    """Inputs of several names in one array; one is itself."""
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    x = np.empty((steps.batch * time, steps.columns), steps.dtype)
    for name, part in steps.parts(x).items():
        part[...] = arrays[name]
    return x


class Shapes(ABC):
    """Programs by the shape of their calls.

    One is written when a shape comes for the second time; those that were used last are kept.
    """

    def __init__(self, net, dtype: np.dtype):
        self.net, self.dtype = net, dtype
        self.fit = net.inputs is not None and not net.reads_vectors and not writes(net)
        tokens = is_tokens(net, "x") and bool(net.sizes)
        self.names, self._last = tuple(net.sizes), () if tokens else tuple(net.sizes.values())
        self._read = np.dtype(np.int64) if tokens else dtype
        self._kept: dict[Key, Any] = {}
        self._seen: dict[Key, None] = {}  # that came once
        self._never: set[tuple[bool, ...]] = set()  # what there are no programs for
        self._clock = itertools.count()
        self._lock = renewed(threading.Lock())
        self._width = max(sum(net.sizes.values()) if not tokens else 1, net.features, net.outputs or 0)
        self._readout = 0 if net.outputs is None else 2 * prod(net.shapes["readout.V"])

    @abstractmethod
    def write(self, batch: int, time: int, *which: bool) -> Any:
        """The program of a shape and kind (see `rnncore.cpu.stepping.NotWritten`)."""

    def takes(self, x) -> bool:
        """Whether `x` is an array in which nothing but the range of tokens is left to check, or to convert."""
        if type(x) is not np.ndarray or x.dtype != self._read or not x.flags.c_contiguous:
            return False
        return len(x.shape) >= 2 and x.shape[2:] == self._last and len(self.names) == 1

    def of(self, batch: int, time: int, varied: bool, *others: bool):
        """The program of a shape and kind; None the first time, and where it is not worth one or cannot be written.

        Where lengths are `varied`, one serves all times up to a power of two. `others`: further kinds.
        """
        which = varied, *others
        most = max(_LEAST, 1 << (time - 1).bit_length()) if varied and time else time
        found = self._kept.get((batch, most, which, 0))
        if found is None:
            if which in self._never:
                return None
            threads = available_threads()
            found = self._kept.get((batch, most, which, threads)) or self._next(batch, time, most, which, threads)
        if found is not None:
            found.used = next(self._clock)
        return found

    def _next(self, batch: int, time: int, most: int, which: tuple[bool, ...], threads: int):
        many, key = batch * time, (batch, most, which, threads)
        outputs = many if self.net.per_step else batch
        if not 0 < many * self._width <= _NUMBERS or outputs * self._readout > _READOUT_FLOPS:
            return None
        if key not in self._seen:
            with self._lock:
                while len(self._seen) >= _SEEN:
                    self._seen.pop(next(iter(self._seen)))
                self._seen[key] = None
            return None
        try:
            whole = self.write(batch, most, *which)
        except NotWritten:
            self._never.add(which)
            return None
        with self._lock:
            while len(self._kept) >= _SHAPES:
                self._kept.pop(min(self._kept, key=lambda k: self._kept[k].used))
            self._kept[batch, most, which, 0 if whole.short else threads] = whole
        return whole


class Calls(Shapes):
    """The programs of a bound network's calls of whole sequences, full or with lengths."""

    def __init__(self, run: Any):
        super().__init__(run.net, run.dtype)
        self._run, self.fit = run, self.fit and run.device == "cpu"

    def write(self, batch: int, time: int, *which: bool) -> Whole:
        """Of sequences with lengths, or of full ones."""
        return Whole(self._run, batch, time, *which)

    def plain(self, x: np.ndarray, lengths):
        """The results of an array that is ready (see `takes`); None where they come the long way."""
        batch, time = x.shape[:2]
        if lengths is not None:
            lengths = as_lengths(lengths, batch, time)
        whole = self.of(batch, time, lengths is not None)
        return None if whole is None else whole({self.names[0]: x}, time, None, lengths)

    def laid(self, batch: Batch):
        """The results of a batch; None where they come the long way."""
        if batch.form != "padded":
            return None
        whole = self.of(batch.size, batch.time, not batch.full)
        lengths = None if batch.full else batch.lengths
        return None if whole is None else whole(batch.arrays, batch.time, batch.state, lengths)
