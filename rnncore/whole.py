"""Calls of a bound network as programs: what a call of one shape prepares is the same at the next one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from math import prod

import numpy as np

from .bound import Bound
from .cpu import memory
from .cpu.memory import address_of, take
from .cpu.pool import available_threads
from .forking import renewed
from .inputs import Batch, as_lengths
from .steps import NotWritten, Steps
from .writing import writes

__all__ = ["Calls", "Whole"]

_SHAPES = 8  # that are kept, each with tables of its own
_SEEN = 64  # that came once and are remembered
_NUMBERS = 2**20  # of inputs and outputs: what is prepared for more costs little beside the work
_READOUT_FLOPS = 4e6  # more are worth threads
_Key = tuple[int, int, bool, int]  # batch, time, whether there are lengths, threads; 0: whatever their number


class Whole:
    """The program of calls of one shape, each in memory of its own: any number of threads may call at once."""

    def __init__(self, run: Bound, batch: int, time: int, varied: bool):
        self._steps = steps = Steps(run, batch, True, time, varied)
        self._shape = (batch, time, steps.features) if run.net.per_step else (batch, steps.features)
        self._rows = batch * time
        self.short = steps.program.short  # too short for threads
        self.used = 0  # when it was asked for last
        start = np.zeros(steps.size, steps.dtype)
        steps.begin(start, None)
        self._start = start[: steps.state_size].copy()

    def __call__(
        self, arrays: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray] | None = None,
        lengths: np.ndarray | None = None,
    ):  # fmt: skip
        """Outputs and final state of inputs by name, C-contiguous; None where a token is out of range."""
        steps = self._steps
        x = self._beside(arrays) if len(arrays) > 1 else next(iter(arrays.values()))
        y = memory.empty(self._shape, steps.dtype)
        room = take(steps.program.nbytes)
        try:
            states = room.array(self._start.shape, steps.dtype)
            states[...] = self._start
            views = steps.states(states)
            for path, given in (state or {}).items():
                views[path][...] = given
            places = room.address, address_of(x), address_of(y), 0 if lengths is None else address_of(lengths)
            if steps.program.once(*places):
                return None
            return y, {path: view.copy() for path, view in views.items()}
        finally:
            room.give_back()

    def _beside(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        x = np.empty((self._rows, self._steps.columns), self._steps.dtype)
        for name, part in self._steps.parts(x).items():
            part[...] = arrays[name]
        return x


class Calls:
    """The programs of a bound network's calls of whole sequences, by shape.

    One is written when a shape comes for the second time; those that were used last are kept.
    """

    def __init__(self, run: Bound):
        net = run.net
        self._run = run
        self.fit = net.inputs is not None and not net.reads_vectors and not writes(net)
        self.names, self._last = tuple(net.sizes), () if run.tokens else tuple(net.sizes.values())
        self._dtype = np.dtype(np.int64) if run.tokens else run.dtype
        self._kept: dict[_Key, Whole] = {}
        self._seen: dict[_Key, None] = {}  # that came once
        self._varies = True  # whether there are programs for lengths
        self._clock = itertools.count()
        self._lock = renewed(threading.Lock())
        self._width = max(sum(net.sizes.values()) if not run.tokens else 1, net.features, net.outputs or 0)
        self._readout = 0 if net.outputs is None else 2 * prod(net.shapes["readout.V"])

    def takes(self, x) -> bool:
        """Whether `x` is an array in which nothing but the range of tokens is left to check, or to convert."""
        if type(x) is not np.ndarray or x.dtype != self._dtype or not x.flags.c_contiguous:
            return False
        return len(x.shape) >= 2 and x.shape[2:] == self._last and len(self.names) == 1

    def plain(self, x: np.ndarray, lengths):
        """The results of an array that is ready (see `takes`); None where they come the long way."""
        batch, time = x.shape[:2]
        if lengths is None:
            whole = self.of(batch, time)
            return None if whole is None else whole({self.names[0]: x})
        lengths = as_lengths(lengths, batch, time)
        whole = self.of(batch, time, True)
        return None if whole is None else whole({self.names[0]: x}, None, lengths)

    def laid(self, batch: Batch):
        """The results of a batch; None where they come the long way."""
        if batch.form != "padded":
            return None
        whole = self.of(batch.size, batch.time, not batch.full)
        return None if whole is None else whole(batch.arrays, batch.state, None if batch.full else batch.lengths)

    def of(self, batch: int, time: int, varied: bool = False) -> Whole | None:
        """The program of a shape; None the first time, and where it is not worth one or cannot be written."""
        found = self._kept.get((batch, time, varied, 0))
        if found is None:
            if varied and not self._varies:
                return None
            threads = available_threads()
            found = self._kept.get((batch, time, varied, threads)) or self._next(batch, time, varied, threads)
        if found is not None:
            found.used = next(self._clock)
        return found

    def _next(self, *key) -> Whole | None:
        batch, time, varied, threads = key
        many = batch * time
        outputs = many if self._run.net.per_step else batch
        if not 0 < many * self._width <= _NUMBERS or outputs * self._readout > _READOUT_FLOPS:
            return None
        if key not in self._seen:
            with self._lock:
                while len(self._seen) >= _SEEN:
                    self._seen.pop(next(iter(self._seen)))
                self._seen[key] = None
            return None
        try:
            whole = Whole(self._run, batch, time, varied)
        except NotWritten:
            self._varies = False
            return None
        with self._lock:
            while len(self._kept) >= _SHAPES:
                self._kept.pop(min(self._kept, key=lambda k: self._kept[k].used))
            self._kept[batch, time, varied, 0 if whole.short else threads] = whole
        return whole
